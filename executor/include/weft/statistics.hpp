#pragma once
// Counts of what a runtime has done and holds.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft {

struct loop_statistics {
  std::uint64_t switches = 0;  ///< switches and stack hand-ons so far
  std::size_t stacks = 0;      ///< stacks made so far; they are kept for reuse
  bool awake = false;          ///< it does not sleep
};

struct cpu_statistics {
  unsigned workers = 0;               ///< as cpu_workers()
  std::size_t busy = 0;               ///< workers, and helpers in their place, that have a task
  std::size_t queued = 0;             ///< tasks that wait for a worker
  std::uint64_t served = 0;           ///< tasks a worker has begun with or gone on with, so far
  std::uint64_t expired = 0;          ///< not started, for cpu_options::start_by had passed
  std::uint64_t refused = 0;          ///< failed with `overloaded`
  bool refusing = false;              ///< by config.cpu_target, at this moment
  std::chrono::nanoseconds waited{};  ///< for a worker: of the last that was timed, without cpu_target one in 64
};

struct statistics {
  std::vector<loop_statistics> loops;
  unsigned cpu_workers = 0;
  std::size_t cpu_stacks = 0;
  cpu_statistics cpu;
};

/// Of the running runtime. Any thread; each number is of its own moment. Throws no_runtime.
statistics get_statistics();

}  // namespace weft
