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
void check_fp_control(const agent& a) {
  if (a.what != agent::kind::fiber && a.what != agent::kind::cpu) return;
  if (fp_control() == runtime_core::current()->fp_control_at_start) return;
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

waiter::~waiter() { detail::take_back(agent_, word_); }

wake_reason waiter::suspend(deadline until) { return park(until, false); }
wake_reason waiter::suspend_shielded(deadline until) { return park(until, true); }

namespace {

struct alarm : detail::timer {
  detail::agent* who;
  std::uint64_t word;

  alarm(detail::agent& a, std::uint64_t w) noexcept : who(&a), word(w) {
    expired = [](detail::timer& t) noexcept {
      const auto& self = static_cast<alarm&>(t);
      detail::decide(*self.who, self.word, wake_reason::timed_out);
    };
  }
};

}  // namespace

namespace {
/// Wakes a wait off the loops when a scope around it is cancelled that has a control.
struct told {
  detail::agent& who;
  std::uint64_t word;
  void operator()() const noexcept { detail::decide(who, word, wake_reason::cancelled); }
};
}  // namespace

wake_reason waiter::reason() const noexcept {
  return static_cast<wake_reason>(agent_.word.load(std::memory_order_acquire) & detail::agent::state_mask);
}

wake_reason waiter::park(deadline until, bool deaf) {
  using detail::agent;
  agent& a = agent_;
  if (a.what != agent::kind::fiber) return park_off_loops(until, deaf);
  if (!deaf && detail::may_be_cancelled(a) && detail::cancelled_before_parking(a) &&
      detail::decide_own(a, word_, wake_reason::cancelled))
    return wake_reason::cancelled;
  a.turn = 0;
  a.cancellable.store(!deaf, std::memory_order_relaxed);
  // A deadline inherited from a task that may be gone is kept by the wait itself.
  const bool timed = !until.is_never() || (!deaf && a.task && !a.task->own.until().is_never());
  const wake_reason how = timed ? park_timed(until, deaf) : park_untimed();
  a.cancellable.store(false, std::memory_order_relaxed);
  return how;
}

inline wake_reason waiter::park_untimed() noexcept {
  agent_.home->suspend(static_cast<detail::fiber_agent&>(agent_));
  return reason();
}

wake_reason waiter::park_timed(deadline until, bool deaf) {
  detail::agent& a = agent_;
  const deadline inherited = deaf || !a.task ? deadline::never() : detail::inherited_deadline(a);
  const deadline earliest = std::min(until, inherited);
  if (earliest.is_never()) return park_untimed();
  alarm timer(a, word_);
  bool parks = true;
  try {
    a.home->arm(timer, earliest.when());
  } catch (const std::bad_alloc&) {
    // Without a timer the wait could last for ever. Whoever was faster has resumed the fiber already: take that.
    parks = !detail::decide_own(a, word_, wake_reason::timed_out);
  }
  if (parks) a.home->suspend(static_cast<detail::fiber_agent&>(a));
  a.home->disarm(timer);
  if (reason() == wake_reason::timed_out && until > inherited) {
    a.task->own.cancel_here(cancel_reason::deadline, 0);
    a.hint.store(true, std::memory_order_relaxed);  // a simulated CPU task's scope does not know its fiber
    return wake_reason::cancelled;
  }
  return reason();
}

wake_reason waiter::park_off_loops(deadline until, bool deaf) {
  detail::agent& a = agent_;
  // Off the loops nobody watches the deadlines of scopes: the wait does.
  const deadline scopes = deaf ? deadline::never() : detail::deadline_of_scopes(a);
  const deadline earliest = std::min(until, scopes);
  std::optional<std::stop_callback<told>> ear;
  detail::scope_control* control = nullptr;
  if (!deaf) {
    control = detail::control_in_force(a);
    // Dekker with task_core::request_cancel(): `cancellable` is written before the scope is read; a canceller marks
    // the scope before it reads `cancellable`.
    a.reach.store(detail::outermost_depth(a), std::memory_order_relaxed);
    a.cancellable.exchange(true, std::memory_order_seq_cst);
    if (control) ear.emplace(control->token(), told{a, word_});
    if (detail::cancelled_scope(a) && detail::decide_own(a, word_, wake_reason::cancelled)) {
      a.cancellable.store(false, std::memory_order_relaxed);
      return wake_reason::cancelled;
    }
  }
  try {
    detail::park_off_loop(a, word_, earliest);
  } catch (const std::bad_alloc&) {  // as in park_timed()
    if (!detail::decide_own(a, word_, wake_reason::timed_out)) detail::park_off_loop(a, word_, deadline::never());
  }
  a.cancellable.store(false, std::memory_order_release);
  const auto how = reason();
  if (how != wake_reason::timed_out || until <= scopes) return how;
  // The scope's deadline, not ours. If it was put off while we waited, it holds all the same: there is no way back.
  if (!detail::cancelled_scope(a) && control) control->cancel(cancel_reason::deadline, 0);
  return wake_reason::cancelled;
}

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
[[gnu::noinline]] void yield_slowly() {
  detail::agent& a = detail::waiting_agent();
  detail::throw_if_cancelled_now(a);
  detail::take_turns();
  detail::throw_if_cancelled_now(a);
}
}  // namespace

void yield() {
  detail::agent* const a = detail::tl_agent;
  if (!detail::is_uncancelled_fiber(a)) [[unlikely]]
    return yield_slowly();
#ifndef NDEBUG
  detail::check_can_park(*a);
#endif
  a->home->yield(static_cast<detail::fiber_agent&>(*a));
  detail::throw_if_cancelled_now(*a);
}

void sleep_until(clock::time_point when) {
  checkpoint();
  if (deadline(when).passed()) return;
  waiter w(wait_kind::timer);
  if (w.suspend(when) == wake_reason::cancelled) detail::throw_cancelled(detail::waiting_agent());
}

}  // namespace weft
