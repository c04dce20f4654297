#include "weft/interval.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "weft/this_fiber.hpp"

namespace weft {

namespace {

// A period too long to be added means never.
clock::time_point after(clock::time_point when, clock::duration period) noexcept {
  return period > clock::time_point::max() - when ? clock::time_point::max() : when + period;
}

}  // namespace

interval::interval(clock::duration period, missed_tick missed) : period_(period), missed_(missed), next_(clock::now()) {
  if (period <= clock::duration::zero())
    throw std::invalid_argument("interval: the period is " + std::to_string(period.count()) +
                                " ns; it must be positive");
}

clock::time_point interval::tick() {
  sleep_until(next_);
  const clock::time_point due = next_;
  const clock::time_point now = clock::now();
  const clock::duration late = std::max(now - due, clock::duration::zero());
  switch (missed_) {
    case missed_tick::burst:
      next_ = after(due, period_);
      break;
    case missed_tick::delay:
      next_ = after(late > std::min(grain, period_) ? now : due, period_);
      break;
    case missed_tick::skip:
      next_ = after(due + late / period_ * period_, period_);
      break;
  }
  return due;
}

void interval::reset() noexcept { next_ = after(clock::now(), period_); }

}  // namespace weft
