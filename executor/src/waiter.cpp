#include "weft/waiter.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cancellation.hpp"
#include "fiber_wait.hpp"
#include "outbox.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "thread_agent.hpp"
#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/task.hpp"
#include "weft/this_fiber.hpp"

namespace weft {
namespace detail {

// --- threads ---

namespace {

long futex(std::atomic<std::uint32_t>& word, int op, std::uint32_t value, const timespec* until) noexcept {
  return ::syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

// The agents of plain threads are kept when their threads end, so that a late waker finds one; a new thread takes a
// used one. Locked once a thread.
struct agent_store {
  std::mutex mutex;
  std::vector<thread_agent*> idle;
  std::size_t made = 0;
};
agent_store& store() {
  static auto* const s = new agent_store;
  return *s;
}

struct thread_slot {
  thread_agent* mine = nullptr;
  ~thread_slot();
};
thread_local thread_slot tl_slot;
constinit thread_local bool tl_ends = false;
// For destructors of thread_locals that wait when that one has gone. (Made when it is asked for, so it goes later.)
thread_slot& last_slot() noexcept {
  thread_local thread_slot last;
  return last;
}

// From here on another thread may have it.
thread_slot::~thread_slot() {
  tl_ends = true;
  if (!mine) return;
  if (tl_agent == mine) tl_agent = nullptr;
  const std::lock_guard lock(store().mutex);
  store().idle.push_back(std::exchange(mine, nullptr));
}

}  // namespace

thread_agent::thread_agent() noexcept : agent(kind::thread) {
  deliver = [](agent& a) noexcept {
    auto& self = static_cast<thread_agent&>(a);
    self.signal_.store(1, std::memory_order_release);
    futex(self.signal_, FUTEX_WAKE, 1, nullptr);
  };
}

thread_agent& thread_agent::mine() {
  thread_agent*& mine = (tl_ends ? last_slot() : tl_slot).mine;
  if (!mine) {
    const std::lock_guard lock(store().mutex);
    if (store().idle.empty()) {
      store().idle.reserve(++store().made);  // so that a thread that ends can give it back
      mine = new thread_agent;
    } else {
      mine = store().idle.back();
      store().idle.pop_back();
    }
  }
  set_current_agent(mine);
  return *mine;
}

void thread_agent::block(deadline until) noexcept {
  timespec when{};
  if (!until.is_never()) {
    const auto ns = std::max<std::int64_t>(0, until.when().time_since_epoch().count());  // CLOCK_MONOTONIC, futex(2)
    when.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    when.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  }
  while ((word.load(std::memory_order_acquire) & state_mask) == waiting ||
         signal_.load(std::memory_order_acquire) == 0) {
    const auto now = word.load(std::memory_order_acquire);
    if ((now & state_mask) == waiting && until.passed()) {
      if (decide_own(*this, now, wake_reason::timed_out)) return;  // no signal comes
      continue;
    }
    // Once decided by another, its signal is on the way: wait for it, so that it cannot reach the next wait.
    if (signal_.load(std::memory_order_acquire) == 0)
      futex(signal_, FUTEX_WAIT_BITSET, 0, until.is_never() || (now & state_mask) != waiting ? nullptr : &when);
  }
  signal_.store(0, std::memory_order_relaxed);
}

// --- who runs here ---

[[gnu::noinline]] agent& waiting_agent() {
  if (agent* a = tl_agent; a && a->what == agent::kind::fiber) [[likely]]
    return *a;
  return waiting_agent_off_loops();
}

[[gnu::cold, gnu::noinline]] void throw_wait_in_algorithm(const agent& a) {
  throw wait_in_algorithm(
      a.home->is_pool()
          ? "the body of a oneTBB algorithm waits in a simulation, where algorithms run on one thread and cannot be "
            "suspended; wait outside the algorithm, or in spawn_cpu tasks of their own"
          : "a fiber waits inside a oneTBB algorithm that it called itself: the loop's thread would be stuck in it; "
            "call the algorithm in spawn_cpu");
}

// See context.hpp.
bool has_changed_fp_control(const agent& a) noexcept {
  if (a.what != agent::kind::fiber && a.what != agent::kind::cpu) return false;
  return fp_control() != runtime_core::current()->fp_control_at_start;
}
void throw_fp_control_changed(const agent& a) {
  throw bad_wait("task " + (a.task ? to_string(a.task->info()) : std::string("without a name")) +
                 " has changed the floating-point environment and waits: what runs on its thread meanwhile would "
                 "compute with it, and it with theirs; restore it before each wait (std::fegetenv, std::fesetenv)");
}

namespace {
[[gnu::noinline]] agent* waiting_body() {
  asm volatile("");
  return tl_cpu_thread && in_own_algorithm(agent_of_this_stack()) ? &body_agent() : nullptr;
}
}  // namespace

agent& waiting_agent_off_loops() {
  if (agent* const body = waiting_body()) return *body;
  agent* const a = current_agent();
  if (!a && current_loop())
    throw bad_wait(
        "cannot wait here: this code runs on an event loop's own stack (a handler of Asio, a callback of the runtime), "
        "which must not be suspended; spawn() a task from here and wait in it");
  if (a && a->what == agent::kind::cpu) return *a;
  if (in_foreign_algorithm())
    throw wait_in_algorithm(
        "a thread outside weft waits inside a oneTBB algorithm: its worker would be stuck in it; "
        "call the algorithm in spawn_cpu");
  return a ? *a : thread_agent::mine();
}

[[gnu::noinline]] void take_turns() noexcept {
  agent* const a = tl_agent;
  if (a && a->what == agent::kind::fiber)
    tl_loop->yield(static_cast<fiber_agent&>(*a));
  else
    std::this_thread::yield();
}

// --- deciding ---

[[gnu::noinline]] void resume(agent& a) noexcept {
  if (a.what != agent::kind::fiber) {
    a.deliver(a);
    return;
  }
  loop_core& home = *a.home;
  if (tl_loop == &home) {
    home.ready(&a);
  } else if (runs_for_weft()) {
    if (!tl_outbox.put(home, &a)) home.post(&a);
  } else {
    if (home.simulated()) {
      std::fputs("weft: a thread outside a simulation wakes one of its tasks; in sim::run there is only one thread\n",
                 stderr);
      std::abort();
    }
    const visit here;  // the loop could end between its taking the fiber and our waking it
    home.post(&a);
  }
}

namespace {

[[gnu::noinline]] bool decide_by_cas(agent& a, std::uint64_t word, wake_reason reason) noexcept {
  if (!a.word.compare_exchange_strong(word, decided(word, reason), std::memory_order_acq_rel)) return false;
  resume(a);
  return true;
}

}  // namespace

[[gnu::noinline]] bool decide(agent& a, std::uint64_t word, wake_reason reason) noexcept {
  loop_core* const here = tl_loop;
  if (reason != wake_reason::woken || a.home != here || a.what != agent::kind::fiber)
    return decide_by_cas(a, word, reason);
  if (!decide_plainly(a, word)) return false;
  here->ready(&a);
  return true;
}

bool decide_own(agent& a, std::uint64_t word, wake_reason reason) noexcept {
  return a.word.compare_exchange_strong(word, decided(word, reason), std::memory_order_acq_rel);
}

}  // namespace detail

bool waker::wake(wake_reason reason) const noexcept { return who_ && detail::decide(*who_, word_, reason); }
bool waker::claim(wake_reason reason) const noexcept { return who_ && detail::decide_own(*who_, word_, reason); }
bool waker::claim_alone() const noexcept {
  const bool here = who_ && who_->what == detail::agent::kind::fiber && who_->home == detail::tl_loop;
  return here ? detail::decide_plainly(*who_, word_) : claim();
}
void waker::resume() const noexcept { detail::resume(*who_); }

// --- the waiter ---

waiter::waiter(detail::agent& who, wait_kind kind, const void* target, std::uint64_t target_task) : agent_(who) {
  detail::check_can_park(agent_);
  word_ = detail::announce(agent_, kind, target, target_task);
}

waiter::~waiter() { agent_.take_back(word_); }

wake_reason waiter::suspend(deadline until) { return detail::park(agent_, word_, until, false); }
wake_reason waiter::suspend_shielded(deadline until) { return detail::park(agent_, word_, until, true); }

// --- a light wait ---

waker detail::light_wait::announce(wait_kind kind, const void* target) noexcept {
  agent* const a = tl_agent;
  if (!is_uncancelled_fiber(a) || has_deadline(*a, {}) || !can_park(*a)) [[unlikely]]
    return {};
  return fiber_wait::handle(*a, detail::announce(*a, kind, target, 0));
}

namespace {
[[gnu::noinline]] detail::departure depart_lightly() {
  return detail::tl_loop->depart(static_cast<detail::fiber_agent&>(*tl_agent), [] { return detail::departure(); });
}
}  // namespace

detail::departure detail::light_wait::leave(const waker& who) {
  auto& me = static_cast<fiber_agent&>(*who.who_);
  is_about_to_park(me);
  return me.home->depart_at_once(me, &depart_lightly);
}

// --- parking; see fiber_wait.hpp ---

namespace detail {

bool may_not_park(agent& a, std::uint64_t word) noexcept {
  return cancelled_before_parking(a) && decide_own(a, word, wake_reason::cancelled);
}

time_limit::time_limit(const waker& of, deadline until, bool deaf) noexcept
    : who_(*of.who_),
      word_(of.word_),
      until_(until),
      inherited_(deaf || !who_.task ? deadline::never() : inherited_deadline(who_)) {
  expired = [](timer& t) noexcept {
    const auto& self = static_cast<time_limit&>(t);
    decide(self.who_, self.word_, wake_reason::timed_out);
  };
}

bool time_limit::begin() noexcept {
  const deadline earliest = std::min(until_, inherited_);
  if (earliest.is_never()) return true;
  try {
    who_.home->arm(*this, earliest.when());
    return true;
  } catch (const std::bad_alloc&) {
    // Without a timer the wait could last for ever. Whoever was faster has resumed the fiber already: take that.
    return !decide_own(who_, word_, wake_reason::timed_out);
  }
}

wake_reason time_limit::end(wake_reason how) noexcept {
  who_.home->disarm(*this);
  if (how != wake_reason::timed_out || until_ <= inherited_) return how;
  who_.task->own.cancel_here(cancel_reason::deadline, 0);
  who_.hint.store(true, std::memory_order_relaxed);  // a simulated CPU task's scope does not know its fiber
  return wake_reason::cancelled;
}

namespace {
/// Wakes a wait off the loops when a scope around it is cancelled that has a control.
struct told {
  agent& who;
  std::uint64_t word;
  void operator()() const noexcept { decide(who, word, wake_reason::cancelled); }
};
}  // namespace

[[gnu::noinline]] wake_reason park_off_loops(agent& a, std::uint64_t word, deadline until, bool deaf) {
  // Off the loops nobody watches the deadlines of scopes: the wait does.
  const deadline scopes = deaf ? deadline::never() : deadline_of_scopes(a);
  const deadline earliest = std::min(until, scopes);
  std::optional<std::stop_callback<told>> ear;
  scope_control* control = nullptr;
  if (!deaf) {
    control = control_in_force(a);
    // Dekker with task_core::request_cancel(): `cancellable` is written before the scope is read; a canceller marks
    // the scope before it reads `cancellable`.
    a.reach.store(outermost_depth(a), std::memory_order_relaxed);
    a.cancellable.exchange(true, std::memory_order_seq_cst);
    if (control) ear.emplace(control->token(), told{a, word});
    if (cancelled_scope(a) && decide_own(a, word, wake_reason::cancelled)) {
      a.cancellable.store(false, std::memory_order_relaxed);
      return wake_reason::cancelled;
    }
  }
  try {
    park_off_loop(a, word, earliest);
  } catch (const std::bad_alloc&) {  // as in time_limit::begin()
    if (!decide_own(a, word, wake_reason::timed_out)) park_off_loop(a, word, deadline::never());
  }
  const wake_reason how = a.came_back();
  if (how != wake_reason::timed_out || until <= scopes) return how;
  // The scope's deadline, not ours. If it was put off while we waited, it holds all the same: there is no way back.
  if (!cancelled_scope(a) && control) control->cancel(cancel_reason::deadline, 0);
  return wake_reason::cancelled;
}

}  // namespace detail

// --- checkpoints ---

// A fiber stays on its thread, so it reads the thread_local once and may be in line; for the others there is a function
// of its own, which knows nothing of the thread it began on.

void checkpoint() { detail::checkpoint_of_caller(); }

[[gnu::noinline]] detail::agent& detail::checkpoint_of_caller() {
  agent* const a = tl_agent;
  return passes_checkpoint(a) ? *a : checkpoint_slowly();
}

[[gnu::noinline]] detail::agent& detail::checkpoint_slowly() {
  agent& a = waiting_agent();
  detail::throw_if_cancelled_now(a);
  if (++a.turn >= 128) {
    a.turn = 0;
    detail::check_can_park(a);
    detail::take_turns();
    detail::throw_if_cancelled_now(a);
  }
  return a;
}

// Whether a fiber yields inside an algorithm costs half a switch to ask; see loop_core::run().
namespace {
[[gnu::noinline]] detail::departure yield_slowly() {
  detail::agent& a = detail::waiting_agent();
  detail::throw_if_cancelled_now(a);
  detail::take_turns();
  detail::throw_if_cancelled_now(a);
  return {};
}

[[gnu::noinline]] detail::departure is_back_already() {
  detail::has_yielded();
  return {};
}

[[gnu::noinline]] detail::departure depart() {
  return detail::tl_loop->depart(static_cast<detail::fiber_agent&>(*tl_agent), &is_back_already);
}
}  // namespace

detail::departure detail::begin_to_yield() {
  agent* const a = tl_agent;
  if (rarely(!is_uncancelled_fiber(a))) return yield_slowly();
#ifndef NDEBUG
  check_can_park(*a);
#endif
  a->home->ready(a);
  auto& f = static_cast<detail::fiber_agent&>(*a);
  return f.home->depart_at_once(f, &depart);
}

void detail::has_yielded() { throw_if_cancelled_now(*tl_agent); }

void sleep_until(clock::time_point when) {
  checkpoint();
  if (deadline(when).passed()) return;
  // The wait is over before anything is thrown: an exception is cheaper where it finds nothing to clear away.
  const wake_reason how = waiter(wait_kind::timer).suspend(when);
  if (how == wake_reason::cancelled) detail::throw_cancelled(detail::waiting_agent());
}

}  // namespace weft
