#pragma once
// What a program can choose about a runtime, and what a runtime tells a program about a task.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <source_location>
#include <string>

namespace weft {

/// Who a task is: enough to find the line that spawned it.
struct task_info {
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  ///< the id of the task that spawned it; 0 for none
  std::string name;          ///< as given in task_options; empty when none was given
  std::source_location site;
};

/// `"name" (#id), spawned at file:line`, as every report of weft puts it.
std::string to_string(const task_info& task);

/// A task that kept its loop from the others for too long.
struct stall_info {
  task_info task;
  unsigned loop = 0;
  std::chrono::nanoseconds lasted{};  ///< how long it had run without a wait when it was seen
  std::string where;                  ///< the stack of the loop's thread at that moment, a frame a line
};

/// The cores this process may really use: the affinity mask, cut to the cgroup's CPU quota. At least 1.
unsigned usable_cores() noexcept;

/// How the kernel shares the cores between the event loops and the CPU pool (executor/notes/cpu_and_io.md). Needs no
/// privilege; but a thread without one is never raised again, so oneTBB's threads, which it keeps for the process, stay
/// what they became. Threads and child processes that a CPU task makes inherit it.
enum class cpu_scheduling : std::uint8_t {
  background,  ///< SCHED_IDLE: CPU tasks have what the loops, and other programs of the same cgroup, leave
  low,         ///< SCHED_BATCH at niceness 19: at least a hundredth of a core against each busy thread. Loops ask for
               ///< short time slices
  normal       ///< as any thread
};

/// How the kernel schedules the threads of the event loops.
enum class loop_scheduling : std::uint8_t {
  normal,   ///< as the thread that calls run(), or makes the runtime
  realtime  ///< SCHED_FIFO, priority 1: before any thread that is not real-time, at once. For servers that keep the
            ///< cores full of CPU tasks. Needs CAP_SYS_NICE, or an RLIMIT_RTPRIO of 2; where it may not be had the
            ///< loops are normal, and a line on stderr says why. A task that runs for 10 ms without a wait makes its
            ///< loop normal until it waits, so that one that computes cannot take the machine away; that is
            ///< mostly seen within 20 ms. Threads and child processes that a loop makes are not real-time, and of
            ///< niceness 0. Where the thread is real-time already, by the program's own choice, it is left as it is.
};

/// The choices of a runtime. An aggregate: the order of its fields is API.
/// A count of zero, or a stack below `min_stack_size`, makes `runtime` throw std::invalid_argument.
struct config {
  unsigned loops = usable_cores();           ///< event loops; the thread that calls run() is loop 0
  unsigned cpu_workers = usable_cores();     ///< oneTBB workers for spawn_cpu
  unsigned blocking_threads = 64;            ///< the most threads spawn_blocking may use at once
  std::size_t stack_size = 256 * 1024;       ///< bytes a fiber; rounded up to whole pages
  std::size_t cpu_stack_size = 1024 * 1024;  ///< bytes a CPU task
  std::size_t max_stacks = 4'000'000;        ///< fibers that may have a stack at once, per loop

  /// Called once for each task that failed and whose error nobody took. Default: a line on stderr.
  std::function<void(const task_info&, std::exception_ptr)> on_unhandled = {};

  /// A task that runs this long without a wait is reported once; zero switches the watch off.
  std::chrono::nanoseconds stall_after = std::chrono::milliseconds(100);
  std::function<void(const stall_info&)> on_stall = {};  ///< default: stderr

  /// Called with a printable report when tasks wait for one another in a circle. Default: stderr.
  std::function<void(const std::string&)> on_deadlock = {};

  /// Catch a stack overflow on an alternate stack and name the task before dying of it.
  bool report_stack_overflow = true;

  /// How long a thread of the blocking pool stays when it has nothing to do.
  std::chrono::nanoseconds blocking_idle = std::chrono::seconds(10);

  /// How long the end of the runtime waits for abandonable calls that were cancelled and still run. Then it leaves them
  /// behind, with a line on stderr each.
  std::chrono::nanoseconds abandon_grace = std::chrono::seconds(1);

  /// Who has a core when loops and CPU tasks want it.
  cpu_scheduling cpu_threads = cpu_scheduling::background;

  /// The most CPU tasks that may wait for a worker; a new one beyond fails with `overloaded`. (Those that go on after a
  /// wait of their own are counted, but always come in.)
  std::size_t cpu_queue = 1'000'000;

  /// When for 100 ms every CPU task has waited this long for a worker, new ones fail with `overloaded` until one waits
  /// less or none waits; those of cpu_priority::high come in. Zero, the default, lets all in: only the program knows
  /// how long its clients wait, and a batch job has none.
  std::chrono::nanoseconds cpu_target = std::chrono::nanoseconds(0);

  /// Whether the event loops come before all else that wants a core.
  loop_scheduling loop_threads = loop_scheduling::normal;
};

}  // namespace weft
