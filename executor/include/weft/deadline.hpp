#pragma once
// weft's clock, and deadlines as values.

#include <chrono>
#include <compare>
#include <cstdint>

namespace weft {

/// The clock all of weft goes by: steady, and virtual inside sim::run. Nanoseconds.
struct clock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept;
};

namespace detail {
/// Not earlier than clock::now(), and a few microseconds later at the most, for less.
clock::time_point now_or_later() noexcept;
}  // namespace detail

/// A point in time after which a wait gives up; `deadline::never()` for none.
class deadline {
 public:
  constexpr deadline() noexcept = default;  ///< never
  constexpr deadline(clock::time_point when) noexcept : when_(when) {}

  static constexpr deadline never() noexcept { return {}; }

  /// From now, or a few microseconds later. A duration too long to be added means never; none, or a negative one, has
  /// passed already.
  template <class Rep, class Period>
  static deadline after(std::chrono::duration<Rep, Period> duration) noexcept {
    if (!(duration > duration.zero())) return clock::now();
    const auto now = detail::now_or_later();
    using wide = std::chrono::duration<double, std::nano>;
    if (wide(duration) >= wide(clock::time_point::max() - now) * 0.999) return never();
    return now + std::chrono::ceil<clock::duration>(duration);
  }

  [[nodiscard]] constexpr bool is_never() const noexcept { return when_ == clock::time_point::max(); }
  [[nodiscard]] constexpr clock::time_point when() const noexcept { return when_; }
  [[nodiscard]] bool passed() const noexcept { return !is_never() && clock::now() >= when_; }

  constexpr auto operator<=>(const deadline&) const noexcept = default;

 private:
  clock::time_point when_ = clock::time_point::max();
};

}  // namespace weft
