#pragma once
// A count that goes down to zero once: std::latch, with waiters that are suspended.

#include <chrono>
#include <cstddef>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"

namespace weft {

/// Destroying one that is waited for ends the program with a message; whoever wait() let through may destroy it.
class latch : private detail::monitor {
 public:
  /// Throws std::invalid_argument for a negative number.
  explicit latch(std::ptrdiff_t expected);
  ~latch();

  /// Takes `n` off the count. Below zero it ends the program with a message.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible to whoever goes through.
  /// Throws:   nothing.
  void count_down(std::ptrdiff_t n = 1) noexcept;
  [[nodiscard]] bool try_wait() const noexcept { return look() & mark; }

  /// Waits until the count is zero.
  ///
  /// Suspends: a checkpoint always; switches when the count is not zero, else every 128th call.
  /// Cancel:   throws cancelled; the count is as it was.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: writes before each count_down() are visible.
  /// Throws:   bad_wait on a loop's own stack; wait_in_algorithm.
  void wait() { (void)wait_for_mark(waiters_, {}); }
  /// Like wait(), for a time at most. True when the count is zero.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> duration) {
    return wait_for_mark(waiters_, deadline::after(duration));
  }
  [[nodiscard]] bool wait_until(clock::time_point when) { return wait_for_mark(waiters_, when); }
  /// count_down(n), then wait(). A cancellation does not take the count back.
  void arrive_and_wait(std::ptrdiff_t n = 1) {
    count_down(n);
    wait();
  }

 private:
  std::ptrdiff_t count_;  // inside only, as waiters_
  detail::wait_list waiters_;
};

}  // namespace weft
