#include "weft/wait.hpp"

#include <algorithm>

#include "cancellation.hpp"

namespace weft::detail {

namespace {

std::optional<std::size_t> first_ready(std::span<const any_input> inputs) noexcept {
  const auto at = std::find_if(inputs.begin(), inputs.end(), [](const any_input& in) { return in.what->ready(); });
  return at == inputs.end() ? std::nullopt : std::optional(static_cast<std::size_t>(at - inputs.begin()));
}

// The frame may go only when no list holds a place on it.
void leave_all(std::span<any_input> inputs) noexcept {
  for (any_input& in : inputs)
    if (in.place && !in.place->fired()) in.place->leave(*in.what);
}

}  // namespace

std::optional<std::size_t> wait_any(std::span<any_input> inputs, deadline until) {
  agent& who = checkpoint_of_caller();
  if (const auto ready = first_ready(inputs)) return ready;
  waiter w(who, wait_kind::future, inputs.front().what, inputs.front().what->producer_id());
  bool decided = false;
  for (any_input& in : inputs) {
    in.place.emplace(who, w.handle(), true);
    if (in.place->link(*in.what)) continue;
    in.place.reset();
    // One has become ready meanwhile. Whoever has claimed the wait before us will resume us, so then we must park.
    decided = w.handle().claim();
    break;
  }
  wake_reason how = wake_reason::woken;
  if (!decided) {
    try {
      how = w.suspend(until);
    } catch (...) {
      leave_all(inputs);
      throw;
    }
  }
  leave_all(inputs);
  if (how == wake_reason::cancelled) throw_cancelled(waiting_agent());
  return first_ready(inputs);
}

}  // namespace weft::detail
