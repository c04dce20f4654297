#pragma once
// What connections come out of.

#include <cstdint>
#include <memory>
#include <string>

#include "weft/io/endpoint.hpp"
#include "weft/io/error.hpp"
#include "weft/io/stream.hpp"
#include "weft/io/transport.hpp"

namespace weft::io {

/// Belongs to the loop it was made on, as a stream does.
class listener {
 public:
  /// A closed one.
  listener() noexcept = default;
  /// Belongs to the calling loop. Throws no_runtime off a loop.
  explicit listener(std::unique_ptr<acceptor> source);
  listener(listener&& other) noexcept;
  listener& operator=(listener&& other) noexcept;
  /// close(). Any thread.
  ~listener();

  /// Waits for a connection; the stream belongs to the calling loop.
  ///
  /// Suspends: a checkpoint always; switches when no connection waits, else every 128th call.
  /// Cancel:   throws cancelled; no connection was taken.
  /// Threads:  fibers of the listener's loop; one at a time.
  /// Ordering: none.
  /// Throws:   error (no descriptors left, the connection died in the queue: the listener is usable), stream_closed,
  ///           wrong_loop, stream_busy.
  stream accept() { return stream(accept_transport()); }

  /// The same, for a connection that is to belong to another loop: make the stream there.
  std::unique_ptr<transport> accept_transport();

  /// Stops listening: connections that were not accepted are refused, an accept() that waits throws stream_closed.
  /// Closing again does nothing. Throws wrong_loop.
  void close();
  [[nodiscard]] bool is_open() const noexcept { return open_; }

  /// Where it listens; with the port that was chosen when 0 was asked for.
  [[nodiscard]] endpoint local() const { return source_ ? source_->local() : endpoint(); }
  /// The descriptor, for setsockopt(2) and the like; -1 for none. It stays the listener's.
  [[nodiscard]] int native_handle() const noexcept { return source_ ? source_->native_handle() : -1; }
  [[nodiscard]] std::string describe() const { return source_ ? source_->describe() : "a closed listener"; }

 private:
  void check_loop() const;
  void check_idle(const char* what) const noexcept;

  std::uint32_t home_ = 0;  ///< the loop's token
  bool open_ = false;
  bool accepting_ = false;
  std::unique_ptr<acceptor> source_;
};

}  // namespace weft::io
