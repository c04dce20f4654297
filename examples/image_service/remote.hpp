#pragma once
// Fetching a picture that somebody else serves. The address comes from a stranger, so it must not lead to where only
// this machine can go (server-side request forgery).

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <weft/io/endpoint.hpp>
#include <weft/io/tls.hpp>

namespace images {

struct remote_limits {
  std::uint64_t bytes = 25'000'000;
  std::chrono::nanoseconds time = std::chrono::seconds(20);  ///< for all of it
  unsigned redirects = 5;
  bool local = false;            ///< addresses of this machine and its networks, and ports other than 80 and 443, too
  std::string authorities = {};  ///< PEM: believe these, too
};

struct remote_file {
  std::string name;  ///< the last part of the path
  std::string bytes;
};

class remote {
 public:
  explicit remote(remote_limits most);

  /// GETs it, over http or https; https with a certificate that is to be trusted.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the connection was closed.
  /// Threads:  fibers.
  /// Ordering: none.
  /// Throws:   http::error with what to tell the client: 400 no such URL, 403 not to be asked, 413, 502 no answer or
  ///           not the right one, 504 too late.
  [[nodiscard]] remote_file get(const std::string& url) const;

 private:
  const remote_limits most_;
  const weft::io::tls_context tls_;
};

/// Whether it is an address of the public internet, of which each machine is somebody else's (IANA's registries of
/// special-purpose addresses, RFC 6890).
bool is_public(const weft::io::endpoint& address);

}  // namespace images
