#pragma once
// Every value to every receiver; a receiver that is too slow is told how much it missed.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/feed.hpp"

namespace weft {

/// A receiver of a broadcast was so slow that values were replaced before it saw them. Its next recv() gives the oldest
/// that is still there.
class lagged : public std::runtime_error {
 public:
  explicit lagged(std::uint64_t missed)
      : std::runtime_error("lagged: this receiver missed " + std::to_string(missed) +
                           " values; receive faster, or give the broadcast more room"),
        missed_(missed) {}
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

 private:
  std::uint64_t missed_;
};

namespace detail {

/// All of a broadcast but the values, which are immutable and shared.
class broadcast_core : private feed {
 protected:
  using holder = std::shared_ptr<const void>;
  struct got {
    holder value;              ///< null when the time was up
    std::uint64_t missed = 0;  ///< instead of a value
    bool closed = false;
  };

  explicit broadcast_core(std::size_t room);
  ~broadcast_core();

  /// False when it is closed. `value` is then as it was, else an old value for the caller to destroy.
  bool put(holder& value);
  /// The value number `next`, which is counted up; waits until it is there.
  got await(std::uint64_t& next, deadline until);
  [[nodiscard]] std::uint64_t next_number() const noexcept;
  using feed::end;

 private:
  std::vector<holder> ring_;  // inside only; the feed's count is how many were sent
};

}  // namespace detail

/// Keeps the last `room` values for those who have not received them yet. Senders never wait.
/// Destroying one that is waited for ends the program with a message; close it first.
template <class T>
class broadcast : private detail::broadcast_core {
 public:
  /// Throws std::invalid_argument for no room.
  explicit broadcast(std::size_t room) : broadcast_core(room) {}

  /// Gives `value` to every receiver there is.
  ///
  /// Suspends: never, but where another thread uses the broadcast at the same moment.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible to whoever receives the value.
  /// Throws:   channel_closed; std::bad_alloc.
  void send(T value) {
    holder v = std::make_shared<const T>(std::move(value));
    if (!put(v)) throw channel_closed();
  }

  /// Receivers get what was sent before, then channel_closed. Never waits.
  void close() noexcept { end(); }

  /// Gets every value sent since it was made. One agent at a time.
  class receiver {
   public:
    explicit receiver(broadcast& from) noexcept : from_(&from), next_(from.next_number()) {}

    /// The next value; waits until it is sent.
    ///
    /// Suspends: a checkpoint always; switches when there is none, else every 128th call.
    /// Cancel:   throws cancelled; nothing was taken.
    /// Threads:  any agent, any loop; on a plain thread it blocks.
    /// Ordering: writes before its send() are visible.
    /// Throws:   lagged when values were lost to this receiver; channel_closed once the broadcast is closed and all was
    ///           received; bad_wait; wait_in_algorithm.
    std::shared_ptr<const T> recv() { return next({}); }
    /// Like recv(), for a time at most. Null when the time was up.
    template <class Rep, class Period>
    [[nodiscard]] std::shared_ptr<const T> recv_for(std::chrono::duration<Rep, Period> duration) {
      return next(deadline::after(duration));
    }

   private:
    std::shared_ptr<const T> next(deadline until) {
      got g = from_->await(next_, until);
      if (g.closed) throw channel_closed();
      if (g.missed > 0) throw lagged(g.missed);
      return std::static_pointer_cast<const T>(std::move(g.value));
    }
    broadcast* from_;
    std::uint64_t next_;
  };
  [[nodiscard]] receiver subscribe() noexcept { return receiver(*this); }
};

}  // namespace weft
