// A load for echo servers: connections that each send a message, wait for all of it to come back, check it, and send
// the next. One thread, bare epoll. Several servers are loaded in turns of a tenth of a second, so that whatever else
// the machine does meets them all alike.
//
//   load CONNECTIONS BYTES SECONDS ADDRESS:PORT...     prints a line for each server: requests/s and the latency,
//   medians
//                                                      over its turns, and its requests/s to those of the first, the
//                                                      median over the pairs of neighbouring turns.

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

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct server {
  weft::io::endpoint at;
  int epoll = -1;
  std::vector<connection> connections = {};
  std::vector<double> rates = {};  // of each turn, as are the others
  std::vector<double> p50 = {};
  std::vector<double> p99 = {};
};

void open_connections(server& s, std::size_t count) {
  s.epoll = ::epoll_create1(EPOLL_CLOEXEC);
  s.connections.resize(count);
  for (auto& c : s.connections) {
    c.fd = connect_to(s.at);
    ::epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &c;
    if (::epoll_ctl(s.epoll, EPOLL_CTL_ADD, c.fd, &event) != 0) die("epoll_ctl");
  }
}

// One turn: all connections ask until the time is up; then all answers are waited for.
void load(server& s, const std::string& message, std::chrono::milliseconds length) {
  std::vector<double> microseconds;
  std::vector<char> buffer(message.size());
  const auto start = steady::now();
  auto now = start;
  for (auto& c : s.connections) send_to(c, message);
  for (std::size_t open = s.connections.size(); open > 0;) {
    std::array<::epoll_event, 128> events;
    const int count = ::epoll_wait(s.epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      auto& c = *static_cast<connection*>(events[static_cast<std::size_t>(i)].data.ptr);
      const auto n = ::recv(c.fd, buffer.data(), message.size() - c.back, 0);
      if (n <= 0) die("recv");
      if (std::memcmp(buffer.data(), message.data() + c.back, static_cast<std::size_t>(n)) != 0) {
        std::fprintf(stderr, "load: the echo of %s is wrong\n", weft::io::to_string(s.at).c_str());
        std::exit(1);
      }
      c.back += static_cast<std::size_t>(n);
      if (c.back < message.size()) continue;
      now = steady::now();
      microseconds.push_back(std::chrono::duration<double, std::micro>(now - c.sent).count());
      if (now - start < length)
        send_to(c, message);
      else
        --open;
    }
  }
  std::sort(microseconds.begin(), microseconds.end());
  const auto quantile = [&](double q) {
    return microseconds[static_cast<std::size_t>(q * static_cast<double>(microseconds.size() - 1))];
  };
  s.rates.push_back(static_cast<double>(microseconds.size()) / std::chrono::duration<double>(now - start).count());
  s.p50.push_back(quantile(0.5));
  s.p99.push_back(quantile(0.99));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return std::fprintf(stderr, "usage: load CONNECTIONS BYTES SECONDS ADDRESS:PORT...\n"), 2;
  const auto count = static_cast<std::size_t>(std::atoi(argv[1]));
  std::string message(static_cast<std::size_t>(std::max(1, std::atoi(argv[2]))), 'x');
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<char>('a' + i % 26);
  const auto length = std::chrono::duration<double>(std::atof(argv[3]));
  std::vector<server> servers;
  for (int i = 4; i < argc; ++i) servers.push_back({weft::io::endpoint::parse(argv[i])});
  for (auto& s : servers) open_connections(s, count);

  const auto start = steady::now();
  while (steady::now() - start < length * static_cast<double>(servers.size()))
    for (auto& s : servers) load(s, message, std::chrono::milliseconds(100));

  for (const auto& s : servers) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < s.rates.size(); ++i) ratios.push_back(s.rates[i] / servers[0].rates[i]);
    std::printf("{\"server\": \"%s\", \"requests_per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"ratio\": %.3f}\n",
                weft::io::to_string(s.at).c_str(), median(s.rates), median(s.p50), median(s.p99), median(ratios));
  }
  return 0;
}
