#include "weft/future_core.hpp"

#include "cancellation.hpp"
#include "fiber_wait.hpp"
#include "outbox.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"

namespace weft::detail {

// --- memory ---

// Sanitizers are to see every allocation.
#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
void* allocate_record(std::size_t size) { return ::operator new(size); }
void free_record(void* memory, std::size_t) noexcept { ::operator delete(memory); }
#else
void* allocate_record(std::size_t size) {
  if (loop_core* const here = tl_loop) [[likely]]
    return here->records.take(size);
  return ::operator new(record_cache::round(size));
}
void free_record(void* memory, std::size_t size) noexcept {
  if (loop_core* const here = tl_loop) [[likely]]
    here->records.give_back(memory, size);
  else
    ::operator delete(memory);
}
#endif

// --- waiting ---

future_waiter::future_waiter(agent& owner, waker who, bool shared) noexcept
    : who_(who), owner_(owner), shared_(shared) {
  fire = &fire_it;
}

void future_waiter::fire_it(wait_node& n) noexcept {
  auto& self = static_cast<future_waiter&>(n);
  const waker w = self.who_;
  if (!self.shared_) {
    if (!w.wake()) self.let_go();  // else the frame may be gone
  } else if (w.claim()) {
    self.fired_ = true;
    w.resume();
  } else {
    self.let_go();
  }
}

// The only one there is, of this loop.
[[gnu::always_inline]] inline void future_waiter::fire_here() noexcept {
  if (rarely(!who_.claim_alone()))
    let_go();
  else
    owner_.home->ready(&owner_);
}

void future_waiter::let_go() noexcept {
  agent& a = owner_;
  if (out_.exchange(gone, std::memory_order_acq_rel) == awaited) resume(a);
}

// Until somebody else's hands are off the node. That somebody may be preempted, so a fiber parks.
void future_waiter::wait_until_out() noexcept {
  if (owner_.what != agent::kind::fiber) {
    while (out_.load(std::memory_order_acquire) != gone) take_turns();
    return;
  }
  std::uint8_t expected = in;
  if (out_.compare_exchange_strong(expected, awaited, std::memory_order_acq_rel))
    owner_.home->suspend(static_cast<fiber_agent&>(owner_));
}

bool future_waiter::link(future_core& what) noexcept { return what.link(*this); }

void future_waiter::leave(future_core& what) noexcept {
  while (!what.unlink(*this) && out_.load(std::memory_order_acquire) != gone) {
    if (what.ready()) {
      wait_until_out();
      return;
    }
    take_turns();  // another agent has the list in hand for a moment
  }
}

// Most tasks are awaited by the fiber that spawned them, with the only handle there is, given up to the wait. Then
// nobody else can come to the state: not another waiter, for there is no handle to wait with; no hold but the task's
// own; no other thread, for the task stays on the waiter's loop. So the waiter links itself, and the task publishes and
// lets go, with plain stores: three locked instructions less.
bool future_core::nobody_else() const noexcept {
  return here_ != 0 && here_ == tl_here && counts_.load(std::memory_order_acquire) == one_hold + 1;
}

bool future_core::link(wait_node& n) noexcept {
  std::uintptr_t head = head_.load(std::memory_order_acquire);
  do {
    if (head == done) return false;
    n.next = reinterpret_cast<wait_node*>(head);
    // release: pairs with publish() and unlink(), which read the node.
  } while (!head_.compare_exchange_weak(head, reinterpret_cast<std::uintptr_t>(&n), std::memory_order_acq_rel,
                                        std::memory_order_acquire));
  return true;
}

// Takes the whole list, and puts back those who still wait. Should the future become ready meanwhile, the producer
// finds nobody, and they are fired from here.
// Other dead nodes are let go, not put back: two agents that put one another's back could go on for ever.
bool future_core::unlink(wait_node& n) noexcept {
  std::uintptr_t head = head_.load(std::memory_order_acquire);
  do {
    if (head == done || head == 0) return false;
    if (head & only) {
      head_.store(0, std::memory_order_relaxed);
      return true;
    }
  } while (!head_.compare_exchange_weak(head, 0, std::memory_order_acq_rel, std::memory_order_acquire));
  bool found = false;
  wait_node* first = nullptr;
  wait_node* last = nullptr;
  for (auto* at = reinterpret_cast<wait_node*>(head); at;) {
    wait_node* const node = std::exchange(at, at->next);
    if (node == &n) {
      found = true;
    } else if (node->fire == &future_waiter::fire_it && static_cast<future_waiter*>(node)->dead()) {
      static_cast<future_waiter*>(node)->let_go();
    } else {
      (last ? last->next : first) = node;
      last = node;
    }
  }
  if (!first) return found;
  last->next = nullptr;
  head = head_.load(std::memory_order_acquire);
  do {
    if (head == done) {
      last->next = nullptr;
      fire_all(first);
      return found;
    }
    last->next = reinterpret_cast<wait_node*>(head);
  } while (!head_.compare_exchange_weak(head, reinterpret_cast<std::uintptr_t>(first), std::memory_order_acq_rel,
                                        std::memory_order_acquire));
  return found;
}

// Oldest first. A node is not touched after it fired.
void future_core::fire_all(wait_node* newest) noexcept {
  wait_node* oldest = nullptr;
  while (newest) {
    wait_node* const older = newest->next;
    newest->next = oldest;
    oldest = std::exchange(newest, older);
  }
  while (oldest) {
    wait_node* const n = std::exchange(oldest, oldest->next);
    n->fire(*n);
  }
}

void future_core::publish() noexcept {
  const auto head = head_.load(std::memory_order_relaxed);
  if (head & only) [[likely]] {
    alone_ = true;
    head_.store(done, std::memory_order_relaxed);
    static_cast<future_waiter*>(reinterpret_cast<wait_node*>(head & ~only))->fire_here();
    return;
  }
  // acq_rel: the outcome is visible to whoever sees `done`, and the waiters' nodes are visible here.
  if (const auto waiters = head_.exchange(done, std::memory_order_acq_rel))
    fire_all(reinterpret_cast<wait_node*>(waiters));
}

// The record follows at once: task_core::finished().
[[gnu::noinline]] void future_core::publish_off_loops() noexcept {
  tl_outbox.open();
  publish();
  tl_outbox.close();
}

[[gnu::cold]] void future_core::throw_waits_for_itself() const {
  throw bad_wait("task " + to_string(producer()) + " waits for its own result, which it can never have");
}

bool future_core::wait_for_it(agent& who, deadline until, bool deaf) {
  const std::uint64_t producer = producer_id();
  if (producer != 0 && who.task && who.task->id() == producer) throw_waits_for_itself();
  waiter w(who, wait_kind::future, this, producer);
  future_waiter n(who, w.handle());
  if (!n.link(*this)) return true;
  wake_reason how;
  try {
    how = deaf ? w.suspend_shielded(until) : w.suspend(until);
  } catch (...) {  // it could not be suspended
    n.leave(*this);
    throw;
  }
  if (how == wake_reason::woken) return true;
  n.leave(*this);
  if (how == wake_reason::cancelled) throw_cancelled(waiting_agent());
  return ready();
}

// Those that have nothing to wait for, and those that wait for a task of their own, are most; they come first, in
// functions of their own. `noinline`: each reads the thread_local once, see checkpoint_of_caller().

[[gnu::noinline]] bool future_core::wait(deadline until) {
  if (ready() && passes_checkpoint(tl_agent)) [[likely]]
    return true;
  agent& who = checkpoint_slowly();
  return ready() || wait_for_it(who, until, false);
}

void future_core::wait_shielded() noexcept {
  if (!ready()) wait_for_it(waiting_agent(), {}, true);
}

[[gnu::noinline]] bool future_core::wait_owned(deadline until) {
  agent* const who = tl_agent;
  if (!rarely(!passes_checkpoint(who))) {
    if (ready()) return true;
    if (!rarely(!until.is_never()) && !rarely(!who->task) && !rarely(!who->task->own.until().is_never()) &&
        !rarely(!nobody_else())) {
      if (rarely(!wait_for_own(*who))) give_up_own(*who);
      return true;
    }
  }
  return wait_owned_slowly(until);
}

[[gnu::noinline]] bool future_core::wait_owned_slowly(deadline until) {
  try {
    agent& who = checkpoint_slowly();
    return ready() || wait_for_it(who, until, false);
  } catch (const cancelled& c) {
    request_cancel(c.reason(), c.by());
    wait_shielded();
    throw;
  }
}

// False when the caller was cancelled.
[[gnu::always_inline]] inline bool future_core::wait_for_own(agent& who) {
  const std::uint64_t producer = producer_id();
  if (rarely(who.task->id() == producer)) throw_waits_for_itself();
  check_can_park(who);
  fiber_wait w(who, wait_kind::future, this, producer);
  future_waiter n(who, w.handle());
  head_.store(reinterpret_cast<std::uintptr_t>(static_cast<wait_node*>(&n)) | only, std::memory_order_relaxed);
  if (!rarely(w.park() != wake_reason::woken)) return true;
  n.leave(*this);
  return false;
}

[[gnu::cold, gnu::noinline]] void future_core::give_up_own(agent& who) {
  try {
    throw_cancelled(who);
  } catch (const cancelled& c) {
    request_cancel(c.reason(), c.by());
    wait_shielded();
    throw;
  }
}

void future_core::throw_error() const {
  // A task that was cancelled together with the caller, by a deadline of both, say: the caller's own cancellation is
  // what it must see, or its scope would take it for a failure.
  if (agent* const who = was_cancelled() ? current_agent() : nullptr) {
    catch_up_with_scopes(*who);
    throw_if_cancelled(*who);
  }
  std::rethrow_exception(take_error());
}

void future_core::end() noexcept {
  if (rarely(failed())) end_error();
  destroy();
}

[[gnu::noinline]] void future_core::end_error() noexcept {
  if (reports_ && !was_cancelled() && !observed_.load(std::memory_order_relaxed)) report_unhandled(producer(), error_);
  error_.~exception_ptr();
}

}  // namespace weft::detail
