#pragma once
// TCP: connecting and listening.

#include <chrono>
#include <cstdint>
#include <string_view>

#include "weft/io/endpoint.hpp"
#include "weft/io/listener.hpp"
#include "weft/io/stream.hpp"

namespace weft::io {

struct connect_options {
  bool no_delay = true;     ///< send at once (TCP_NODELAY); off: Nagle's algorithm, RFC 896
  bool keep_alive = false;  ///< have the system ask now and then whether the other side is still there
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);  ///< for each address; then error with ETIMEDOUT
};

struct listen_options {
  int backlog = 4096;         ///< connections that wait to be accepted; the system cuts it to net.core.somaxconn
  bool reuse_address = true;  ///< bind although connections of an earlier listener are still being wound up
  bool reuse_port = false;    ///< several listeners share the port, and the system spreads connections over them
  bool no_delay = true;       ///< of accepted streams
  bool keep_alive = false;    ///< of accepted streams
};

/// Connects; the stream belongs to the calling loop.
///
/// Suspends: a checkpoint always; switches until the other side has answered.
/// Cancel:   throws cancelled; the attempt was given up and its socket closed.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   error, which names the endpoint.
stream connect(const endpoint& to, const connect_options& options = {});

/// Looks `host` up (see resolve()) and connects to its addresses one after another, in the order they were given.
///
/// Suspends: always.
/// Cancel:   throws cancelled; the attempt was given up. A lookup that has started ends by itself.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   error of the last address; as resolve().
stream connect(std::string_view host, std::uint16_t port, const connect_options& options = {});

/// Listens; the listener belongs to the calling loop. Port 0 has the system choose one: see local().
///
/// Suspends: never.
/// Cancel:   not a cancellation point.
/// Threads:  fibers.
/// Ordering: connections are queued from now on.
/// Throws:   error, which names the endpoint and says what to do (port in use, no right to the port, ...).
listener listen(const endpoint& at, const listen_options& options = {});

}  // namespace weft::io
