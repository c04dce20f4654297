#pragma once
// A timer's node. It lives with whoever waits, and its loop's heap points to it.

#include <cstdint>

namespace weft::detail {

struct timer {
  static constexpr std::uint32_t idle = 0xffffffff;

  void (*expired)(timer&) noexcept = nullptr;  ///< called on the loop that the timer was armed on
  std::uint32_t index = idle;                  ///< its place in the heap

  [[nodiscard]] bool armed() const noexcept { return index != idle; }
};

}  // namespace weft::detail
