#pragma once
// The threads behind spawn_blocking: as many as there are calls, up to config.blocking_threads; idle ones end.

namespace weft::detail {

class task_core;
/// Hands a new record to the blocking pool. Throws no_runtime; then nothing was spawned.
void start_blocking_task(task_core& task);

}  // namespace weft::detail
