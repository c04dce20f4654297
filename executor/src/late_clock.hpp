#pragma once
// The time, or a little later: for what is to end "in an hour from now".
//
// Problem: a time limit begins with a look at the clock, which takes as long as all else about a timer that is made and
// cancelled again: clock_gettime(2) has the core wait for what it has begun, and works the time out anew.
// Solution: for a millisecond after such a look the core's counter tells what has passed since. A thousandth is added,
// which is more than the kernel ever makes its clock run faster by (adjtimex(2): 500 ppm); and the counter is read
// before the clock. So the result is never earlier than the clock, and `most_late` later at the most, which for a time
// limit is right and for an event would be wrong.
//
// One thread's. Only where the kernel's own clock is made of the counter, and so has found it to be steady and the same
// on every core.

#include <chrono>
#include <cstdint>

#include "weft/deadline.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace weft::detail {

/// Whether core_counter() is what the kernel's clock is made of. Reads a file, once.
bool core_counter_is_the_clock() noexcept;

inline std::uint64_t core_counter() noexcept {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

class late_clock {
 public:
  static constexpr std::chrono::nanoseconds window{1'000'000};
  static constexpr std::chrono::nanoseconds most_late{4'000};

  /// `count` gives the counter, `look` the time by the clock.
  template <class Count, class Look>
  [[nodiscard]] clock::time_point now(Count count, Look look) noexcept {
    const std::uint64_t at = count();
    const std::uint64_t since = at - base_count_;
    if (since < counts_) [[likely]]
      return base_ + std::chrono::nanoseconds(static_cast<std::int64_t>((since * rate_) >> rate_bits));
    const clock::time_point t = look();
    if (count() - at < most_between) rebase(at, t);
    return t;
  }

 private:
  static constexpr int rate_bits = 24;
  static constexpr std::uint64_t most_between = 4096;  // else the thread was preempted between the two
  static constexpr std::chrono::nanoseconds shortest_to_learn{50'000'000};

  [[gnu::noinline]] void rebase(std::uint64_t at, clock::time_point t) noexcept {
    const auto elapsed = static_cast<double>((t - first_).count());
    const auto counted = static_cast<double>(at - first_count_);
    const double rate = elapsed / counted * 1.001;  // ns for each count
    const double known = static_cast<double>(rate_) / (1 << rate_bits);
    // Anew where the counter went back, or on while the clock stood still: the machine was suspended.
    const bool counts = at >= base_count_ && rate > 0.05 && rate < 4;  // 250 MHz to 20 GHz
    if (first_count_ == 0 || !counts || (rate_ != 0 && (rate < known * 0.9998 || rate > known * 1.0002))) {
      first_count_ = at;
      first_ = t;
      counts_ = rate_ = 0;
    } else if (elapsed >= static_cast<double>(shortest_to_learn.count())) {
      rate_ = static_cast<std::uint64_t>(rate * (1 << rate_bits)) + 1;
      counts_ = static_cast<std::uint64_t>(static_cast<double>(window.count()) / rate);
    }
    base_count_ = at;
    base_ = t;
  }

  std::uint64_t base_count_ = 0;
  clock::time_point base_{};
  std::uint64_t rate_ = 0;    // ns for each count, of rate_bits bits after the point
  std::uint64_t counts_ = 0;  // that a window has; 0 until the rate is known
  std::uint64_t first_count_ = 0;
  clock::time_point first_{};
};

}  // namespace weft::detail
