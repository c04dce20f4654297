#pragma once
// A counting semaphore that suspends its waiters.

#include <chrono>
#include <cstddef>
#include <limits>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"

namespace weft {

/// A number of permits. Oldest waiter first: nobody takes a permit while others wait for one.
/// Destroying one that is waited for ends the program with a message.
class semaphore : private detail::monitor {
 public:
  static constexpr std::ptrdiff_t max() noexcept { return std::numeric_limits<std::ptrdiff_t>::max(); }

  /// With `permits` to begin with, and never more than `most`. Throws std::invalid_argument for a negative number, or
  /// more than `most`.
  explicit semaphore(std::ptrdiff_t permits, std::ptrdiff_t most = max());
  ~semaphore();

  /// Takes a permit; waits until there is one.
  ///
  /// Suspends: a checkpoint always; switches when there is none, else every 128th call.
  /// Cancel:   throws cancelled; no permit was taken.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: writes before the release() of the permit are visible.
  /// Throws:   bad_wait on a loop's own stack; wait_in_algorithm.
  void acquire() { (void)acquire_until({}); }

  /// Takes a permit if there is one and nobody waits. Never waits for one.
  ///
  /// Suspends: never, but where another thread uses the semaphore at the same moment.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: as acquire().
  /// Throws:   nothing.
  [[nodiscard]] bool try_acquire() noexcept;

  /// Like acquire(), for a time at most. True when it took a permit.
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> duration) {
    return acquire_until(deadline::after(duration));
  }
  [[nodiscard]] bool try_acquire_until(clock::time_point when) { return acquire_until(when); }

  /// Gives `count` permits back.
  ///
  /// Suspends: never; one with a `most`, as try_acquire().
  /// Cancel:   not a cancellation point.
  /// Threads:  any; it need not be who acquired.
  /// Ordering: writes before it are visible to whoever acquires the permits.
  /// Throws:   std::logic_error when there would be more than `most`; none was given back then.
  ///           std::invalid_argument for a negative count.
  void release(std::ptrdiff_t count = 1);

 private:
  bool acquire_until(deadline until);
  void take_or_link(detail::wait_entry& e) noexcept;
  void give(std::ptrdiff_t count) noexcept;

  const std::ptrdiff_t most_;
  std::ptrdiff_t permits_;  // inside only, as waiters_
  detail::wait_list waiters_;
};

}  // namespace weft
