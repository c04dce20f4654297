#pragma once
// A stack and who runs on it: the control block at the top of a stack of a stack_pool.

#include <atomic>
#include <cstdint>

#include "fiber.hpp"
#include "stack_pool.hpp"
#include "weft/task.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

struct fiber_agent final : agent, fiber, cpu_entry {
  explicit fiber_agent(agent::kind k) noexcept : agent(k) {}

  runnable* assigned = nullptr;  ///< what it is to run next
  fiber_agent* next_idle = nullptr;
  stack area;
  std::uint32_t size = 0;  ///< of the stack, in bytes

  // CPU tasks only. Where to go back to, and the oneTBB context the task was entered in.
  fiber* worker = nullptr;
  const void* entered_in = nullptr;
  bool finished = false;
  // A waker may come before the task has left its stack. Model: tests/model/park_wake.pml.
  enum class parking : std::uint8_t { running, parked, woken };
  std::atomic<parking> park{parking::running};
};

static_assert(alignof(fiber_agent) <= 64);
static_assert(sizeof(agent) % 64 == 16,
              "target and target_task, its last, share a cache line with the fiber's registers");
/// Room for it at the top of each stack, the stack's alignment included.
inline constexpr std::size_t control_block = (sizeof(fiber_agent) + 63) / 64 * 64;

}  // namespace weft::detail
