#pragma once
// The inside of cancellation: which scope of an agent is in force.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/rarely.hpp"
#include "weft/runnable.hpp"
#include "weft/timer.hpp"
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
  if (rarely(may_be_cancelled(a))) throw_if_cancelled(a);
}
/// True for a fiber that nobody has asked to end. Null is none.
inline bool is_uncancelled_fiber(const agent* a) noexcept {
  return !rarely(!a) && !rarely(a->what != agent::kind::fiber) && !rarely(a->hint.load(std::memory_order_relaxed));
}
/// The whole of a checkpoint, for most: true when `a`, who runs here, is a fiber and may go on.
inline bool passes_checkpoint(agent* a) noexcept { return is_uncancelled_fiber(a) && !rarely(++a->turn >= 128); }
/// A checkpoint for the others.
agent& checkpoint_slowly();
/// cancelled_scope() for a wait of the caller's that was announced and is about to park.
scope* cancelled_before_parking(agent& a) noexcept;
/// The same as cancelled_scope() for a fiber that is parked with `uncaught` exceptions in flight; on its loop.
scope* cancelled_scope(agent& a, unsigned uncaught) noexcept;
/// Has the calling agent know of each of its scopes that is cancelled by now, though it was not told yet.
void catch_up_with_scopes(agent& a) noexcept;
/// What a wait off the loops that begins now is to say in agent::reach.
std::uint16_t outermost_depth(agent& a) noexcept;
/// `s`, a scope of an agent off the loops in its task `task_id`, has been marked: ends the agent's wait if it heeds s.
void wake_off_loop(agent& a, const scope& s, std::uint64_t task_id) noexcept;
/// The earliest deadline of the scopes that take effect on the calling agent.
deadline deadline_of_scopes(agent& a) noexcept;
/// After a wait that ended as cancelled.
[[noreturn]] void throw_cancelled(agent& a);

/// What others may hold of a scope, for as long as they like: cancel_scope, std::stop_token, a bound body. Counted.
///
/// A cancellation from anywhere marks the control. The scope itself, on its owner's frame, hears of it from its owner:
///   a fiber          by message to its loop (the `keeper`), which marks the scope and wakes whom that concerns;
///   any other agent  by looking, at its waits and in check_cancelled(); while it waits, a stop callback wakes it.
/// The keeper (for others than fibers the loop that their task came from) has a timer for the deadline.
///
/// Who may touch what:
///   asked_, until_, source_, incoming_   any thread.
///   keeper_            written by the owner: set from enter() to leave(). That the owner's task has not ended keeps
///                      the runtime; so who posts raises in_flight before reading keeper_.
///   told_              set by any thread before it posts the control to the keeper.
///   posted_            true while the control is in the keeper's inbox.
///   inside_, alarm_    the keeper.
///   the rest           written by the owner before others can have it.
class scope_control final : public message {
 public:
  scope_control(deadline until, bool shield)  // throws std::bad_alloc
      : until_(until.when().time_since_epoch().count()), shield_(shield) {
    alarm_.back = this;
    alarm_.expired = &expired;
  }
  void hold() noexcept { holders_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // --- any thread ---

  void cancel(cancel_reason reason, std::uint64_t by) noexcept;
  void cancel_on(std::stop_token stop);
  void reschedule(deadline until) noexcept;
  [[nodiscard]] bool asked() const noexcept { return asked_.load(std::memory_order_acquire) != 0; }
  [[nodiscard]] deadline until() const noexcept {
    return clock::time_point(clock::duration(until_.load(std::memory_order_relaxed)));
  }
  [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }
  [[nodiscard]] bool shield() const noexcept { return shield_; }
  /// True when it was asked, or will be: while it is not left, its deadline counts.
  [[nodiscard]] bool called() const noexcept {
    return asked() || (!left_.load(std::memory_order_relaxed) && until().passed());
  }
  /// The outermost of it and those around it that was cancelled; null if none was.
  [[nodiscard]] const scope_control* cancelled() const noexcept;
  /// Why that was, and who asked. Once its token is stopped.
  [[nodiscard]] std::pair<cancel_reason, std::uint64_t> why() const noexcept;
  /// The earliest deadline of it and those around it.
  [[nodiscard]] deadline earliest() const noexcept;
  /// Marks a scope that it is the control of, if it was cancelled or its deadline has passed.
  void mark(scope& s) const noexcept;

  // --- the owner ---

  /// True for the first.
  [[nodiscard]] bool begin() noexcept { return !begun_.exchange(true, std::memory_order_relaxed); }
  /// Becomes the control of the scope that `who` has entered. A fiber's loop cancels the scope, if it `tells` it.
  void enter(scope& s, agent& who, bool tells) noexcept;
  void leave() noexcept;
  /// Is stopped with `outer` from now on.
  void link(scope_control& outer);
  [[nodiscard]] bool linked() const noexcept { return outer_ != nullptr; }
  std::shared_ptr<void> cpu_context;  ///< weft::cpu_context() in this scope

 private:
  friend scope_control& control_of(scope& s, agent& who);

  struct stopper {
    scope_control* what;
    void operator()() const noexcept { what->stop(); }
  };
  struct canceller {
    scope_control* what;
    void operator()() const noexcept;
  };
  struct source {
    source(std::stop_token stop, canceller what, source* after) : next(after), callback(std::move(stop), what) {}
    source* next;
    std::stop_callback<canceller> callback;
  };
  struct node : timer {
    scope_control* back = nullptr;
  };

  ~scope_control();
  static void expired(timer& t) noexcept;
  void run() noexcept override;
  void stop() noexcept;
  void poke() noexcept;
  void post_to(loop_core& keeper) noexcept;
  void tend() noexcept;

  std::atomic<std::uint32_t> holders_{1};
  std::atomic<bool> begun_{false};
  std::atomic<bool> left_{false};
  std::atomic<bool> posted_{false};
  std::atomic<bool> told_{false};
  std::atomic<std::uint64_t> asked_{0};  // 0, or who asked and why
  std::atomic<clock::rep> until_;
  std::atomic<loop_core*> keeper_{nullptr};
  const bool shield_;
  std::uint64_t id_ = 0;
  deadline inherited_;  // what the scope had when it was entered
  scope* inside_ = nullptr;
  node alarm_;
  std::stop_source source_;
  std::atomic<source*> incoming_{nullptr};
  scope_control* outer_ = nullptr;
  std::optional<std::stop_callback<stopper>> link_;  // behind source_, which it uses
};

/// The loop that keeps the deadlines of an agent's controls; null for a thread that no loop outlives.
loop_core* keeper_for(const agent& who) noexcept;
/// The control of a scope of the calling agent, linked with those around it up to a shield; made when there is none.
scope_control& control_of(scope& s, agent& who);

/// The innermost control there is among the scopes that take effect on the calling agent; null if there is none.
scope_control* control_in_force(agent& a) noexcept;

/// Parks an agent that is no fiber until its wait `word` is decided, if need be by the deadline.
void park_off_loop(agent& a, std::uint64_t word, deadline until);

}  // namespace weft::detail
