#include "weft/inspect.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <ostream>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "inspect_core.hpp"
#include "runtime_core.hpp"
#include "weft/error.hpp"

namespace weft {

const char* to_string(wait_kind kind) noexcept {
  switch (kind) {
    case wait_kind::none:
      return "nothing";
    case wait_kind::future:
      return "future";
    case wait_kind::timer:
      return "timer";
    case wait_kind::readable:
      return "readable descriptor";
    case wait_kind::writable:
      return "writable descriptor";
    case wait_kind::io:
      return "IO";
    case wait_kind::lock:
      return "lock";
    case wait_kind::channel:
      return "channel";
    case wait_kind::turn:
      return "its turn";
    case wait_kind::other:
      return "something";
  }
  return "something";
}

namespace detail {

task_state read_agent(const agent& a, int loop) noexcept {
  task_state state;
  state.task.id = a.task_id.load(std::memory_order_acquire);
  if (state.task.id == 0) return state;
  state.task.parent = a.parent_id.load(std::memory_order_relaxed);
  // The bits of a std::source_location, which is one pointer to static data in libstdc++ and libc++.
  const void* site = a.site.load(std::memory_order_relaxed);
  static_assert(sizeof(std::source_location) == sizeof(site));
  std::memcpy(static_cast<void*>(&state.task.site), &site, sizeof(site));
  char name[sizeof(a.name) + 1] = {};
  for (std::size_t i = 0; i < sizeof(a.name); ++i) name[i] = a.name[i].load(std::memory_order_relaxed);
  state.task.name = name;
  state.where = a.what == agent::kind::fiber ? task_state::place::loop
                : a.what == agent::kind::cpu ? task_state::place::cpu
                                             : task_state::place::blocking;
  state.loop = loop;
  state.waits_for = a.waits_for.load(std::memory_order_acquire);
  state.target = a.target.load(std::memory_order_relaxed);
  state.target_task = a.target_task.load(std::memory_order_relaxed);
  if (state.waits_for == wait_kind::none) {
    state.target = nullptr;
    state.target_task = 0;
  }
  if (a.task_id.load(std::memory_order_acquire) != state.task.id) state.task.id = 0;  // it ended meanwhile
  return state;
}

std::vector<task_state> all_tasks(runtime_core& runtime) {
  struct found {
    std::vector<task_state> tasks;
    std::unordered_map<const void*, std::uint64_t> holders;
  } all;
  runtime.for_each_agent(
      [](agent& a, int loop, void* out) {
        task_state state = read_agent(a, loop);
        if (state.task.id == 0) return;
        auto& to = *static_cast<found*>(out);
        for (const auto& lock : a.held)
          if (const void* which = lock.load(std::memory_order_relaxed)) to.holders[which] = state.task.id;
        to.tasks.push_back(std::move(state));
      },
      &all);
  // Who waits for a mutex waits for the task that holds it.
  for (task_state& state : all.tasks)
    if (const auto it = all.holders.find(state.target); state.waits_for == wait_kind::lock && it != all.holders.end())
      state.target_task = it->second;
  return std::move(all.tasks);
}

// Goes by all tasks, which may be a million, while they run: so of most it reads two words.
task_waits waits_among_tasks(runtime_core& runtime) {
  struct found {
    task_waits waits;
    std::vector<std::pair<std::uint64_t, const void*>> for_locks;
    std::unordered_map<const void*, std::uint64_t> holders;
  } all;
  runtime.for_each_agent(
      [](agent& a, int, void* out) {
        auto& to = *static_cast<found*>(out);
        const auto id = a.task_id.load(std::memory_order_acquire);
        if (id == 0) return;
        for (const auto& lock : a.held)
          if (const void* which = lock.load(std::memory_order_relaxed)) to.holders[which] = id;
        const auto kind = a.waits_for.load(std::memory_order_acquire);
        if (kind == wait_kind::none) return;
        const auto task = a.target_task.load(std::memory_order_relaxed);
        const void* const target = a.target.load(std::memory_order_relaxed);
        if (a.task_id.load(std::memory_order_acquire) != id) return;  // it ended meanwhile
        if (task != 0)
          to.waits[id] = task;
        else if (kind == wait_kind::lock)
          to.for_locks.emplace_back(id, target);
      },
      &all);
  for (const auto& [id, lock] : all.for_locks)
    if (const auto it = all.holders.find(lock); it != all.holders.end()) all.waits[id] = it->second;
  return std::move(all.waits);
}

std::vector<std::uint64_t> find_circles(const task_waits& waits) {
  std::vector<std::uint64_t> circles;
  std::unordered_map<std::uint64_t, std::uint64_t> seen;  // task -> the walk that met it
  for (const auto& [start, unused] : waits) {
    std::uint64_t at = start;
    while (at != 0 && !seen.contains(at)) {
      seen[at] = start;
      const auto it = waits.find(at);
      at = it == waits.end() ? 0 : it->second;
    }
    if (at == 0 || seen[at] != start) continue;
    const auto first = at;
    do {
      circles.push_back(at);
      at = waits.at(at);
    } while (at != first);
  }
  return circles;
}

std::string describe(const task_state& state) {
  std::ostringstream out;
  out << "task " << to_string(state.task) << ": ";
  if (state.where == task_state::place::loop)
    out << "on loop " << state.loop;
  else
    out << (state.where == task_state::place::cpu ? "on the CPU pool" : "in a blocking call");
  if (state.waits_for == wait_kind::none) {
    out << ", runs or is ready";
  } else {
    out << ", waits for " << to_string(state.waits_for);
    if (state.target_task != 0)
      out << " of task #" << state.target_task;
    else if (state.target)
      out << ' ' << state.target;
  }
  return out.str();
}

}  // namespace detail

std::vector<task_state> inspect() {
  const detail::visit here;
  if (!here.with_pools()) throw no_runtime("inspect()");
  return detail::all_tasks(*here.runtime());
}

void dump_tasks(std::ostream& out) {
  for (const auto& task : inspect()) out << detail::describe(task) << '\n';
}

}  // namespace weft
