#pragma once
// TCP: connecting and listening.

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "weft/io/endpoint.hpp"
#include "weft/io/listener.hpp"
#include "weft/io/resolve.hpp"
#include "weft/io/stream.hpp"

namespace weft::io {

struct connect_options {
  bool no_delay = true;     ///< send at once (TCP_NODELAY); off: Nagle's algorithm, RFC 896
  bool keep_alive = false;  ///< have the system ask now and then whether the other side is still there
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);  ///< lookup and all; then error with ETIMEDOUT
  std::chrono::nanoseconds attempt_delay = std::chrono::milliseconds(250);  ///< before the next address is tried, too
  resolver* names = nullptr;                                                ///< null: default_resolver()
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

/// Connects to whichever address answers first, and gives the others up (RFC 8305: see happy_eyeballs()). Addresses of
/// v6 and v4 take turns, those of the first one's family first.
///
/// Suspends: always.
/// Cancel:   throws cancelled; all attempts were given up and their sockets closed.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   error, which tells what became of each address; std::invalid_argument when there is none.
stream connect(std::span<const endpoint> addresses, const connect_options& options = {});

/// Looks `host` up, v6 and v4 at the same time, and connects to whichever of its addresses answers first. A number
/// needs no lookup.
///
/// Suspends: always.
/// Cancel:   throws cancelled; all attempts were given up and their sockets closed. A lookup ends by itself.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   error, which tells what became of each address; as resolver::resolve().
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
