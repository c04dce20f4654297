#pragma once
// How the kernel shares the cores between the event loops and the threads of the CPU pool (notes/cpu_and_io.md).

#include <cstdint>

#include "weft/config.hpp"

namespace weft::detail {

/// Gives the calling thread, one of the CPU pool, what `how` says; once. Where it may not be had the thread goes on as
/// it is.
void schedule_worker(cpu_scheduling how) noexcept;

/// The calling thread is a loop's until this ends; then it is scheduled as before.
class loop_schedule {
 public:
  explicit loop_schedule(cpu_scheduling how) noexcept;
  ~loop_schedule();
  loop_schedule(const loop_schedule&) = delete;
  loop_schedule& operator=(const loop_schedule&) = delete;

 private:
  bool changed_ = false;
  std::uint64_t slice_before_ = 0;  // ns; 0 for the kernel's own
};

}  // namespace weft::detail
