#pragma once
// An IP address and a port, as a value.

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::io {

class endpoint {
 public:
  using bytes_v4 = std::array<std::uint8_t, 4>;
  using bytes_v6 = std::array<std::uint8_t, 16>;

  /// None: what a stream that is no IP socket has for a peer.
  constexpr endpoint() noexcept = default;
  /// In network order, as one reads them: {127, 0, 0, 1}.
  constexpr endpoint(bytes_v4 address, std::uint16_t port) noexcept : family_(family::v4), port_(port) {
    for (std::size_t i = 0; i < address.size(); ++i) address_[i] = address[i];
  }
  /// `scope` is the interface's index of a link-local address, else 0.
  constexpr endpoint(bytes_v6 address, std::uint16_t port, std::uint32_t scope = 0) noexcept
      : family_(family::v6), port_(port), scope_(scope), address_(address) {}

  /// This machine alone: 127.0.0.1.
  static constexpr endpoint loopback(std::uint16_t port) noexcept { return {bytes_v4{127, 0, 0, 1}, port}; }
  /// To listen on: all addresses of this machine, v4.
  static constexpr endpoint any(std::uint16_t port) noexcept { return {bytes_v4{}, port}; }

  /// "127.0.0.1:8080", "[::1]:80", "[fe80::1%eth0]:80". Numbers only; names are for resolve(). Throws
  /// std::invalid_argument.
  static endpoint parse(std::string_view text);
  /// Empty instead of the error.
  static std::optional<endpoint> try_parse(std::string_view text) noexcept;

  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == family::v4; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family_ == family::v6; }
  /// False for none.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return family_ != family::none; }

  [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
  /// The same address with another port; none stays none.
  [[nodiscard]] constexpr endpoint with_port(std::uint16_t port) const noexcept {
    endpoint e = *this;
    if (e) e.port_ = port;
    return e;
  }
  [[nodiscard]] constexpr std::uint32_t scope() const noexcept { return scope_; }
  /// 4 bytes and zeros for v4.
  [[nodiscard]] constexpr const bytes_v6& address_bytes() const noexcept { return address_; }
  /// Without port and brackets.
  [[nodiscard]] std::string address() const;

  constexpr auto operator<=>(const endpoint&) const noexcept = default;

 private:
  enum class family : std::uint8_t { none, v4, v6 };
  family family_ = family::none;
  std::uint16_t port_ = 0;
  std::uint32_t scope_ = 0;
  bytes_v6 address_{};
};

/// As parse() reads it; "-" for none.
std::string to_string(const endpoint& e);

}  // namespace weft::io
