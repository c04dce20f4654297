#pragma once
// How the kernel shares the cores between the event loops and the threads of the CPU pool (notes/cpu_and_io.md).

#include <sys/types.h>

#include <cstdint>
#include <mutex>

#include "weft/config.hpp"

namespace weft::detail {

/// Gives the calling thread, one of the CPU pool, what `how` says; once. Where it may not be had the thread goes on as
/// it is.
void schedule_worker(cpu_scheduling how) noexcept;

/// Whether threads of this process can be real-time, the watchdog's before those of the loops; 0, or the errno that
/// says why not.
int may_be_realtime();

/// The calling thread is the watchdog's: it comes before real-time loops, to take that from one which does not wait.
void schedule_watchdog() noexcept;

/// How the thread of a loop is scheduled.
class loop_schedule {
 public:
  loop_schedule() = default;
  loop_schedule(const loop_schedule&) = delete;
  loop_schedule& operator=(const loop_schedule&) = delete;

  /// The calling thread is the loop's, until end(); then it is scheduled as before.
  void begin(cpu_scheduling workers, loop_scheduling how) noexcept;
  void end() noexcept;

  /// Any thread, between them and else: takes from a real-time loop that it is one, or gives it back.
  void trust(bool yes) noexcept;

 private:
  std::mutex mutex_;    // its thread does not end while another changes how it is scheduled
  pid_t realtime_ = 0;  // a real-time loop's thread, which alone writes it; else 0
  std::uint32_t policy_before_ = 0;
  bool shorter_ = false;            // its slice
  std::uint64_t slice_before_ = 0;  // ns; 0 for the kernel's own
};

}  // namespace weft::detail
