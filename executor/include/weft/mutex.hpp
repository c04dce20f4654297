#pragma once
// A mutex that suspends its waiters, and not their threads. Meets the standard's TimedLockable.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"
#include "weft/waiter.hpp"

namespace weft {

/// Mutual exclusion among agents of every kind. May be held over waits. Use it with std::unique_lock and the like.
///
/// Oldest waiter first. As long as one loop alone uses it, unlock() hands the mutex to the oldest waiter directly.
/// Where several do, to hand it on each time would have all of them wait for messages between cores: there unlock()
/// wakes the oldest waiter, and until that has come others may go first, those that hold it now above all. A woken
/// waiter of the same loop is overtaken once: then it gets the mutex directly. One of another loop tries again and
/// again, while it lets its loop's other fibers run, for `longest_overtaking` or `most_tries`; then it gets the mutex
/// directly, too. Waiters that are no fibers are woken beside these: no fiber waits until a CPU task has a worker.
///
/// A task that ends while it holds a mutex is reported on stderr, and the mutex stays locked. Destroying a mutex that
/// is held or waited for ends the program with a message.
class mutex : private detail::monitor {
 public:
  static constexpr std::chrono::microseconds longest_overtaking{100};
  static constexpr unsigned most_tries = 128;

  constexpr mutex() noexcept = default;
  ~mutex();

  /// Waits until the caller holds the mutex.
  ///
  /// Suspends: only when it is held.
  /// Cancel:   not a cancellation point.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: what earlier holders wrote is visible.
  /// Throws:   std::system_error (resource_deadlock_would_occur) when the caller holds it already; bad_wait on a loop's
  ///           own stack; wait_in_algorithm.
  void lock() {
    if (!try_lock()) lock_slowly({});
  }

  /// Takes the mutex if it is free. Never waits.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: what earlier holders wrote is visible after true.
  /// Throws:   nothing.
  [[nodiscard]] bool try_lock() noexcept;

  /// Like lock(), for a time at most. True when the caller holds it.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> duration) {
    return try_lock() || lock_slowly(deadline::after(duration));
  }
  [[nodiscard]] bool try_lock_until(clock::time_point when) { return try_lock() || lock_slowly(when); }

  /// Gives it up. Debug builds end the program with a message when the caller does not hold it.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  the agent that locked it.
  /// Ordering: what the caller wrote is visible to the next holder.
  /// Throws:   nothing.
  void unlock() noexcept;

 private:
  static constexpr word locked = mark;
  static constexpr word awaited = second_mark;  ///< unlock() must see to those who wait

  struct entry : detail::wait_entry {
    detail::agent* me = nullptr;
    bool woken = false;      ///< to come by itself; from then on until it is there, or linked again
    bool near = false;       ///< by the loop of its own
    bool overtaken = false;  ///< was woken, and others were faster
  };
  struct release : detail::request {
    mutex* what = nullptr;
  };

  bool lock_slowly(deadline until);
  void take_or_link(entry& e) noexcept;
  bool comes(entry& e, deadline until);
  void arrived(entry& e) noexcept;
  void used_by(const detail::loop_core* home) noexcept;
  [[nodiscard]] word mark_of_waiters() const noexcept;
  [[nodiscard]] static bool is_fiber(const entry& e) noexcept;
  [[nodiscard]] static bool is_near(const entry& e) noexcept;
  [[nodiscard]] detail::wait_list& line_of(const entry& e) noexcept { return is_fiber(e) ? waiters_ : others_; }
  void give_to(entry& e) noexcept;
  void pass_on() noexcept;
  bool try_lock_of_others() noexcept;
  bool try_lock_of_others_now() noexcept;
  void unlock_of_others() noexcept;
  void unlock_of_others_now() noexcept;
  void unlock_inside(detail::agent& me) noexcept;
  void take_note() noexcept;
  bool comes_again() noexcept;
  void owned_by(detail::agent* who) noexcept;
  [[nodiscard]] bool owned_by_task_of(const detail::agent& who) const noexcept;
  void check_owner() const noexcept;

  // Who may touch what: owner_, owner_task_, last_ and in_a_row_ the holder; unlocking_ the holder, until its request
  // is carried out; the rest whoever is inside the monitor. What locking and unlocking touch where nobody waits lies
  // within 64 bytes, with the monitor.
  std::uint8_t in_a_row_ = 0;
  // A waiter was woken, by its own loop or by another, and is not here yet; one of the others.
  bool near_one_comes_ = false;
  bool far_one_comes_ = false;
  bool other_one_comes_ = false;
  bool used_ = false;  // see users_
  std::atomic<detail::agent*> owner_{nullptr};
  std::atomic<std::uint64_t> owner_task_{0};
  detail::gate* last_ = nullptr;
  // So far the 64 bytes.
  detail::wait_list waiters_;  // fibers
  detail::wait_list others_;
  // Who came to lock when it was held: one loop so far, which may be none, or several.
  const detail::loop_core* users_ = nullptr;
  bool several_ = false;
  release unlocking_{};
};

}  // namespace weft
