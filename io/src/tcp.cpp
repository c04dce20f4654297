#include "weft/io/tcp.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sockaddr.hpp"
#include "socket.hpp"
#include "weft/io/happy_eyeballs.hpp"
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

template <class Lookup>
stream connect_to_first(std::string name, Lookup look_up, const connect_options& options, address_family first) {
  connect_options attempt = options;
  attempt.timeout = no_timeout;
  return happy_eyeballs(std::move(name), look_up, [&](const endpoint& to) { return connect(to, attempt); },
                        {.attempt_delay = options.attempt_delay, .timeout = options.timeout, .first = first});
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

stream connect(std::span<const endpoint> addresses, const connect_options& options) {
  if (addresses.empty()) throw std::invalid_argument("connect(): there is no address to connect to");
  const auto of = [&](address_family family) {
    std::vector<endpoint> some;
    for (const endpoint& e : addresses)
      if (e.is_v4() == (family == address_family::v4)) some.push_back(e);
    return some;
  };
  if (addresses.size() == 1) return connect(addresses.front(), options);
  return connect_to_first(to_string(addresses.front()) + " and " + std::to_string(addresses.size() - 1) + " more", of,
                          options, addresses.front().is_v4() ? address_family::v4 : address_family::v6);
}

stream connect(std::string_view host, std::uint16_t port, const connect_options& options) {
  const std::string service = ":" + std::to_string(port);
  for (const std::string& number : {std::string(host) + service, "[" + std::string(host) + "]" + service})
    if (const auto e = endpoint::try_parse(number)) return connect(*e, options);
  const auto look_up = [&](address_family family) {
    return options.names ? options.names->resolve(host, port, family) : resolve(host, port, family);
  };
  return connect_to_first(std::string(host) + service, look_up, options, address_family::v6);
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
