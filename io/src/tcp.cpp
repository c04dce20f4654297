#include "weft/io/tcp.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <utility>

#include "sockaddr.hpp"
#include "socket.hpp"
#include "weft/io/resolve.hpp"
#include "weft/loop.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

using detail::set_option;
using detail::socket_address;

unique_fd open_socket(const endpoint& e) {
  if (!e) throw std::invalid_argument("this endpoint is none: it has neither address nor port");
  (void)this_io_context();  // real IO needs a real loop
  unique_fd fd(::socket(e.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (fd.get() < 0) detail::throw_errno("open a socket for", to_string(e));
  return fd;
}

void apply(int fd, bool no_delay, bool keep_alive) noexcept {
  if (no_delay) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (keep_alive) set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

const char* listen_advice(int code) noexcept {
  switch (code) {
    case EADDRINUSE:
      return "another socket listens there (ss -ltnp shows which): end it, choose another port, or have both set "
             "reuse_port";
    case EACCES:
      return "ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
      return "no interface of this machine has that address; 0.0.0.0 and [::] stand for all";
    default:
      return "";
  }
}

}  // namespace

stream connect(const endpoint& to, const connect_options& options) {
  checkpoint();
  unique_fd fd = open_socket(to);
  apply(fd.get(), options.no_delay, options.keep_alive);
  auto carrier = std::make_unique<detail::socket_transport>(std::move(fd), to);
  carrier->connect(options.timeout == no_timeout ? deadline::never() : deadline::after(options.timeout));
  return stream(std::move(carrier));
}

stream connect(std::string_view host, std::uint16_t port, const connect_options& options) {
  const auto addresses = resolve(host, port);
  for (std::size_t i = 0; i + 1 < addresses.size(); ++i) {
    try {
      return connect(addresses[i], options);
    } catch (const error&) {
      // The next one may do.
    }
  }
  return connect(addresses.back(), options);
}

listener listen(const endpoint& at, const listen_options& options) {
  unique_fd fd = open_socket(at);
  const auto require = [&](bool done) {
    const int code = errno;
    if (!done)
      throw error(std::error_code(code, std::system_category()), "listen on", to_string(at), 0, listen_advice(code));
  };
  if (options.reuse_address) require(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1));
  if (options.reuse_port) require(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1));
  apply(fd.get(), options.no_delay, options.keep_alive);
  socket_address address(at);
  require(::bind(fd.get(), address.get(), address.size) == 0);
  require(::listen(fd.get(), options.backlog) == 0);
  return listener(std::make_unique<detail::socket_acceptor>(std::move(fd)));
}

}  // namespace weft::io
