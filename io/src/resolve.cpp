#include "weft/io/resolve.hpp"

#include <netdb.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "sockaddr.hpp"
#include "weft/io/error.hpp"
#include "weft/spawn.hpp"

namespace weft::io {
namespace {

struct answer {
  int code = 0;
  int system_code = 0;
  std::vector<endpoint> addresses;
};

answer look_up(const std::string& host, std::uint16_t port) {
  ::addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // each address once
  ::addrinfo* list = nullptr;
  answer a;
  a.code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  a.system_code = errno;
  const std::unique_ptr<::addrinfo, decltype(&::freeaddrinfo)> guard(list, &::freeaddrinfo);
  for (const ::addrinfo* i = list; i; i = i->ai_next) {
    detail::socket_address address;
    std::memcpy(&address.storage, i->ai_addr, i->ai_addrlen);
    const endpoint e = address.value();
    if (e.is_v4()) {
      const auto& b = e.address_bytes();
      a.addresses.emplace_back(endpoint::bytes_v4{b[0], b[1], b[2], b[3]}, port);
    } else if (e.is_v6()) {
      a.addresses.emplace_back(e.address_bytes(), port, e.scope());
    }
  }
  return a;
}

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const struct getaddrinfo_category final : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "getaddrinfo"; }
    [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
  } category;
  return category;
}

std::vector<endpoint> resolve(std::string_view host, std::uint16_t port) {
  // Shared, not owned: a lookup cannot be stopped, and a cancelled caller is not to wait for it. It owns what it needs,
  // and an error of one that nobody waits for is no news, so it comes as a value.
  const auto found =
      spawn_blocking({.name = "resolve"}, [name = std::string(host), port] { return look_up(name, port); });
  const answer& a = found.get();
  if (a.code == EAI_SYSTEM) throw error(std::error_code(a.system_code, std::system_category()), "resolve", host);
  if (a.code != 0) throw error(std::error_code(a.code, resolve_category()), "resolve", host);
  if (a.addresses.empty()) throw error(std::error_code(EAI_NONAME, resolve_category()), "resolve", host);
  return a.addresses;
}

}  // namespace weft::io
