#include "weft/context_var.hpp"

#include <algorithm>
#include <stdexcept>

#include "scheduler.hpp"
#include "weft/task.hpp"

namespace weft::detail {

std::uint64_t next_variable() noexcept {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

namespace {

struct thread_values {
  context_values* values = nullptr;
  ~thread_values() {
    if (values) values->drop();
  }
};
thread_local thread_values tl_values;

[[gnu::noinline]] bool on_cpu_thread() noexcept {
  asm volatile("");
  return tl_cpu_thread;
}

}  // namespace

// A task's values are in its record, a bound body's on its frame, a thread's with the thread.
[[gnu::noinline]] context_values** values_of_caller() noexcept {
  agent* const a = current_agent();
  if (a && a->bound_values) return a->bound_values;
  if (a && a->task) return a->task->values();
  return current_loop() || on_cpu_thread() ? nullptr : &tl_values.values;
}

std::shared_ptr<const void> find_value(std::uint64_t variable) noexcept {
  context_values** const mine = values_of_caller();
  if (mine && *mine)
    for (const auto& e : (*mine)->entries)
      if (e.variable == variable) return e.value;
  return nullptr;
}

std::shared_ptr<const void> exchange_value(std::uint64_t variable, std::shared_ptr<const void> value) {
  context_values** const mine = values_of_caller();
  if (!mine)
    throw std::logic_error(
        "context_var set where no task runs: on an event loop's own stack (a handler of Asio, a callback of the "
        "runtime), or in a oneTBB body that is not bound; spawn() a task and set it there, or weft::bind() the body");
  if (!*mine || (*mine)->holders.load(std::memory_order_acquire) > 1) {
    auto copy = std::make_unique<context_values>();
    copy->entries.reserve((*mine ? (*mine)->entries.size() : 0) + 1);
    if (*mine) {
      copy->entries = (*mine)->entries;
      (*mine)->drop();
    }
    *mine = copy.release();
  }
  auto& entries = (*mine)->entries;
  const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.variable == variable; });
  if (at == entries.end()) {
    if (value) entries.push_back({variable, std::move(value)});
    return nullptr;
  }
  auto earlier = std::exchange(at->value, std::move(value));
  if (!at->value) entries.erase(at);
  return earlier;
}

}  // namespace weft::detail
