#pragma once
// What is this process waiting for? All tasks that have started, with what each waits for, read without stopping them.

#include <cstdint>
#include <iosfwd>
#include <vector>

#include "weft/config.hpp"
#include "weft/waiter.hpp"

namespace weft {

/// One task that has started and not ended.
struct task_state {
  enum class place : std::uint8_t { loop, cpu, blocking };

  task_info task;
  place where = place::loop;
  int loop = -1;                          ///< the loop's index; -1 off the loops
  wait_kind waits_for = wait_kind::none;  ///< none: it runs, or is ready to
  const void* target = nullptr;           ///< the address of what it waits for
  std::uint64_t target_task = 0;          ///< the id of the task it waits for, if that is one
};

/// Every task that has started, of the running runtime. A task that moves on meanwhile may be shown as it was.
/// Tasks that have not started have no stack yet and are not listed.
///
/// Suspends: never.
/// Cancel:   not a cancellation point.
/// Threads:  any.
/// Ordering: none.
/// Throws:   no_runtime; std::bad_alloc.
std::vector<task_state> inspect();

/// Prints inspect(), a task a line.
void dump_tasks(std::ostream& out);

}  // namespace weft
