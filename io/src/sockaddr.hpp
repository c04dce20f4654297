#pragma once
// An endpoint as the system calls spell it.

#include <netinet/in.h>
#include <sys/socket.h>

#include "weft/io/endpoint.hpp"

namespace weft::io::detail {

struct socket_address {
  /// Room for one that a system call is to fill in.
  socket_address() noexcept = default;
  explicit socket_address(const endpoint& e) noexcept;

  [[nodiscard]] endpoint value() const noexcept;
  [[nodiscard]] ::sockaddr* get() noexcept { return reinterpret_cast<::sockaddr*>(&storage); }

  ::sockaddr_storage storage{};
  ::socklen_t size = sizeof(::sockaddr_storage);
};

}  // namespace weft::io::detail
