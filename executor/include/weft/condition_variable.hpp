#pragma once
// Waiting for a change of what a mutex guards.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"
#include "weft/mutex.hpp"

namespace weft {

/// With std::unique_lock<weft::mutex>, or a std::unique_lock or std::shared_lock of a weft::shared_mutex.
///
/// Wakes oldest first. A wait may also end unasked, as the standard's: use the forms with a condition.
/// Destroying one that is waited for ends the program with a message; waiters that were notified may still be on their
/// way to the mutex.
class condition_variable : private detail::monitor {
 public:
  constexpr condition_variable() noexcept = default;
  ~condition_variable();

  /// Wakes one of those who wait now.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any; the caller need not hold the mutex.
  /// Ordering: the mutex orders.
  /// Throws:   nothing.
  void notify_one() noexcept { notify(false); }
  /// Wakes all who wait now.
  void notify_all() noexcept { notify(true); }

  /// Gives the lock up, waits to be notified, and takes the lock again.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled, holding the lock; no notification was taken.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: the mutex orders.
  /// Throws:   std::system_error (operation_not_permitted) when `lock` does not own its mutex; bad_wait;
  ///           wait_in_algorithm.
  template <class Lock>
  void wait(Lock& lock) {
    (void)wait_till(lock, {});
  }
  template <class Lock, class Condition>
  void wait(Lock& lock, Condition holds) {
    while (!holds()) wait(lock);
  }
  /// wait(), until a time at most.
  template <class Lock>
  std::cv_status wait_until(Lock& lock, clock::time_point when) {
    return wait_till(lock, when) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  /// Whether the condition holds.
  template <class Lock, class Condition>
  bool wait_until(Lock& lock, clock::time_point when, Condition holds) {
    return wait_for_condition(lock, when, holds);
  }
  template <class Lock, class Rep, class Period>
  std::cv_status wait_for(Lock& lock, std::chrono::duration<Rep, Period> duration) {
    return wait_till(lock, deadline::after(duration)) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <class Lock, class Rep, class Period, class Condition>
  bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> duration, Condition holds) {
    return wait_for_condition(lock, deadline::after(duration), holds);
  }

 private:
  template <class Lock, class Condition>
  bool wait_for_condition(Lock& lock, deadline until, Condition& holds) {
    while (!holds())
      if (!wait_till(lock, until)) return holds();
    return true;
  }
  template <class Lock>
  bool wait_till(Lock& lock, deadline until) {
    check(lock.owns_lock());
    struct relock {  // throws nothing: the caller did not hold it in between
      Lock& lock;
      ~relock() {
        if (!lock.owns_lock()) lock.lock();
      }
    } const guard{lock};
    return wait_unlocked(
        until, [](void* l) { static_cast<Lock*>(l)->unlock(); }, &lock);
  }
  static void check(bool owns);
  bool wait_unlocked(deadline until, void (*unlock)(void*), void* lock);
  void notify(bool all) noexcept;

  detail::wait_list waiters_;
};

}  // namespace weft
