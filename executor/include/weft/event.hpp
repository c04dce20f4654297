#pragma once
// A flag to wait for.

#include <chrono>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"

namespace weft {

/// Set once, it stays set, and everybody who waits or comes goes through, until it is cleared.
/// Destroying one that is waited for ends the program with a message; whoever wait() let through may destroy it.
class event : private detail::monitor {
 public:
  constexpr event() noexcept = default;
  ~event();

  /// Sets it and wakes all who wait.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible to whoever it lets through.
  /// Throws:   nothing.
  void set() noexcept;
  /// Those who come from now on wait.
  void clear() noexcept;
  /// A look. What set() and clear() do beside another thread's may show a moment later; a wait does not look past it.
  [[nodiscard]] bool is_set() const noexcept { return look() & mark; }

  /// Waits until it is set.
  ///
  /// Suspends: a checkpoint always; switches when it is not set, else every 128th call.
  /// Cancel:   throws cancelled; nothing has changed.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: writes before set() are visible.
  /// Throws:   bad_wait on a loop's own stack; wait_in_algorithm.
  void wait() { (void)wait_for_mark(waiters_, {}); }
  /// Like wait(), for a time at most. True when it was set.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> duration) {
    return wait_for_mark(waiters_, deadline::after(duration));
  }
  [[nodiscard]] bool wait_until(clock::time_point when) { return wait_for_mark(waiters_, when); }

 private:
  void set_for_others() noexcept;
  void clear_for_others() noexcept;

  detail::wait_list waiters_;
};

}  // namespace weft
