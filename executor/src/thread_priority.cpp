#include "thread_priority.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

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

bool set(attributes a, pid_t of = 0) noexcept { return ::syscall(SYS_sched_setattr, of, &a, 0U) == 0; }
bool get(attributes& a, pid_t of = 0) noexcept {
  return ::syscall(SYS_sched_getattr, of, &a, sizeof(attributes), 0U) == 0;
}

constexpr std::uint64_t shortest_slice = 100'000;  // what the kernel takes at least
constexpr int lowest_niceness = 19;

// What a real-time thread makes must not be real-time: the CPU pool's threads above all. Only a privileged thread may
// take that back.
constexpr std::uint64_t reset_on_fork = 1;  // SCHED_FLAG_RESET_ON_FORK

constexpr attributes realtime(std::uint32_t priority) noexcept {
  return {.policy = SCHED_FIFO, .flags = reset_on_fork, .priority = priority};
}
// At the niceness that it would have now: without privilege it cannot be lower.
attributes normal_again(std::uint32_t policy, pid_t thread) noexcept {
  return {.policy = policy, .flags = reset_on_fork, .nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(thread))};
}
constexpr std::uint32_t of_loops = 1;
constexpr std::uint32_t of_watchdog = 2;

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

int may_be_realtime() {
  int why_not = 0;
  std::thread([&why_not] {
    if (!set(realtime(of_watchdog))) why_not = errno;
  }).join();
  return why_not;
}

void schedule_watchdog() noexcept { set(realtime(of_watchdog)); }

// A loop that wakes takes the core from a thread with a longer slice at once; else it might wait for the next tick.
void loop_schedule::begin(cpu_scheduling workers, loop_scheduling how) noexcept {
  attributes a;
  if (!get(a) || (a.policy != SCHED_OTHER && a.policy != SCHED_BATCH)) return;  // the user has chosen for this thread
  policy_before_ = a.policy;
  if (how == loop_scheduling::realtime) {
    const std::lock_guard lock(mutex_);
    if (set(realtime(of_loops))) realtime_ = ::gettid();
    return;
  }
  if (workers != cpu_scheduling::low || a.policy != SCHED_OTHER) return;
  slice_before_ = a.runtime;
  a.flags = 0;
  a.runtime = 0;
  attributes plain;
  if (!set(a) || !get(plain)) return;
  if (plain.runtime == slice_before_) slice_before_ = 0;  // it was the kernel's own
  a.runtime = shortest_slice;
  shorter_ = set(a);
}

void loop_schedule::end() noexcept {
  if (realtime_ != 0) {
    const std::lock_guard lock(mutex_);
    attributes plain = normal_again(policy_before_, std::exchange(realtime_, 0));
    plain.flags = 0;
    if (set(plain)) return;
    plain.flags = reset_on_fork;
    set(plain);
    return;
  }
  attributes a;
  if (!std::exchange(shorter_, false) || !get(a) || a.policy != SCHED_OTHER) return;
  a.flags = 0;
  a.runtime = slice_before_;
  set(a);
}

void loop_schedule::trust(bool yes) noexcept {
  const std::lock_guard lock(mutex_);
  if (realtime_ != 0) set(yes ? realtime(of_loops) : normal_again(policy_before_, realtime_), realtime_);
}

}  // namespace weft::detail
