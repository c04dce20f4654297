#include "weft/monitor.hpp"

#include <cstdio>
#include <cstdlib>

#include "cancellation.hpp"
#include "fiber_wait.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "weft/error.hpp"

namespace weft::detail {

// What a loop owes to a monitor that was its own: to leave it, if it is inside, or to leave it alone, if it is not. Of
// the two who look at it, the loop and who took the monitor away, the second frees it.
struct debt {
  enum state : std::uint8_t { pending, taken, given, home };
  monitor* of;
  debt* next = nullptr;
  std::atomic<state> is{pending};
};

// --- in and out ---

bool monitor::enter_or_leave(request& r) noexcept {
  for (word w = word_.load(std::memory_order_relaxed);;) {
    if (is_own(w)) {
      if (enter_own() || take_over()) return true;
      w = word_.load(std::memory_order_relaxed);
    } else if (!(w & occupied)) {
      if (enter_at(w)) return true;
    } else {
      r.next_request = reinterpret_cast<request*>(w & ~low_bits);
      // release: pairs with leave_slowly(), which reads the request.
      if (word_.compare_exchange_weak(w, reinterpret_cast<word>(&r) | (w & low_bits), std::memory_order_release,
                                      std::memory_order_relaxed))
        return false;
    }
  }
}

// The oldest request first: who retracts a wait has made it before.
void monitor::leave_slowly() noexcept {
  wait_entry* newest = nullptr;
  for (;;) {
    word w = word_.load(std::memory_order_relaxed);
    if (w & ~low_bits) {
      ripe_ = false;  // somebody else uses it, too
      uses_ = 0;
      // acquire: pairs with enter_or_leave().
      w = word_.exchange(w & low_bits, std::memory_order_acquire);
      request* oldest = nullptr;
      for (auto* r = reinterpret_cast<request*>(w & ~low_bits); r;) {
        request* const older = r->next_request;
        r->next_request = oldest;
        oldest = std::exchange(r, older);
      }
      while (oldest) {
        request* const r = std::exchange(oldest, oldest->next_request);
        r->carry_out(*r);  // the request may be gone now
      }
      continue;
    }
    word then = marks();
    if (ripe_) {
      ripe_ = false;
      if (!can_fence_all_threads()) {
        patience_ = 0;
      } else {
        shown_.store(marks_, std::memory_order_release);
        then = own_of(*user_);
      }
    }
    newest = std::exchange(woken_, nullptr);
    if (word_.compare_exchange_strong(w, then, std::memory_order_release, std::memory_order_relaxed)) break;
    woken_ = newest;
  }
  resume_all(newest);
}

// The primitive may be gone now. Those who were granted go on in the order they were.
void monitor::resume_all(wait_entry* newest) noexcept {
  wait_entry* oldest = nullptr;
  while (newest) {
    wait_entry* const before = newest->next;
    newest->next = oldest;
    oldest = std::exchange(newest, before);
  }
  while (oldest) {
    const waker who = oldest->who;
    oldest = oldest->next;
    who.resume();
  }
}

// --- a loop's own ---

void monitor::leave_own(gate& g) noexcept {
  wait_entry* const newest = std::exchange(woken_, nullptr);
  shown_.store(marks_, std::memory_order_release);
  leave_gate(g);
  resume_all(newest);
}

// Inside: it is for everybody again.
void monitor::is_nobodys() noexcept {
  user_ = nullptr;
  uses_ = 0;
  ripe_ = false;
  patience_ = patience_ < last_patience ? static_cast<std::uint8_t>(2 * patience_) : 0;
}

// Takes it away from the loop whose own it is. True when the caller is inside then. Else somebody else was faster, or
// the loop is inside, which leaves as anybody does; then the word says so, and it takes requests.
[[gnu::cold, gnu::noinline]] bool monitor::take_over() noexcept {
  word w = word_.load(std::memory_order_relaxed);
  if (!is_own(w)) return false;
  auto* const d = new (std::nothrow) debt{this};
  gate& g = *reinterpret_cast<gate*>(w & ~low_bits);
  if (!d ||
      !word_.compare_exchange_strong(w, occupied | own | mark, std::memory_order_acq_rel, std::memory_order_relaxed)) {
    if (!d) std::this_thread::yield();
    delete d;
    return false;
  }
  d->next = g.owed.load(std::memory_order_relaxed);
  // release: pairs with release_owed().
  while (!g.owed.compare_exchange_weak(d->next, d, std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  fence_all_threads();
  // The loop is inside and will see what it owes when it leaves; or it is not, and cannot come in any more.
  // acquire: pairs with leaves_debts().
  const bool inside = g.inside.load(std::memory_order_acquire) == this;
  const auto was = d->is.exchange(inside ? debt::given : debt::taken, std::memory_order_acq_rel);
  if (was == debt::home) delete d;
  if (inside || was == debt::home) return false;
  is_nobodys();
  take_marks();
  w = word_.load(std::memory_order_relaxed);
  while (!word_.compare_exchange_weak(w, (w & ~low_bits) | occupied | marks(), std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
  }
  return true;
}

[[gnu::noinline]] bool monitor::release_owed() noexcept {
  gate& g = *tl_gate;
  for (debt* d = g.owed.exchange(nullptr, std::memory_order_acquire); d;) {
    debt* const next = d->next;
    monitor& of = *d->of;
    const auto was = d->is.exchange(debt::home, std::memory_order_acq_rel);
    if (was != debt::pending) delete d;
    if (was != debt::taken) {
      of.is_nobodys();
      of.take_marks();
      of.leave_slowly();
    }
    d = next;
  }
  return true;
}

namespace {

// Who can be parked here for a moment; null where nothing can be.
agent* who_can_park() noexcept {
  try {
    agent& a = waiting_agent();
    const bool stuck = a.what == agent::kind::body || (a.what == agent::kind::fiber && in_foreign_algorithm());
    return stuck ? nullptr : &a;
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

void monitor::perform_at_once(wait_entry& r) noexcept {
  bool inside = try_enter();
  agent* const me = inside ? nullptr : who_can_park();
  if (!inside && !me)
    while (!(inside = try_enter())) std::this_thread::yield();
  if (!inside) {
    waiter w(*me, wait_kind::turn, this);
    r.who = w.handle();
    inside = enter_or_leave(r);
    if (!inside) {
      w.suspend_shielded();
      return;
    }
  }
  r.by_itself = true;
  r.carry_out(r);
  leave();
}

wake_reason monitor::wait(agent& me, wait_entry& e, wait_kind kind, deadline until, bool deaf, void (*before)(void*),
                          void* argument) {
  check_can_park(me);
  const std::uint64_t number = announce(me, kind, this, 0);
  e.where = this;
  e.who = fiber_wait::handle(me, number);
  const bool there = begin(e);
  if (before) before(argument);
  wake_reason how = wake_reason::woken;
  if (!there) try {
      how = park(me, number, until, deaf);
    } catch (...) {  // it was not suspended, and nobody wakes it any more
      me.take_back(number);
      retract(e);
      throw;
    }
  me.take_back(number);
  if (how != wake_reason::woken) retract(e);  // which may be a wait of its own, so that one must be over
  return how;
}

// --- the mark ---

void monitor::carry_out_wait(request& r) noexcept {
  auto& self = static_cast<mark_wait&>(r);
  if (!(self.where->marks() & mark))
    self.list->push_back(self);
  else if (self.claim())
    self.where->grant(self);
}

// A fiber of the loop whose own it is needs no request: it links itself.
[[gnu::noinline]] departure monitor::begin_to_wait(mark_wait& w, deadline until) {
  agent* const me = tl_agent;
  if (rarely(!passes_checkpoint(me))) return waited_after_checkpoint(w, until);
  if (rarely(!is_at_home(*tl_gate)) || (shown() & mark) || rarely(!can_park(*me))) return waited_slowly(w, until);
  return link_and_depart(w, until);
}

// A function of its own, without calls and what must be kept over them.
[[gnu::noinline]] departure monitor::link_and_depart(mark_wait& w, deadline until) {
  agent* const me = tl_agent;
  gate& here = *tl_gate;
  if (rarely(!goes_in(here))) return waited_from_outside(w, until);
  w.where = this;
  w.who = fiber_wait::handle(*me, announce(*me, wait_kind::other, this, 0));
  w.list->push_back(w);
  is_about_to_park(*me);
  if (leaves_debts(here)) release_owed();
  if (has_deadline(*me, until)) return depart_in_time(w, until);
  return depart(w);
}

[[gnu::noinline]] departure monitor::depart_in_time(mark_wait& w, deadline until) {
  w.limit = ::new (static_cast<void*>(w.room)) time_limit(w.who, until, false);
  if (!w.limit->begin()) return is_back_already(w);
  return depart(w);
}

departure monitor::depart(mark_wait& w) {
  return tl_loop->depart_at_once(static_cast<fiber_agent&>(*tl_agent), [&] { return depart_slowly(w); });
}

[[gnu::noinline]] departure monitor::depart_slowly(mark_wait& w) {
  return tl_loop->depart(static_cast<fiber_agent&>(*tl_agent), [&] { return is_back_already(w); });
}

// Without a limit it has no call, and keeps nothing over one.
void monitor::has_waited(mark_wait& w) {
  if (w.limit) [[unlikely]]
    return has_waited_in_time(w);
  if (rarely(fiber_wait::end(w.who) != wake_reason::woken)) give_up(w, wake_reason::cancelled);
}

[[gnu::noinline]] void monitor::has_waited_in_time(mark_wait& w) {
  const wake_reason how = fiber_wait::end(w.who, *w.limit);
  if (rarely(how != wake_reason::woken)) give_up(w, how);
}

[[gnu::cold, gnu::noinline]] void monitor::give_up(mark_wait& w, wake_reason how) {
  retract(w);
  if (how == wake_reason::cancelled) throw_cancelled(waiting_agent());
}

[[gnu::noinline]] departure monitor::is_back_already(mark_wait& w) {
  has_waited(w);
  return {};
}

// In the gate, where nothing has been done.
[[gnu::noinline]] departure monitor::waited_from_outside(mark_wait& w, deadline until) {
  leave_gate(*tl_gate);
  return waited_slowly(w, until);
}

[[gnu::noinline]] departure monitor::waited_after_checkpoint(mark_wait& w, deadline until) {
  checkpoint_slowly();
  return waited_slowly(w, until);
}

[[gnu::noinline]] departure monitor::waited_slowly(mark_wait& w, deadline until) {
  if (is_settled_with_mark()) {
    w.granted = true;
    return {};
  }
  w.carry_out = &carry_out_wait;
  agent& me = waiting_agent();
  if (wait(me, w, wait_kind::other, until) == wake_reason::cancelled) throw_cancelled(me);
  return {};
}

bool monitor::set_mark_at_home(wait_list& list) noexcept {
  if (!enter_own_lightly()) return false;
  while (wait_entry* const e = list.front()) {
    if (rarely(!fiber_wait::claim_near(e->who))) {
      set_mark(list);
      leave();
      return true;
    }
    (void)list.pop_front();
    e->granted = true;
    fiber_wait::resume_near(e->who);
  }
  return leave_as_own(*tl_gate, mark);
}

bool monitor::clear_mark_at_home() noexcept {
  if (!enter_own_lightly()) return false;
  return leave_as_own(*tl_gate, 0);
}

bool monitor::begin(wait_entry& e) noexcept {
  if (!enter_or_leave(e)) return false;
  e.by_itself = true;
  e.carry_out(e);
  e.by_itself = false;
  const bool granted = e.granted;
  leave();
  return granted;
}

void monitor::retract(wait_entry& e) noexcept {
  // acquire: pairs with drop(); whoever dropped it has taken it out, and the monitor may be gone.
  if (e.stays.exchange(wait_entry::leaving, std::memory_order_acq_rel) == wait_entry::dropped) return;
  (void)ask([&e] {
    if (e.in) e.in->erase(e);
    return true;
  });
}

void destroyed_in_use(const char* what, const void* which) noexcept {
  std::fprintf(stderr, "weft: a %s (at %p) is destroyed while somebody holds it or waits for it\n", what, which);
  std::abort();
}

}  // namespace weft::detail
