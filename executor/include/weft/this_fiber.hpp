#pragma once
// What the caller can do with its own time. All of it works from every kind of agent.

#include <chrono>

#include "weft/deadline.hpp"
#include "weft/departure.hpp"

namespace weft {

namespace detail {
/// The halves of yield(), before the jump and after it; the first does it all where there is none.
[[nodiscard]] departure begin_to_yield();
void has_yielded();
}  // namespace detail

/// Waits until `when`.
///
/// Suspends: always, unless `when` has passed; then it is a checkpoint.
/// Cancel:   throws cancelled.
/// Threads:  any agent; a plain thread sleeps.
/// Ordering: fibers of one loop that sleep until the same time wake in the order they went to sleep.
/// Throws:   bad_wait on a loop's own stack.
void sleep_until(clock::time_point when);

/// Waits for a duration; one too long to be added to the time now waits for ever.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> duration) {
  sleep_until(deadline::after(duration).when());
}

/// Lets the other ready fibers of the loop run first.
///
/// Suspends: always.
/// Cancel:   throws cancelled.
/// Threads:  any agent; a CPU task and a plain thread yield to the system.
/// Ordering: the caller goes behind whoever is ready now.
/// Throws:   bad_wait on a loop's own stack. In a oneTBB algorithm that the fiber called itself: wait_in_algorithm in
///           debug builds; else the program ends with a message.
inline void yield() {
  if (const detail::departure away = detail::begin_to_yield(); away.to) {
    away.take();
    detail::has_yielded();
  }
}

}  // namespace weft
