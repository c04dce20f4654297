#pragma once
// Many readers or one writer. Meets the standard's SharedTimedMutex requirements.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"

namespace weft {

/// Oldest first: readers that come while a writer waits wait behind it, so neither starves.
///
/// Locking is no cancellation point. A task that ends while it holds one is reported on stderr, and it stays locked.
/// Destroying one that is held or waited for ends the program with a message.
class shared_mutex : private detail::monitor {
 public:
  constexpr shared_mutex() noexcept = default;
  ~shared_mutex();

  /// Waits until the caller alone holds it.
  ///
  /// Suspends: only when it is held.
  /// Cancel:   not a cancellation point.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: what earlier holders wrote is visible.
  /// Throws:   std::system_error (resource_deadlock_would_occur) when the caller holds it alone already; bad_wait on a
  ///           loop's own stack; wait_in_algorithm.
  void lock() { (void)lock_until(true, {}); }
  [[nodiscard]] bool try_lock() noexcept { return try_it(true); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> duration) {
    return lock_until(true, deadline::after(duration));
  }
  [[nodiscard]] bool try_lock_until(clock::time_point when) { return lock_until(true, when); }
  /// Ends the program with a message when nobody holds it alone; in debug builds also when another task does. Never
  /// waits.
  void unlock() noexcept;

  /// Waits until the caller holds it, with other readers.
  ///
  /// Suspends: only when a writer holds it or waits for it.
  /// Cancel:   not a cancellation point.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: what earlier writers wrote is visible.
  /// Throws:   as lock().
  void lock_shared() { (void)lock_until(false, {}); }
  [[nodiscard]] bool try_lock_shared() noexcept { return try_it(false); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_shared_for(std::chrono::duration<Rep, Period> duration) {
    return lock_until(false, deadline::after(duration));
  }
  [[nodiscard]] bool try_lock_shared_until(clock::time_point when) { return lock_until(false, when); }
  /// Ends the program with a message when nobody holds it with others. Never waits.
  void unlock_shared() noexcept;

 private:
  struct entry : detail::wait_entry {
    detail::agent* me = nullptr;
    bool alone = false;
  };

  bool lock_until(bool alone, deadline until);
  bool try_it(bool alone) noexcept;
  [[nodiscard]] bool can_take(bool alone) const noexcept { return !writing_ && (!alone || readers_ == 0); }
  void take(bool alone, detail::agent* who) noexcept;
  void admit() noexcept;
  void check_owner() const noexcept;

  // Inside only, but for the writer's id and agent, which anybody may read.
  detail::wait_list waiters_;
  std::size_t readers_ = 0;
  bool writing_ = false;
  std::atomic<detail::agent*> writer_{nullptr};
  std::atomic<std::uint64_t> writer_task_{0};
};

}  // namespace weft
