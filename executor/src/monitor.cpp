#include "weft/monitor.hpp"

#include <cstdio>
#include <cstdlib>

#include "cancellation.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "weft/error.hpp"

namespace weft::detail {

bool monitor::enter_or_leave(request& r) noexcept {
  word w = word_.load(std::memory_order_relaxed);
  for (;;) {
    if (!(w & occupied)) {
      if (word_.compare_exchange_weak(w, w | occupied, std::memory_order_acquire, std::memory_order_relaxed)) {
        marks_ = w & marks;
        return true;
      }
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
    newest = std::exchange(woken_, nullptr);
    if (word_.compare_exchange_strong(w, marks_, std::memory_order_release, std::memory_order_relaxed)) break;
    woken_ = newest;
  }
  // The primitive may be gone now. Those who were granted go on in the order they were.
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
  wake_reason how = wake_reason::woken;
  {
    waiter w(me, kind, this);
    e.where = this;
    e.who = w.handle();
    const bool there = begin(e);
    if (before) before(argument);
    if (there) return how;
    try {
      how = deaf ? w.suspend_shielded(until) : w.suspend(until);
    } catch (...) {  // it was not suspended, and nobody wakes it any more
      retract(e);
      throw;
    }
  }
  if (how != wake_reason::woken) retract(e);  // which may be a wait of its own, so that one must be over
  return how;
}

bool monitor::wait_for_mark(wait_list& list, deadline until) {
  agent& me = checkpoint_of_caller();
  if (word_.load(std::memory_order_acquire) & mark) return true;
  struct entry : wait_entry {
    wait_list* list = nullptr;
  } e;
  e.list = &list;
  e.carry_out = [](request& r) noexcept {
    auto& self = static_cast<entry&>(r);
    if (!(self.where->marks_ & mark))
      self.list->push_back(self);
    else if (self.claim())
      self.where->grant(self);
  };
  const wake_reason how = wait(me, e, wait_kind::other, until);
  if (how == wake_reason::cancelled) throw_cancelled(me);
  return how == wake_reason::woken;
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
