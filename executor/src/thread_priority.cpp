#include "thread_priority.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft::detail {
namespace {

// sched_setattr(2); glibc has neither the struct nor the call before 2.41.
struct attributes {
  std::uint32_t size = sizeof(attributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // ns. Of SCHED_OTHER and SCHED_BATCH the time slice, 0 for the kernel's (Linux 6.12)
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(attributes) == 48);

bool set(attributes a) noexcept { return ::syscall(SYS_sched_setattr, 0, &a, 0U) == 0; }
bool get(attributes& a, pid_t of = 0) noexcept {
  return ::syscall(SYS_sched_getattr, of, &a, sizeof(attributes), 0U) == 0;
}

constexpr std::uint64_t shortest_slice = 100'000;  // what the kernel takes at least
constexpr int lowest_niceness = 19;

// -1: nothing yet. A thread of oneTBB's outlives its runtime, and may meet another that wants something else.
thread_local int tl_scheduled = -1;

}  // namespace

void schedule_worker(cpu_scheduling how) noexcept {
  const int wanted = static_cast<int>(how);
  if (tl_scheduled == wanted) return;
  tl_scheduled = wanted;
  attributes a;
  if (!get(a) || (a.policy != SCHED_OTHER && a.policy != SCHED_BATCH && a.policy != SCHED_IDLE)) return;  // the user's
  if (how == cpu_scheduling::normal) {
    // It may have been made less for an earlier runtime, or by one that was. In vain, unless the process may raise it.
    attributes first;
    if (a.policy != SCHED_OTHER && get(first, ::getpid()) && first.policy == SCHED_OTHER) set({.nice = first.nice});
    return;
  }
  // The slice too: a thread that a loop has made has inherited the loop's.
  a = {.policy = static_cast<std::uint32_t>(how == cpu_scheduling::background ? SCHED_IDLE : SCHED_BATCH),
       .nice = how == cpu_scheduling::background ? a.nice : lowest_niceness};
  set(a);
}

// A loop that wakes takes the core from a thread with a longer slice at once; else it might wait for the next tick.
loop_schedule::loop_schedule(cpu_scheduling how) noexcept {
  if (how != cpu_scheduling::low) return;
  attributes a;
  if (!get(a) || a.policy != SCHED_OTHER) return;  // the user has chosen for this thread
  slice_before_ = a.runtime;
  a.flags = 0;
  a.runtime = 0;
  attributes plain;
  if (!set(a) || !get(plain)) return;
  if (plain.runtime == slice_before_) slice_before_ = 0;  // it was the kernel's own
  a.runtime = shortest_slice;
  changed_ = set(a);
}

loop_schedule::~loop_schedule() {
  attributes a;
  if (!changed_ || !get(a) || a.policy != SCHED_OTHER) return;
  a.flags = 0;
  a.runtime = slice_before_;
  set(a);
}

}  // namespace weft::detail
