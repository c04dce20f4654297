#pragma once
// The inside of cancellation: which scope of an agent is in force.

#include "weft/cancel.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

/// Moves a wait from `word` (waiting) to `reason` and resumes the agent. False when it was decided before.
bool decide(agent& a, std::uint64_t word, wake_reason reason) noexcept;
/// The same by the agent itself, which goes on without being resumed.
bool decide_own(agent& a, std::uint64_t word, wake_reason reason) noexcept;
/// The deadline that the agent's task got from its parent, where it takes effect on the calling agent.
deadline inherited_deadline(agent& a) noexcept;
scope* cancelled_scope_slowly(agent& a) noexcept;
/// The outermost cancelled scope that takes effect on the calling agent now; null if there is none.
inline scope* cancelled_scope(agent& a) noexcept {
  if (a.what == agent::kind::fiber && !a.hint.load(std::memory_order_relaxed)) [[likely]]
    return nullptr;
  return cancelled_scope_slowly(a);
}
/// throw_if_cancelled(), at the price of one load when nothing was cancelled.
inline void throw_if_cancelled_now(agent& a) {
  if (cancelled_scope(a)) [[unlikely]]
    throw_if_cancelled(a);
}
/// The same as cancelled_scope() for a fiber that is parked with `uncaught` exceptions in flight; on its loop.
scope* cancelled_scope(agent& a, unsigned uncaught) noexcept;
/// What a wait off the loops that begins now is to say in agent::reach.
std::uint16_t outermost_depth(agent& a) noexcept;
/// `s`, a scope of an agent off the loops in its task `task_id`, has been marked: ends the agent's wait if it heeds s.
void wake_off_loop(agent& a, const scope& s, std::uint64_t task_id) noexcept;
/// The earliest deadline of the scopes that take effect on the calling agent.
deadline deadline_of_scopes(agent& a) noexcept;
/// After a wait that ended as cancelled.
[[noreturn]] void throw_cancelled(agent& a);

/// Parks an agent that is no fiber until its wait `word` is decided, if need be by the deadline.
void park_off_loop(agent& a, std::uint64_t word, deadline until);

}  // namespace weft::detail
