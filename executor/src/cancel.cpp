#include "weft/cancel.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

#include "cancellation.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "weft/task.hpp"

namespace weft {
namespace detail {

namespace {

// Ids of scopes that are blocks; tasks' ids, made by loops, have a nonzero low byte.
std::uint64_t next_scope_id() noexcept {
  thread_local std::uint64_t next = 0;
  static std::atomic<std::uint64_t> blocks{1};
  if (next % 1024 == 0) next = blocks.fetch_add(1, std::memory_order_relaxed) * 1024;
  return next++ << 8;
}

bool is_fiber(const agent& a) noexcept { return a.what == agent::kind::fiber; }

unsigned uncaught_here() noexcept { return static_cast<unsigned>(std::uncaught_exceptions()); }

}  // namespace

void scope::enter(agent& who, deadline until, bool shield) {
  if (who.what == agent::kind::body && !who.innermost)
    throw wait_in_algorithm(
        "timeout(), shield() or cancel_scope inside the body of a oneTBB algorithm, which has no scope of its own; "
        "give the algorithm weft::bind(body), or put it around the algorithm, or around a spawn_cpu in the body");
  id_ = next_scope_id();
  owner_ = &who;
  outer_ = who.innermost;
  depth_ = outer_ ? static_cast<std::uint16_t>(outer_->depth_ + 1) : std::uint16_t{0};
  until_ = until;
  if (!shield && outer_) until_ = std::min(until_, outer_->until_);
  if (shield) kind_ = kind::shield;
  uncaught_ = static_cast<std::uint16_t>(is_fiber(who) ? who.home->uncaught() : uncaught_here());
  who.innermost = this;
  if (shield) ++who.shields;
}

void scope::mirror(agent& who, deadline until, scope_control* control) noexcept {
  owner_ = &who;
  until_ = until;
  kind_ = kind::mirror;
  uncaught_ = static_cast<std::uint16_t>(std::uncaught_exceptions());
  control_.store(control, std::memory_order_relaxed);
}

void scope::leave() noexcept {
  scope** at = &owner_->innermost;
  while (*at != this) at = &(*at)->outer_;
  *at = outer_;
  if (is_shield()) --owner_->shields;
  if (requested()) {
    bool still = owner_->watch != nullptr;
    for (const scope* s = owner_->innermost; s; s = s->outer_) still |= s->requested();
    owner_->hint.store(still, std::memory_order_relaxed);
  }
  if (children) task_core::pass_on(*this, outer_ ? *outer_ : owner_->home->root);
  if (scope_control* const c = control()) {
    c->leave();
    c->release();
  }
}

bool scope::mark(cancel_reason reason, std::uint64_t by) noexcept {
  if (requested()) return false;
  by_.store(by, std::memory_order_relaxed);
  std::uint8_t nobody = 0;
  if (!asked_.compare_exchange_strong(nobody, static_cast<std::uint8_t>(1 + static_cast<int>(reason)),
                                      std::memory_order_seq_cst))
    return false;
  // Dekker with control_of(): the scope is marked before `control_` is read.
  if (scope_control* const c = control_.load(std::memory_order_seq_cst); c && kind_ != kind::mirror) [[unlikely]]
    c->cancel(reason, by);
  return true;
}

void scope::look() noexcept {
  const scope_control* const c = control();
  if (c) c->mark(*this);
  if (kind_ != kind::mirror && until_.passed()) mark(cancel_reason::deadline, 0);
}

// The tree below may be deep, so it is walked with a list of its own, not by recursion, and since it must not fail that
// goes through the records: a task that has started is in no queue until it ends. (One that has not has no children.)
void scope::cancel_here(cancel_reason reason, std::uint64_t by) noexcept {
  if (mark(reason, by)) pass_on_cancel(reason, by);
}

void scope::pass_on_cancel(cancel_reason reason, std::uint64_t by) noexcept {
  runnable* marked = nullptr;
  for (scope* at = this;;) {
    scope& s = *at;
    scope* from = &s;  // the innermost scope of its owner that no shield protects from s
    if (agent* owner = s.owner_) {
      owner->hint.store(true, std::memory_order_relaxed);
      auto& f = static_cast<fiber_agent&>(*owner);
      const auto word = f.word.load(std::memory_order_relaxed);
      // If the owner is the caller itself, it sees the mark at its next wait.
      if (owner != tl_agent && (word & agent::state_mask) == agent::waiting &&
          f.cancellable.load(std::memory_order_relaxed) && cancelled_scope(f, f.uncaught()))
        decide(f, word, wake_reason::cancelled);
      from = owner->innermost;
      for (scope* inner = owner->innermost; inner && inner != &s; inner = inner->outer_)
        if (inner->is_shield()) from = inner->outer_;
    }
    for (scope* inner = from; inner; inner = inner == &s ? nullptr : inner->outer_)
      for (task_core* child = inner->children; child; child = child->next_sibling_)
        if (child->cancel_unless_here(reason, by) && child->own.mark(reason, by) && child->own.owner_)
          child->next = std::exchange(marked, child);
    if (!marked) return;
    auto& next = static_cast<task_core&>(*marked);
    marked = next.next;
    at = &next.own;
  }
}

void scope::catch_up() noexcept {
  if (requested()) return;
  look();
  if (requested()) pass_on_cancel(reason(), by());
}

// A fiber is told, by a timer or a message. Others may have seen the same before: a deadline of both, a cancel_scope.
void catch_up_with_scopes(agent& a) noexcept {
  if (!is_fiber(a)) return;
  for (scope* s = a.innermost; s; s = s->is_shield() ? nullptr : s->outer()) s->catch_up();
}

scope* cancelled_scope(agent& a, unsigned uncaught) noexcept {
  scope* found = nullptr;
  for (scope* s = a.innermost; s; s = s->outer()) {
    if (uncaught > s->uncaught()) break;  // it was entered before the exception, and so were those around it
    if (!is_fiber(a)) s->look();
    if (s->requested()) found = s;
    if (s->is_shield()) break;
  }
  return found;
}

scope* cancelled_scope_slowly(agent& a) noexcept {
  return cancelled_scope(a, static_cast<unsigned>(std::uncaught_exceptions()));
}

std::uint16_t outermost_depth(agent& a) noexcept {
  const auto uncaught = static_cast<unsigned>(std::uncaught_exceptions());
  std::uint16_t depth = 0xffff;
  for (const scope* s = a.innermost; s && uncaught <= s->uncaught(); s = s->is_shield() ? nullptr : s->outer())
    depth = s->depth();
  return depth;
}

// The agent may have gone on to another task, whose waits have other numbers: the word is read before the id.
void wake_off_loop(agent& a, const scope& s, std::uint64_t task_id) noexcept {
  a.hint.store(true, std::memory_order_relaxed);
  const auto word = a.word.load(std::memory_order_seq_cst);
  if ((word & agent::state_mask) != agent::waiting || !a.cancellable.load(std::memory_order_seq_cst)) return;
  if (a.task_id.load(std::memory_order_acquire) != task_id) return;
  // A fiber off the loops is one of a simulation.
  const bool heeds = is_fiber(a) ? cancelled_scope(a, static_cast<fiber_agent&>(a).uncaught()) != nullptr
                                 : s.depth() >= a.reach.load(std::memory_order_relaxed);
  if (heeds) decide(a, word, wake_reason::cancelled);
}

[[gnu::cold]] scope* cancelled_before_parking(agent& a) noexcept {
  if (a.watch) a.watch->reached(a, true);
  return cancelled_scope_slowly(a);
}

deadline deadline_of_scopes(agent& a) noexcept {
  const auto uncaught = static_cast<unsigned>(std::uncaught_exceptions());
  const scope* s = a.innermost;
  if (!s || uncaught > s->uncaught()) return deadline::never();
  deadline until = s->until();
  // With no loop to keep the deadlines of its cancel_scopes, the agent does.
  for (const bool kept = keeper_for(a); s && !kept && uncaught <= s->uncaught();
       s = s->is_shield() ? nullptr : s->outer())
    if (s->control()) until = std::min(until, s->control()->until());
  return until;
}

scope_control* control_in_force(agent& a) noexcept {
  const auto uncaught = static_cast<unsigned>(std::uncaught_exceptions());
  for (const scope* s = a.innermost; s && uncaught <= s->uncaught(); s = s->is_shield() ? nullptr : s->outer())
    if (s->control()) return s->control();
  return nullptr;
}

deadline inherited_deadline(agent& a) noexcept {
  const deadline until = a.task->own.until();
  if (until.is_never() || a.shields > 0 || std::uncaught_exceptions() > 0) return deadline::never();
  return until;
}

// In line: each frame that an exception passes is looked up twice.
[[noreturn, gnu::always_inline]] inline void throw_scope(agent& a, scope& s) {
  if (s.thrown > 0) take_turns();  // whoever catches it and waits again must not take the loop away
  if (s.thrown < 1000 && ++s.thrown == 1000)
    std::fprintf(stderr,
                 "weft: task #%llu has been told 1000 times that it is cancelled and goes on; "
                 "a catch (...) around a wait must rethrow weft::cancelled\n",
                 static_cast<unsigned long long>(a.task_id.load(std::memory_order_relaxed)));
  throw cancelled(s.reason(), s.id(), s.by());
}

void throw_if_cancelled(agent& a) {
  if (a.watch) a.watch->reached(a, false);
  if (scope* s = cancelled_scope(a)) throw_scope(a, *s);
}

void throw_cancelled(agent& a) {
  if (scope* s = cancelled_scope(a)) throw_scope(a, *s);
  throw cancelled(cancel_reason::user, 0, 0);
}

// --- blocks ---

timed_scope::timed_scope(deadline until) {
  agent& a = waiting_agent();
  scope_.enter(a, until, false);
  if (!is_fiber(a)) return;  // its waits look at the deadline themselves
  if (until.is_never()) return;
  alarm_.what = &scope_;
  alarm_.expired = &expired;
  armed_on_ = a.home;
  try {
    armed_on_->arm(alarm_, until.when());
  } catch (...) {
    scope_.leave();
    throw;
  }
}

timed_scope::~timed_scope() {
  if (armed_on_) armed_on_->disarm(alarm_);
  scope_.leave();
}

void timed_scope::expired(timer& t) noexcept { static_cast<alarm&>(t).what->cancel_here(cancel_reason::deadline, 0); }

shield_scope::shield_scope() { scope_.enter(waiting_agent(), deadline::never(), true); }
shield_scope::~shield_scope() { scope_.leave(); }

}  // namespace detail

void check_cancelled() {
  if (detail::agent* a = detail::current_agent()) detail::throw_if_cancelled(*a);
}

bool cancel_requested() noexcept {
  detail::agent* a = detail::current_agent();
  return a && detail::cancelled_scope(*a);
}

deadline current_deadline() noexcept {
  detail::agent* a = detail::current_agent();
  if (!a || !a->innermost) return deadline::never();
  deadline until = a->innermost->until();
  for (const detail::scope* s = a->innermost; s; s = s->is_shield() ? nullptr : s->outer())
    if (s->control()) until = std::min(until, s->control()->earliest());
  return until;
}

}  // namespace weft
