#pragma once
// The seam below io::stream: what a socket, TLS, a pipe or a simulated network supplies. Users of streams need none of
// this.
//
// A stream calls its transport from fibers of one loop, at most one reading and one writing at a time, each after a
// checkpoint. A transport waits with weft::waiter, and so cancellation reaches it with no call of its own: an operation
// that is cancelled has moved nothing, and is over when it throws. Between two operations no operation of the system
// holds a buffer.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/io/endpoint.hpp"
#include "weft/io/unique_fd.hpp"

namespace weft::io {

namespace detail {
class descriptor;
}

/// No limit to how long something may take.
inline constexpr std::chrono::nanoseconds no_timeout = std::chrono::nanoseconds::max();

/// How long an operation may wait: until a point in time, or so long from when it begins to wait. So the clock is read
/// only by whoever really waits.
class wait_limit {
 public:
  wait_limit(deadline until) noexcept : until_(until) {}
  wait_limit(std::chrono::nanoseconds longest) noexcept : longest_(longest) {}

  /// The caller begins to wait, or goes on waiting.
  deadline start() noexcept {
    if (longest_ != no_timeout) until_ = deadline::after(std::exchange(longest_, no_timeout));
    return until_;
  }

 private:
  deadline until_;
  std::chrono::nanoseconds longest_ = no_timeout;
};

class transport {
 public:
  transport() = default;
  transport(const transport&) = delete;
  transport& operator=(const transport&) = delete;
  /// close(). Any thread, for a stream may be dropped anywhere.
  virtual ~transport() = default;

  /// Waits for bytes; gives how many, 0 at the end of the stream. `to` is not empty.
  /// Throws timed_out when the limit passes first, cancelled, stream_closed, error. Then no byte was taken.
  virtual std::size_t read_some(std::span<std::byte> to, wait_limit limit) = 0;

  /// True when there are try_read() and wait_readable(), which read_some() is made of then. So whoever reads can choose
  /// the buffer when the bytes are there, and no buffer lies idle in a wait. Always the same.
  [[nodiscard]] virtual bool tries() const noexcept { return false; }
  /// What is there at once: fills `to`, and from then on `more`, which may be empty. Gives how many bytes, 0 at the end
  /// of the stream; nothing when it would have to wait. `to` is not empty. Throws error.
  virtual std::optional<std::size_t> try_read(std::span<std::byte> /*to*/, std::span<std::byte> /*more*/) { return {}; }
  /// False when it is known to have nothing, so that it is as well to wait first.
  [[nodiscard]] virtual bool may_have_some() const noexcept { return true; }
  /// Waits until try_read() may have something; may come back for nothing. Throws as read_some.
  virtual void wait_readable(wait_limit& /*limit*/) {}

  /// Waits until it can take bytes; gives how many it took, at least 1. `from` has a piece, and none is empty.
  /// Throws as read_some. Then no byte was taken.
  virtual std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) = 0;

  /// Writes what is taken at once; gives how many bytes, 0 when it would have to wait or has failed. Nobody is in
  /// write_some(). Any thread.
  virtual std::size_t try_write(std::span<const std::byte> /*from*/) noexcept { return 0; }

  /// Ends the sending half, behind all that was taken. Throws as write_some, if it has to wait for room; then it can be
  /// repeated.
  virtual void shutdown_write(wait_limit limit) = 0;

  /// Ends both halves, and does not wait; whoever waits in the transport gets stream_closed. What was written is still
  /// delivered, then the end, though not all that has come was read. Any number of times.
  virtual void close() noexcept = 0;

  /// close(), but `last` goes out first, and what the other side sends for a while does not keep it from being
  /// delivered: for what is carried by others and has something to say at its end. Does not wait either. Nobody is in
  /// write_some(). By itself: as much of it as try_write() takes.
  virtual void close_after(std::span<const std::byte> last) noexcept {
    if (!last.empty()) (void)try_write(last);
    close();
  }

  /// Lets go of the loop that it was used on: the next operation may come from another. Nobody waits in it.
  virtual void leave_loop() = 0;

  /// The other side, as errors and reports name it.
  [[nodiscard]] virtual std::string describe() const = 0;
  [[nodiscard]] virtual endpoint peer() const { return {}; }
  [[nodiscard]] virtual endpoint local() const { return {}; }
  /// -1 for none.
  [[nodiscard]] virtual int native_handle() noexcept { return -1; }
  /// Gives its descriptor away; none when it has none, or does something to the bytes. Nobody waits in it.
  virtual unique_fd detach() { return {}; }
  /// The descriptor that all its bytes pass through unchanged, for what only those can do (sendfile(2), say); null as
  /// above.
  [[nodiscard]] virtual detail::descriptor* plain_descriptor() noexcept { return nullptr; }
  /// What carries it, if it changes what another one carries; else null.
  [[nodiscard]] virtual transport* below() noexcept { return nullptr; }
};

/// The seam below io::listener, by the same rules.
class acceptor {
 public:
  acceptor() = default;
  acceptor(const acceptor&) = delete;
  acceptor& operator=(const acceptor&) = delete;
  virtual ~acceptor() = default;

  /// Waits for a connection. It belongs to no loop yet. Throws cancelled, stream_closed, error (try again, perhaps
  /// later, unless the code says that the listener itself is unusable).
  virtual std::unique_ptr<transport> accept() = 0;
  virtual void close() noexcept = 0;
  [[nodiscard]] virtual std::string describe() const = 0;
  [[nodiscard]] virtual endpoint local() const { return {}; }
  /// -1 for none.
  [[nodiscard]] virtual int native_handle() const noexcept { return -1; }
};

}  // namespace weft::io
