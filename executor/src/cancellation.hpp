#pragma once
// The inside of cancellation: which scope of an agent is in force.

#include "weft/cancel.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

/// Told of each point where its agent may be cancelled, for testing::cancel_everywhere. An agent that has one keeps its
/// `hint` set, so nobody else pays for the question.
class cancel_watch {
 public:
  /// At a checkpoint, or (`parks`) when a wait is about to park. May cancel the agent's task, which then takes effect
  /// here.
  virtual void reached(agent& a, bool parks) noexcept = 0;

 protected:
  ~cancel_watch() = default;
};

/// Moves a wait from `word` (waiting) to `reason` and resumes the agent. False when it was decided before.
bool decide(agent& a, std::uint64_t word, wake_reason reason) noexcept;
/// The same by the agent itself, which goes on without being resumed.
bool decide_own(agent& a, std::uint64_t word, wake_reason reason) noexcept;
/// The deadline that the agent's task got from its parent, where it takes effect on the calling agent.
deadline inherited_deadline(agent& a) noexcept;
/// False when no scope of the calling agent was cancelled, at the price of one load.
inline bool may_be_cancelled(const agent& a) noexcept {
  return a.what != agent::kind::fiber || a.hint.load(std::memory_order_relaxed);
}
scope* cancelled_scope_slowly(agent& a) noexcept;
/// The outermost cancelled scope that takes effect on the calling agent now; null if there is none.
inline scope* cancelled_scope(agent& a) noexcept {
  if (!may_be_cancelled(a)) [[likely]]
    return nullptr;
  return cancelled_scope_slowly(a);
}
/// throw_if_cancelled(), at the price of one load when nothing was cancelled.
inline void throw_if_cancelled_now(agent& a) {
  if (may_be_cancelled(a)) [[unlikely]]
    throw_if_cancelled(a);
}
/// cancelled_scope() for a wait of the caller's that was announced and is about to park.
scope* cancelled_before_parking(agent& a) noexcept;
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
