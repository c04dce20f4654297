#pragma once
// Reading what agents publish about themselves, without stopping them.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "weft/inspect.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

class runtime_core;

/// What an agent does now; id 0 when it runs no task. May mix two moments, but tears no field.
task_state read_agent(const agent& a, int loop) noexcept;
std::vector<task_state> all_tasks(runtime_core& runtime);
/// Of tasks that wait for another task (for its end, or for a mutex it holds): whom each waits for, by their ids.
using task_waits = std::unordered_map<std::uint64_t, std::uint64_t>;
task_waits waits_among_tasks(runtime_core& runtime);
/// The ids of tasks that wait for one another in a circle, a circle after the other; empty if there is none.
std::vector<std::uint64_t> find_circles(const task_waits& waits);
std::string describe(const task_state& task);

/// The stack of another thread of this process, a frame a line; empty if it did not answer in time.
std::string stack_of_thread(unsigned long thread);

}  // namespace weft::detail
