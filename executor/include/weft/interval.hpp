#pragma once
// Something to be done every so often.
//
//   interval ticks(100ms);
//   for (;;) {
//     ticks.tick();   // at once, then every 100 ms, however long the work takes
//     work();
//   }

#include <chrono>
#include <cstdint>

#include "weft/deadline.hpp"

namespace weft {

/// What becomes of ticks that came while nobody waited for them. (Tokio's MissedTickBehavior, and its names.)
enum class missed_tick : std::uint8_t {
  burst,  ///< they follow at once, one after the other, until it has caught up
  delay,  ///< the next one comes a period after the late one was taken
  skip    ///< they are left out: the next one comes at a multiple of the period since the start
};

/// Ticks a period apart; the first is due when it is made. Of one agent at a time.
class interval {
 public:
  /// How late a tick may be taken and still count as in time with missed_tick::delay, or what a timer is late would add
  /// up. A period, if that is shorter.
  static constexpr clock::duration grain = std::chrono::milliseconds(5);

  /// Throws std::invalid_argument for a period that is not positive.
  explicit interval(clock::duration period, missed_tick missed = missed_tick::burst);

  /// Waits for the next tick. Gives when it was due.
  ///
  /// Suspends: always, unless the tick is due; then it is a checkpoint.
  /// Cancel:   throws cancelled; the tick is still to come.
  /// Threads:  any agent; a plain thread sleeps.
  /// Ordering: none.
  /// Throws:   bad_wait on a loop's own stack.
  clock::time_point tick();

  /// The next tick comes a period from now.
  void reset() noexcept;

  [[nodiscard]] clock::duration period() const noexcept { return period_; }

 private:
  clock::duration period_;
  missed_tick missed_;
  clock::time_point next_;
};

}  // namespace weft
