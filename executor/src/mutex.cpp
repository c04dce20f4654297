#include "weft/mutex.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

#include "scheduler.hpp"
#include "weft/config.hpp"

namespace weft {

using detail::agent;
using detail::tl_agent;

mutex::~mutex() {
  if ((look() & locked) || !waiters_.empty() || !others_.empty()) detail::destroyed_in_use("mutex", this);
}

// --- who holds it ---

inline void mutex::owned_by(agent* who) noexcept {
  owner_.store(who, std::memory_order_release);  // pairs with comes(), which looks where that agent is at home
  owner_task_.store(who ? who->task_id.load(std::memory_order_relaxed) : 0, std::memory_order_relaxed);
}

bool mutex::owned_by_task_of(const agent& who) const noexcept {
  return owner_.load(std::memory_order_relaxed) == &who &&
         owner_task_.load(std::memory_order_relaxed) == who.task_id.load(std::memory_order_relaxed);
}

// A coroutine goes on as another fiber than the one it locked in, which is no task; so only tasks are told apart.
[[gnu::cold]] void mutex::check_owner() const noexcept {
  const bool held = look() & locked;
  const agent* const me = detail::current_agent();
  const auto mine = me ? me->task_id.load(std::memory_order_relaxed) : 0;
  const auto owner = owner_task_.load(std::memory_order_relaxed);
  if (held && (mine == 0 || owner == 0 || mine == owner)) return;
  std::fprintf(stderr, "weft: task #%llu unlocks the mutex at %p, which ", static_cast<unsigned long long>(mine),
               static_cast<const void*>(this));
  if (held)
    std::fprintf(stderr, "task #%llu holds\n", static_cast<unsigned long long>(owner));
  else
    std::fputs("nobody holds\n", stderr);
  std::abort();
}

// --- locking ---

bool mutex::try_lock() noexcept {
  detail::gate& here = *detail::tl_gate;
  if (is_at_home(here)) {
    if (detail::rarely(!goes_in(here))) return try_lock_of_others_now();
    const word before = shown();
    if (before & locked) [[unlikely]]
      return !leave_as_own(here, before);
    agent* const me = tl_agent;
    owned_by(me);
    if (me) me->hold(this);
    return leave_as_own(here, before | locked);
  }
  return try_lock_of_others();
}

// It is being taken away.
[[gnu::noinline]] bool mutex::try_lock_of_others_now() noexcept {
  leave_gate(*detail::tl_gate);
  return try_lock_of_others();
}

// One that is no loop's own, or another loop's.
[[gnu::noinline]] bool mutex::try_lock_of_others() noexcept {
  word w = word_.load(std::memory_order_relaxed);
  while (w == 0 || w == awaited)  // nobody holds it; one that is coming may be overtaken
    // acquire: pairs with unlock() and with leave().
    if (word_.compare_exchange_weak(w, w | locked, std::memory_order_acquire, std::memory_order_relaxed)) {
      take_note();
      return true;
    }
  if (!is_own(w) || !try_enter()) return false;
  const bool free = !(marks() & locked);
  set_marks(marks() | locked);
  leave();
  if (free) take_note();
  return free;
}

void mutex::take_note() noexcept {
  agent* const me = detail::current_agent();
  owned_by(me);
  if (me) me->hold(this);
}

bool mutex::lock_slowly(deadline until) {
  agent& me = detail::waiting_agent();
  if (owned_by_task_of(me))
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "weft::mutex: task #" + std::to_string(owner_task_.load(std::memory_order_relaxed)) +
                                " locks a mutex that it holds already");
  entry e;
  e.me = &me;
  e.carry_out = [](detail::request& r) noexcept {
    auto& self = static_cast<entry&>(r);
    static_cast<mutex*>(self.where)->take_or_link(self);
  };
  while (wait(me, e, wait_kind::lock, until, true) == wake_reason::woken) {
    if (e.granted || comes(e, until)) {
      me.hold(this);
      return true;
    }
    e.overtaken = true;
  }
  return false;
}

// By a waiter that was woken and not granted: true when it has got it. Until it is linked again nobody wakes another in
// its stead, so who unlocks meanwhile does no more than that. Two cores that hand a mutex to and fro at every turn
// spend their time on the way; so it is left to those that hold it for a while, and this one looks only now and then,
// since each look takes the word from the core that works with it. No spinlock: the loop's other fibers run in between,
// and after `longest_overtaking` it is linked.
bool mutex::comes(entry& e, deadline until) {
  static const bool others_run = usable_cores() > 1;
  const detail::loop_core* const home = e.me->what == agent::kind::fiber ? e.me->home : nullptr;
  const bool simulated = home && home->simulated();
  const auto give_up = std::min(deadline::after(longest_overtaking), until);
  for (unsigned tries = 0;;) {
    if (!(look() & locked) && try_enter()) {
      const bool free = !(marks() & locked);
      if (free) {
        arrived(e);
        set_marks(locked | mark_of_waiters());
        owned_by(e.me);
      }
      leave();
      if (free) return true;
    }
    const agent* const owner = owner_.load(std::memory_order_acquire);
    const bool near = owner && home && owner->what == agent::kind::fiber && owner->home == home;
    if (near || ++tries >= most_tries || !(others_run || simulated) || give_up.passed()) return false;
    detail::take_turns();
    if (!simulated)
      for (unsigned i = 0; i < 32 && home; ++i) detail::pause_core();
  }
}

// --- inside ---

// Its wait to be let in has ended.
void mutex::arrived(entry& e) noexcept {
  if (e.woken) (!is_fiber(e) ? other_one_comes_ : e.near ? near_one_comes_ : far_one_comes_) = false;
  e.woken = false;
}

// What who unlocks next has to see to: a waiter of its own loop must not wait for one of another, which may be long in
// coming; otherwise one that comes is enough. One that is no fiber may be longer still in coming (a CPU task waits for
// a worker, behind others), so it counts among its like only.
mutex::word mutex::mark_of_waiters() const noexcept {
  if (const auto* const other = static_cast<const entry*>(others_.front());
      other && (other->overtaken || !other_one_comes_))
    return awaited;
  const auto* const e = static_cast<const entry*>(waiters_.front());
  if (!e) return 0;
  if (e->overtaken || !(near_one_comes_ || far_one_comes_)) return awaited;
  return !near_one_comes_ && is_near(*e) ? awaited : 0;
}

bool mutex::is_fiber(const entry& e) noexcept { return e.me->what == agent::kind::fiber; }

bool mutex::is_near(const entry& e) noexcept { return is_fiber(e) && e.me->home == detail::current_loop(); }

void mutex::used_by(const detail::loop_core* home) noexcept {
  several_ |= used_ && users_ != home;
  users_ = home;
  used_ = true;
}

// For one that comes to lock.
void mutex::take_or_link(entry& e) noexcept {
  arrived(e);
  used_by(is_fiber(e) ? e.me->home : nullptr);
  if (marks() & locked) {
    e.overtaken ? line_of(e).push_front(e) : line_of(e).push_back(e);
    set_marks(marks() | mark_of_waiters());
  } else if (e.claim()) {
    set_marks(locked | mark_of_waiters());
    owned_by(e.me);
    grant(e);
  }
}

// --- unlocking ---

void mutex::unlock() noexcept {
#ifndef NDEBUG
  check_owner();
#endif
  detail::gate& here = *detail::tl_gate;
  if (agent* const me = tl_agent; me && owner_.load(std::memory_order_relaxed) == me && is_at_home(here)) [[likely]] {
    if (detail::rarely(!goes_in(here))) return unlock_of_others_now();
    // What a task holds is forgotten when it ends: what is noted now was locked on this stack since.
    if (shown() != locked || !me->gives_up_last(this)) [[unlikely]]
      return unlock_inside(*me);
    owner_.store(nullptr, std::memory_order_relaxed);
    leave_as_own(here, 0);
    return;
  }
  unlock_of_others();
}

[[gnu::noinline]] void mutex::unlock_inside(agent& me) noexcept {
  take_marks();
  if (!me.gives_up_last(this) && owned_by_task_of(me)) me.give_up(this);
  owner_.store(nullptr, std::memory_order_relaxed);
  pass_on();
  leave();
}

[[gnu::noinline]] void mutex::unlock_of_others_now() noexcept {
  leave_gate(*detail::tl_gate);
  unlock_of_others();
}
[[gnu::noinline]] void mutex::unlock_of_others() noexcept {
  if (agent* const owner = owner_.load(std::memory_order_relaxed)) {
    // Another fiber's, when a coroutine unlocks: of the same loop.
    const bool near = owner->what == agent::kind::fiber && owner->home == detail::current_loop();
    if ((near || owner == detail::current_agent()) && owned_by_task_of(*owner)) owner->give_up(this);
    owner_.store(nullptr, std::memory_order_relaxed);
  }
  word w = word_.load(std::memory_order_relaxed);
  if (is_own(w) ? enter_own() : comes_again() && try_enter()) {
    if (!is_own(w)) ripen();
    pass_on();
    leave();
    return;
  }
  w = locked;
  // release: pairs with try_lock().
  if (word_.compare_exchange_strong(w, 0, std::memory_order_release, std::memory_order_relaxed)) return;
  unlocking_.what = this;
  unlocking_.carry_out = [](detail::request& r) noexcept { static_cast<release&>(r).what->pass_on(); };
  perform(unlocking_);
}

// By the holder, who alone counts: true when the same loop has held it often enough in a row to ask, inside, whether it
// may become that loop's own.
bool mutex::comes_again() noexcept {
  constexpr std::uint8_t often = 32;
  if (last_ != detail::tl_gate) {
    last_ = detail::tl_gate;
    in_a_row_ = 0;
    return false;
  }
  if (++in_a_row_ < often) return false;
  in_a_row_ = 0;
  return true;
}

void mutex::give_to(entry& e) noexcept {
  owned_by(e.me);
  grant(e);
  set_marks(locked | mark_of_waiters());
}

// Inside; the holder has given it up. If one loop alone uses it, or the oldest waiter was overtaken, that one gets it;
// else it is woken to take it when it is there.
void mutex::pass_on() noexcept {
  used_by(detail::current_loop());
  while (auto* const e = static_cast<entry*>(others_.front())) {
    if (!e->overtaken && other_one_comes_) break;
    others_.erase(*e);
    if (!e->claim()) continue;
    if (e->overtaken) return give_to(*e);
    e->woken = other_one_comes_ = true;
    wake(*e);
    break;
  }
  const bool alone = !several_ || is_own(word_.load(std::memory_order_relaxed));
  while (auto* const e = static_cast<entry*>(waiters_.front())) {
    const bool near = is_near(*e);
    const bool direct = e->overtaken || (alone && near);
    bool& one_comes = near ? near_one_comes_ : far_one_comes_;
    if (!direct && (one_comes || (!near && near_one_comes_))) break;
    waiters_.erase(*e);
    if (!e->claim()) continue;
    if (direct) return give_to(*e);
    e->woken = one_comes = true;
    e->near = near;
    wake(*e);
    break;
  }
  set_marks(mark_of_waiters());
}

}  // namespace weft
