#pragma once
// A server to wait for, in the same program: it answers each one-byte request after as many milliseconds as the byte
// says. And its two clients: one for fibers, one of plain blocking sockets.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <weft/weft.hpp>

using request = std::array<char, 1>;

class answer_server {
 public:
  answer_server()
      : server_(weft::io::listen(weft::io::endpoint::parse("127.0.0.1:0")), answer),
        serving_(weft::spawn([this] { server_.run(); })) {}
  answer_server(const answer_server&) = delete;
  answer_server& operator=(const answer_server&) = delete;
  ~answer_server() {
    server_.stop();
    weft::shield([this] { serving_.wait(); });
  }

  [[nodiscard]] weft::io::endpoint where() const { return server_.local(); }

 private:
  static void answer(weft::io::stream client) {
    request delay;
    while (client.read_some(delay) == delay.size()) {
      weft::sleep_for(std::chrono::milliseconds(static_cast<unsigned char>(delay[0])));
      client.write_all(std::string_view(delay.data(), delay.size()));
    }
  }

  weft::io::server server_;
  weft::future<void> serving_;
};

/// Asks `times` times over one connection, as a fiber: while it waits its loop serves others.
inline void ask_as_fiber(const weft::io::endpoint& server, std::chrono::milliseconds delay, unsigned times) {
  auto connection = weft::io::connect(server);
  request ask{static_cast<char>(delay.count())};
  for (unsigned i = 0; i < times; ++i) {
    connection.write_all(std::string_view(ask.data(), ask.size()));
    connection.read_exactly(ask);
  }
}

/// The same as any library would that knows nothing of fibers: while it waits its thread does nothing else.
inline void ask_and_block(const weft::io::endpoint& server, std::chrono::milliseconds delay, unsigned times) {
  const auto check = [](bool good, const char* what) {
    if (!good) throw std::system_error(errno, std::generic_category(), what);
  };
  struct closing {
    int fd;
    ~closing() { ::close(fd); }
  } const connection{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  check(connection.fd >= 0, "socket");
  const int on = 1;
  check(::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "setsockopt");
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(server.port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  check(::connect(connection.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0, "connect");
  request ask{static_cast<char>(delay.count())};
  for (unsigned i = 0; i < times; ++i) {
    check(::send(connection.fd, ask.data(), ask.size(), MSG_NOSIGNAL) == 1, "send");
    check(::recv(connection.fd, ask.data(), ask.size(), 0) == 1, "recv");
  }
}
