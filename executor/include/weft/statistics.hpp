#pragma once
// Counts of what a runtime has done and holds.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft {

struct loop_statistics {
  std::uint64_t switches = 0;  ///< switches and stack hand-ons so far
  std::size_t stacks = 0;      ///< stacks made so far; they are kept for reuse
  bool awake = false;          ///< it does not sleep
};

struct statistics {
  std::vector<loop_statistics> loops;
  unsigned cpu_workers = 0;
  std::size_t cpu_stacks = 0;
};

/// Of the running runtime. Any thread; each number is of its own moment. Throws no_runtime.
statistics get_statistics();

}  // namespace weft
