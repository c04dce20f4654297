// A load for echo servers: connections that each send a message, wait for all of it to come back, check it, and send
// the next. One thread, bare epoll.
//
//   load ADDRESS:PORT CONNECTIONS BYTES SECONDS     prints requests/s and the latency's quantiles.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "weft/io/endpoint.hpp"

namespace {

using steady = std::chrono::steady_clock;

struct connection {
  int fd = -1;
  std::size_t back = 0;
  steady::time_point sent;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int connect_to(const weft::io::endpoint& e) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  ::sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(e.port());
  std::memcpy(&address.sin_addr, e.address_bytes().data(), sizeof(address.sin_addr));
  if (::connect(fd, reinterpret_cast<::sockaddr*>(&address), sizeof(address)) != 0) die("connect");
  return fd;
}

void send_to(connection& c, const std::string& message) {
  c.back = 0;
  c.sent = steady::now();
  if (::send(c.fd, message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size())) die("send");
}

double quantile(std::vector<std::uint32_t>& sorted, double q) {
  return static_cast<double>(sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))]) * 1e-3;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "usage: load ADDRESS:PORT CONNECTIONS BYTES SECONDS\n"), 2;
  const auto to = weft::io::endpoint::parse(argv[1]);
  std::vector<connection> connections(static_cast<std::size_t>(std::atoi(argv[2])));
  std::string message(static_cast<std::size_t>(std::atoi(argv[3])), 'x');
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<char>('a' + i % 26);
  const auto length = std::chrono::duration<double>(std::atof(argv[4]));

  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  for (auto& c : connections) {
    c.fd = connect_to(to);
    ::epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &c;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &event) != 0) die("epoll_ctl");
  }

  std::vector<std::uint32_t> nanoseconds;
  nanoseconds.reserve(4'000'000);
  std::vector<char> buffer(std::max<std::size_t>(message.size(), 1));
  const auto start = steady::now();
  for (auto& c : connections) send_to(c, message);
  auto now = start;
  while (now - start < length) {
    std::array<::epoll_event, 128> events;
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      auto& c = *static_cast<connection*>(events[static_cast<std::size_t>(i)].data.ptr);
      const auto n = ::recv(c.fd, buffer.data(), message.size() - c.back, 0);
      if (n <= 0) die("recv");
      if (std::memcmp(buffer.data(), message.data() + c.back, static_cast<std::size_t>(n)) != 0) {
        std::fprintf(stderr, "load: the echo is wrong\n");
        return 1;
      }
      c.back += static_cast<std::size_t>(n);
      if (c.back < message.size()) continue;
      now = steady::now();
      nanoseconds.push_back(static_cast<std::uint32_t>((now - c.sent).count()));
      send_to(c, message);
    }
  }
  const double seconds = std::chrono::duration<double>(now - start).count();
  std::sort(nanoseconds.begin(), nanoseconds.end());
  std::printf("{\"requests_per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
              static_cast<double>(nanoseconds.size()) / seconds, quantile(nanoseconds, 0.5),
              quantile(nanoseconds, 0.99));
  return 0;
}
