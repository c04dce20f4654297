#pragma once
// Tasks spawned `anywhere` that their loop has not yet put where others can take them. One loop's thread.
//
// The newest is taken first: a tree of tasks then grows in depth, and has as many tasks alive as it is deep, not as it
// is wide; what is taken was just made, and lies in the cache. What is given to other loops is the oldest: of a tree,
// the largest parts (Blumofe and Leiserson, Scheduling multithreaded computations by work stealing, 1999).

#include <array>
#include <cstddef>
#include <cstdint>

#include "weft/runnable.hpp"

namespace weft::detail {

class spare_tasks {
 public:
  static constexpr std::uint32_t capacity = 1024;

  [[nodiscard]] bool empty() const noexcept { return newest_ == oldest_; }
  [[nodiscard]] std::uint32_t size() const noexcept { return newest_ - oldest_; }
  [[nodiscard]] bool full() const noexcept { return size() == capacity; }

  /// Not when full.
  void push(runnable* r) noexcept { slots_[newest_++ % capacity] = r; }
  /// The newest; null when there is none.
  runnable* pop() noexcept { return empty() ? nullptr : slots_[--newest_ % capacity]; }
  /// The oldest; null when there is none.
  runnable* pop_oldest() noexcept { return empty() ? nullptr : slots_[oldest_++ % capacity]; }

 private:
  std::uint32_t oldest_ = 0;  // both only grow, and wrap alike
  std::uint32_t newest_ = 0;
  std::array<runnable*, capacity> slots_;
};

}  // namespace weft::detail
