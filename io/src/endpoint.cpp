#include "weft/io/endpoint.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <charconv>
#include <cstring>
#include <stdexcept>

#include "sockaddr.hpp"

namespace weft::io {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// inet_pton(3) and if_nametoindex(3) want a terminated string; no address is longer.
template <std::size_t N>
bool copy(std::string_view text, char (&to)[N]) noexcept {
  if (text.size() >= N || text.find('\0') != std::string_view::npos) return false;
  std::memcpy(to, text.data(), text.size());
  to[text.size()] = '\0';
  return true;
}

}  // namespace

std::optional<endpoint> endpoint::try_parse(std::string_view text) noexcept {
  const auto colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon == std::string_view::npos || !read_number(text.substr(colon + 1), port)) return {};
  auto address = text.substr(0, colon);
  char terminated[INET6_ADDRSTRLEN];

  if (!address.starts_with('[')) {
    bytes_v4 bytes;
    if (!copy(address, terminated) || ::inet_pton(AF_INET, terminated, bytes.data()) != 1) return {};
    return endpoint(bytes, port);
  }
  if (!address.ends_with(']')) return {};
  address = address.substr(1, address.size() - 2);
  std::uint32_t scope = 0;
  if (const auto percent = address.find('%'); percent != std::string_view::npos) {
    const auto name = address.substr(percent + 1);
    char interface[IF_NAMESIZE];
    if (!read_number(name, scope)) scope = copy(name, interface) ? ::if_nametoindex(interface) : 0;
    if (scope == 0) return {};
    address = address.substr(0, percent);
  }
  bytes_v6 bytes;
  if (!copy(address, terminated) || ::inet_pton(AF_INET6, terminated, bytes.data()) != 1) return {};
  return endpoint(bytes, port, scope);
}

endpoint endpoint::parse(std::string_view text) {
  if (const auto e = try_parse(text)) return *e;
  throw std::invalid_argument("\"" + std::string(text) +
                              "\" is no endpoint: write 127.0.0.1:80 or [::1]:80; for a name, use io::resolve");
}

std::string endpoint::address() const {
  if (!*this) return "-";
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(is_v4() ? AF_INET : AF_INET6, address_.data(), text, sizeof(text));
  return scope_ == 0 ? text : std::string(text) + "%" + std::to_string(scope_);
}

std::string to_string(const endpoint& e) {
  if (!e) return "-";
  return (e.is_v6() ? "[" + e.address() + "]:" : e.address() + ":") + std::to_string(e.port());
}

namespace detail {

socket_address::socket_address(const endpoint& e) noexcept {
  if (e.is_v4()) {
    ::sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(e.port());
    std::memcpy(&v4.sin_addr, e.address_bytes().data(), sizeof(v4.sin_addr));
    std::memcpy(&storage, &v4, size = sizeof(v4));
  } else {
    ::sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(e.port());
    v6.sin6_scope_id = e.scope();
    std::memcpy(&v6.sin6_addr, e.address_bytes().data(), sizeof(v6.sin6_addr));
    std::memcpy(&storage, &v6, size = sizeof(v6));
  }
}

endpoint socket_address::value() const noexcept {
  if (storage.ss_family == AF_INET) {
    ::sockaddr_in v4;
    std::memcpy(&v4, &storage, sizeof(v4));
    endpoint::bytes_v4 bytes;
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    return {bytes, ntohs(v4.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    ::sockaddr_in6 v6;
    std::memcpy(&v6, &storage, sizeof(v6));
    endpoint::bytes_v6 bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return {bytes, ntohs(v6.sin6_port), v6.sin6_scope_id};
  }
  return {};
}

}  // namespace detail
}  // namespace weft::io
