// Sends as many bytes as are asked for, on bare epoll: level-triggered, one thread. (C++ for the block's sake alone.)

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "../support/server.hpp"
#include "block.hpp"

namespace {

struct connection {
  int fd;
  std::uint32_t left = 0;
  std::uint32_t at = 0;
  bool full = false;
};

void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void watch(int epoll, int operation, connection& c, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &c;
  if (epoll_ctl(epoll, operation, c.fd, &event) != 0) die("epoll_ctl");
}

// False when the connection is of no more use.
bool go_on(int epoll, connection& c) {
  if (c.left == 0) {
    const ssize_t n = recv(c.fd, &c.left, sizeof c.left, 0);
    if (n < 0 && errno == EAGAIN) return true;
    if (n != sizeof c.left) return false;
    c.at = 0;
  }
  while (c.left > 0) {
    const auto piece = bench::block().substr(c.at, c.left);
    const ssize_t n = send(c.fd, piece.data(), piece.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return false;
    if (n < 0) {
      if (!c.full) watch(epoll, EPOLL_CTL_MOD, c, EPOLLOUT);
      c.full = true;
      return true;
    }
    c.left -= static_cast<std::uint32_t>(n);
    c.at = (c.at + static_cast<std::uint32_t>(n)) % static_cast<std::uint32_t>(bench::block().size());
  }
  if (c.full) watch(epoll, EPOLL_CTL_MOD, c, EPOLLIN);
  c.full = false;
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv);
  connection listener{socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  const int one = 1;
  setsockopt(listener.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // accepted sockets inherit it
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(given.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener.fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener.fd, 4096) != 0)
    die("listen");
  getsockname(listener.fd, reinterpret_cast<sockaddr*>(&address), &size);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  bench::announce(ntohs(address.sin_port));
  for (;;) {
    epoll_event events[128];
    const int count = epoll_wait(epoll, events, 128, -1);
    for (int i = 0; i < count; ++i) {
      auto* c = static_cast<connection*>(events[i].data.ptr);
      if (c == &listener) {
        const int accepted = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) watch(epoll, EPOLL_CTL_ADD, *new connection{accepted}, EPOLLIN);
      } else if (!go_on(epoll, *c)) {
        close(c->fd);
        delete c;
      }
    }
  }
}
