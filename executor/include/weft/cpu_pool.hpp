#pragma once
// The pool behind spawn_cpu.

#include <cstddef>

namespace weft {

/// The workers the CPU pool was seen to have; less than config.cpu_workers when the system gave fewer.
/// Throws no_runtime.
unsigned cpu_workers();

namespace detail {

class task_core;
/// Hands a new record, a cpu_task, to the CPU pool. Throws no_runtime; then nothing was spawned.
void start_cpu_task(task_core& task);

}  // namespace detail
}  // namespace weft
