#include "weft/cancel_scope.hpp"

#include <algorithm>
#include <stdexcept>

#include "cancellation.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "weft/task.hpp"

namespace weft {
namespace detail {

namespace {

constexpr std::uint64_t packed(cancel_reason reason, std::uint64_t by) noexcept {
  return by << 3 | (static_cast<std::uint64_t>(reason) + 1);
}

}  // namespace

loop_core* keeper_for(const agent& who) noexcept {
  if (who.what == agent::kind::fiber) return who.home;
  return who.task && who.task->what() != task_core::flavour::abandonable ? who.task->origin : nullptr;
}

scope_control::~scope_control() {
  link_.reset();
  for (source* s = incoming_.load(std::memory_order_acquire); s;) delete std::exchange(s, s->next);
  if (outer_) outer_->release();
}

// --- any thread ---

void scope_control::cancel(cancel_reason reason, std::uint64_t by) noexcept {
  std::uint64_t nobody = 0;
  if (!asked_.compare_exchange_strong(nobody, packed(reason, by), std::memory_order_seq_cst)) return;
  if (left_.load(std::memory_order_relaxed)) return;  // what was spawned in it belongs to the scopes around it
  hold();
  stop();
  poke();
  release();
}

// A stop callback is the program's code: on a loop it must find nothing that it could suspend, for the loop may be in
// the middle of its lists.
void scope_control::stop() noexcept {
  std::stop_source keep = source_;  // a callback may drop the last handle
  if (!current_loop()) {
    keep.request_stop();
    return;
  }
  agent* const me = current_agent();
  set_current_agent(nullptr);
  keep.request_stop();
  set_current_agent(me);
}

// While it runs the control stays, for its destructor waits for that; but it may have no holder any more.
void scope_control::canceller::operator()() const noexcept {
  auto holders = what->holders_.load(std::memory_order_relaxed);
  do {
    if (holders == 0) return;
  } while (!what->holders_.compare_exchange_weak(holders, holders + 1, std::memory_order_relaxed));
  what->cancel(cancel_reason::user, current_task_id());
  what->release();
}

void scope_control::cancel_on(std::stop_token stop) {
  auto* const s = new source(std::move(stop), canceller{this}, incoming_.load(std::memory_order_relaxed));
  while (!incoming_.compare_exchange_weak(s->next, s, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

void scope_control::reschedule(deadline until) noexcept {
  until_.store(until.when().time_since_epoch().count(), std::memory_order_relaxed);
  poke();
}

const scope_control* scope_control::cancelled() const noexcept {
  const scope_control* found = nullptr;
  for (const scope_control* c = this; c; c = c->outer_)
    if (c->asked() || c->until().passed() || c->inherited_.passed()) found = c;
  return found;
}

std::pair<cancel_reason, std::uint64_t> scope_control::why() const noexcept {
  const scope_control* const c = cancelled();
  const auto asked = c ? c->asked_.load(std::memory_order_acquire) : 0;
  if (asked == 0) return {cancel_reason::deadline, 0};
  return {static_cast<cancel_reason>((asked & 7) - 1), asked >> 3};
}

deadline scope_control::earliest() const noexcept {
  deadline first;
  for (const scope_control* c = this; c; c = c->outer_) first = std::min({first, c->until(), c->inherited_});
  return first;
}

void scope_control::mark(scope& s) const noexcept {
  const bool mirrors = s.kind_ == scope::kind::mirror;
  const scope_control* const c = mirrors ? cancelled() : this;
  if (!c) return;
  const auto asked = c->asked_.load(std::memory_order_acquire);
  if (mirrors) s.id_ = c->id_;
  if (asked != 0)
    s.mark(static_cast<cancel_reason>((asked & 7) - 1), asked >> 3);
  else if (mirrors || c->until().passed())
    s.mark(cancel_reason::deadline, 0);
}

// --- the keeper ---

// Has the keeper look at it: a message that is in the inbox once.
void scope_control::poke() noexcept {
  loop_core* const here = current_loop();
  if (here && keeper_.load(std::memory_order_seq_cst) == here) {
    tend();
    return;
  }
  if (!keeper_.load(std::memory_order_seq_cst)) return;  // enter() sees what was asked
  const visit guest;
  runtime_core* const rt = guest.runtime();
  if (!rt) return;
  rt->in_flight.fetch_add(1, std::memory_order_seq_cst);
  // Dekker with leave(): it is known that the keeper has been told before it is read whether there is one still.
  told_.store(true, std::memory_order_seq_cst);
  if (loop_core* const keeper = keeper_.load(std::memory_order_seq_cst))
    post_to(*keeper);
  else
    rt->give_up_spawn();
}

// in_flight was raised for it.
void scope_control::post_to(loop_core& keeper) noexcept {
  if (posted_.exchange(true, std::memory_order_seq_cst)) {
    keeper.runtime().give_up_spawn();
    return;
  }
  hold();
  keeper.post(this);
}

void scope_control::run() noexcept {
  posted_.exchange(false, std::memory_order_seq_cst);  // an exchange: what a poster that found it posted wrote is seen
  tend();
  current_loop()->runtime().in_flight.fetch_sub(1, std::memory_order_seq_cst);
  release();
}

// The caller holds it.
void scope_control::tend() noexcept {
  loop_core& here = *current_loop();
  const bool entered = keeper_.load(std::memory_order_seq_cst) != nullptr;
  const auto asked = asked_.load(std::memory_order_seq_cst);
  if (entered && asked != 0 && inside_) inside_->cancel_here(static_cast<cancel_reason>((asked & 7) - 1), asked >> 3);
  if (alarm_.armed()) {
    here.disarm(alarm_);
    release();
  }
  if (entered && asked == 0 && !until().is_never()) {
    try {
      here.arm(alarm_, until().when());
      hold();
    } catch (const std::bad_alloc&) {  // without a timer it could last for ever
      cancel(cancel_reason::deadline, 0);
    }
  }
}

void scope_control::expired(timer& t) noexcept {
  scope_control& self = *static_cast<node&>(t).back;
  self.cancel(cancel_reason::deadline, 0);
  self.release();
}

// --- the owner ---

void scope_control::enter(scope& s, agent& who, bool tells) noexcept {
  id_ = s.id();
  inherited_ = s.until();
  if (tells && who.what == agent::kind::fiber) inside_ = &s;
  s.control_.store(this, std::memory_order_seq_cst);
  // Dekker with poke(): the keeper is there before `asked_` is read.
  keeper_.store(keeper_for(who), std::memory_order_seq_cst);
  if (s.requested()) cancel(s.reason(), s.by());
  if (until().passed()) cancel(cancel_reason::deadline, 0);
  if (asked_.load(std::memory_order_seq_cst) != 0 || !until().is_never()) poke();
}

void scope_control::leave() noexcept {
  left_.store(true, std::memory_order_relaxed);
  loop_core* const keeper = keeper_.exchange(nullptr, std::memory_order_seq_cst);
  if (!keeper) return;
  if (keeper == current_loop()) {
    inside_ = nullptr;
    tend();
  } else if (told_.load(std::memory_order_seq_cst)) {  // it may have an alarm set
    keeper->runtime().in_flight.fetch_add(1, std::memory_order_seq_cst);
    post_to(*keeper);
  }
}

void scope_control::link(scope_control& outer) {
  link_.emplace(outer.token(), stopper{this});
  outer.hold();
  outer_ = &outer;
}

scope_control& control_of(scope& s, agent& who) {
  scope_control* c = s.control();
  scope* const outer = s.outer();
  const bool open = outer && !s.is_shield() && s.uncaught() <= outer->uncaught();
  if (!c) {
    // The outer scope's control keeps the deadline if it comes from there.
    const bool own = !open || s.until() < outer->until();
    c = new scope_control(own ? s.until() : deadline::never(), s.is_shield());
    if (who.task && &s == &who.task->own) who.task->note_extras();
    c->enter(s, who, false);
  }
  if (open && !c->linked()) c->link(control_of(*outer, who));
  return *c;
}

entered_scope::entered_scope(scope_control& control) {
  agent& who = waiting_agent();
  scope_.enter(who, deadline::never(), control.shield());
  try {
    if (!control.begin())
      throw std::logic_error(
          "cancel_scope::run() a second time: a scope runs one block, and its copies are the same scope; make another");
    control.hold();
    control.enter(scope_, who, true);
    if (who.what != agent::kind::fiber) control_of(scope_, who);
  } catch (...) {
    scope_.leave();
    throw;
  }
}

entered_scope::~entered_scope() { scope_.leave(); }

}  // namespace detail

cancel_scope::cancel_scope(cancel_scope_options options)
    : control_(new detail::scope_control(options.until, options.shield)) {}
cancel_scope::cancel_scope(const cancel_scope& other) noexcept : control_(other.control_) { control_->hold(); }
cancel_scope& cancel_scope::operator=(const cancel_scope& other) noexcept {
  other.control_->hold();
  std::exchange(control_, other.control_)->release();
  return *this;
}
cancel_scope::~cancel_scope() { control_->release(); }

void cancel_scope::cancel(cancel_reason reason) const noexcept { control_->cancel(reason, detail::current_task_id()); }
bool cancel_scope::cancelled() const noexcept { return control_->called(); }
void cancel_scope::cancel_on(std::stop_token stop) const { control_->cancel_on(std::move(stop)); }
void cancel_scope::reschedule(deadline until) const noexcept { control_->reschedule(until); }
deadline cancel_scope::until() const noexcept { return control_->until(); }

std::stop_token get_stop_token() {
  detail::agent* const who = detail::current_agent();
  if (!who || !who->innermost) return {};
  return detail::control_of(*who->innermost, *who).token();
}

}  // namespace weft
