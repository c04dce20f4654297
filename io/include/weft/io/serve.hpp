#pragma once
// A server: accepts connections, spreads them over the loops, and ends in order.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "weft/io/endpoint.hpp"
#include "weft/io/listener.hpp"
#include "weft/io/stream.hpp"

namespace weft::io {

/// Which loop a connection goes to.
enum class spread : std::uint8_t {
  least_connections,  ///< the loop that has the fewest of this server's
  round_robin,
  here  ///< the listener's loop
};

/// The defaults survive the open internet.
struct serve_options {
  std::size_t max_connections = 10'000;  ///< at the cap no more are accepted; they wait in the system's queue
  std::chrono::nanoseconds first_byte = std::chrono::seconds(10);   ///< the stream's first read_timeout()
  std::chrono::nanoseconds idle = std::chrono::seconds(60);         ///< its read_timeout() from the first byte on
  std::chrono::nanoseconds write_stall = std::chrono::seconds(60);  ///< its write_timeout()
  std::chrono::nanoseconds lifetime = no_timeout;  ///< of a connection as a whole; then its handler is cancelled
  std::chrono::nanoseconds grace = std::chrono::seconds(10);  ///< what connections get to end by themselves in a drain
  spread over = spread::least_connections;

  /// Called with what a handler threw, on the connection's loop, and with what accepting met (`peer` is then the
  /// listener), once for each run of failures, on the listener's. Must not throw. Default: a line on stderr, but for
  /// what clients do every day: error, end_of_stream, line_too_long and timed_out of handlers.
  std::function<void(const std::string& peer, std::exception_ptr)> on_error = {};
};

/// What a server has done. accepted = finished + failed + cancelled + open.
struct serve_report {
  std::uint64_t accepted = 0;
  std::uint64_t finished = 0;   ///< the handler returned
  std::uint64_t failed = 0;     ///< the handler threw
  std::uint64_t cancelled = 0;  ///< had to be cancelled in a drain
  std::uint64_t open = 0;       ///< still there
  std::uint64_t accept_failures = 0;
};

/// Serves one listener.
class server {
 public:
  /// Called on the connection's own loop, in a fiber of its own; on several loops at once.
  using handler = std::function<void(stream)>;

  /// Throws std::invalid_argument for options that cannot be.
  server(listener source, handler handle, serve_options options = {});
  /// Must not run.
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Serves until stop(), or until its scope is cancelled. Either way it then drains: stops accepting, gives the
  /// connections `grace` to end by themselves, cancels those that are left with reason shutdown, and joins them.
  /// Connections are tasks under no scope of the caller: only the drain and the end of the runtime cancel them.
  ///
  /// Suspends: always.
  /// Cancel:   drains, then throws cancelled; report() tells what was.
  /// Threads:  fibers of the listener's loop, once.
  /// Ordering: what the handlers wrote is visible.
  /// Throws:   error when the listener has become unusable, after a drain; wrong_loop.
  serve_report run();

  /// Has run() drain and return. At once, if it has not begun.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any agent.
  /// Ordering: none.
  /// Throws:   std::bad_alloc.
  void stop();

  /// So far. Any thread.
  [[nodiscard]] serve_report report() const noexcept;
  [[nodiscard]] endpoint local() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

/// A server that runs until its scope is cancelled: see server::run().
///
/// Suspends: always.
/// Cancel:   drains, then throws cancelled.
/// Threads:  fibers of the listener's loop.
/// Ordering: what the handlers wrote is visible.
/// Throws:   as server::run().
serve_report serve(listener source, server::handler handle, serve_options options = {});

/// Serves with a listener for each loop, on the port of `first`, which must have been made with reuse_port, and with
/// its no_delay and keep_alive: the system spreads the connections, by a hash of their addresses, and none changes
/// loops. That saves the way from the accepting loop, and balances worse where connections are few or long. Each loop
/// gets its share of max_connections; `over` means nothing.
///
/// Suspends: always.
/// Cancel:   all drain at the same time, then it throws cancelled.
/// Threads:  fibers of the loop of `first`.
/// Ordering: what the handlers wrote is visible.
/// Throws:   as server::run(), after the others have drained; error when a loop cannot listen; std::invalid_argument
///           when `first` is no TCP listener.
serve_report serve_on_all_loops(listener first, server::handler handle, serve_options options = {});

}  // namespace weft::io
