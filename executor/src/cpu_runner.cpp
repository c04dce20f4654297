#include "cpu_runner.hpp"

#include <new>
#include <optional>

#include "cancellation.hpp"
#include "overflow.hpp"
#include "thread_agent.hpp"
#include "weft/cpu_pool.hpp"
#include "weft/error.hpp"

namespace weft::detail {

cpu_runner::cpu_runner(const config& c, slab_place where)
    : queue_(c),
      places_(c.cpu_workers),
      fibers_(agent::kind::cpu, c.cpu_stack_size, c.max_stacks, &cpu_runner::fiber_main, where) {}

namespace {

// The exchange is the one transition that says who resumes: the parker, if the waker came first, else the waker.
void deliver(agent& a) noexcept {
  auto& f = static_cast<fiber_agent&>(a);
  // From outside: a worker may take it as soon as it is queued, and the runtime end, before that is all done.
  std::optional<visit> guest;
  if (!runs_for_weft()) guest.emplace();
  if (f.park.exchange(fiber_agent::parking::woken, std::memory_order_acq_rel) == fiber_agent::parking::parked)
    static_cast<cpu_runner&>(runtime_core::current()->cpu()).resume(f);
}

}  // namespace

void refuse(cpu_task& task, cpu_queue::answer why) noexcept {
  task.fail_off_loop(std::make_exception_ptr(overloaded(
      why == cpu_queue::answer::full
          ? "overloaded: config.cpu_queue CPU tasks wait for a worker already"
          : "overloaded: CPU tasks wait longer than config.cpu_target for a worker; only high priority comes in")));
}

void expire(cpu_task& task) noexcept {
  task.fail_off_loop(std::make_exception_ptr(
      timed_out("timed out: cpu_options.start_by had passed when a worker came to the task, which was not started")));
}

void cpu_runner::start(task_core& task) {
  auto& entry = static_cast<cpu_task&>(task);
  if (const auto answer = queue_.offer(entry); answer != cpu_queue::answer::welcome) [[unlikely]] {
    refuse(entry, answer);
    return;
  }
  call_worker();
}

void cpu_runner::resume(fiber_agent& f) noexcept {
  queue_.push(f);
  call_worker();
}

// --- tokens ---

// What was queued is there for every worker to take, so it cannot be taken back: a token for which there is no memory
// is sent later.
void cpu_runner::call_worker() noexcept {
  if (!take_token()) return;
  try {
    send_token();
  } catch (const std::bad_alloc&) {
    tokens_.fetch_sub(1, std::memory_order_seq_cst);
    call_again_.post();
  }
}

// Counted like a spawn: no loop stops with the message under way.
void cpu_runner::later::post() noexcept {
  if (posted_.exchange(true, std::memory_order_seq_cst)) return;
  runtime_core& rt = *runtime_core::current();
  rt.in_flight.fetch_add(1, std::memory_order_seq_cst);
  rt.any_loop().post(this);
}

void cpu_runner::later::run() noexcept {
  posted_.store(false, std::memory_order_seq_cst);
  if (pool_.queue_.has_any()) pool_.call_worker();  // which may post it again: the loop's fibers run in between
  tl_loop->runtime().in_flight.fetch_sub(1, std::memory_order_seq_cst);
}

// After an entry was queued, or the queue was seen not to be empty.
bool cpu_runner::take_token() noexcept {
  auto n = tokens_.load(std::memory_order_seq_cst);
  do {
    if (n >= places_.load(std::memory_order_seq_cst)) return false;
  } while (!tokens_.compare_exchange_weak(n, n + 1, std::memory_order_seq_cst));
  return true;
}

bool cpu_runner::use_token() noexcept {
  if (serve(entries_a_token)) return true;
  tokens_.fetch_sub(1, std::memory_order_seq_cst);
  return queue_.has_any() && take_token();
}

void cpu_runner::add_place() noexcept {
  places_.fetch_add(1, std::memory_order_seq_cst);
  if (queue_.has_any()) call_worker();
}

// --- serving ---

bool cpu_runner::serve(unsigned most) noexcept {
  prepare_thread_for_overflow();
  set_runs_for_weft(true);
  seat here(*this, most);
  here.make_native();
  while (cpu_entry* const e = here.next ? std::exchange(here.next, nullptr) : pop(here)) {
    if (e->resumed) {
      // Others may need its place, and what is resumed has a stack.
      if (here.spare) give_back(std::exchange(here.spare, nullptr));
      enter(here, *static_cast<fiber_agent*>(e));
    } else if (fiber_agent* const f = stack_for(here, static_cast<cpu_task&>(*e))) {
      enter(here, *f);
    } else {
      served_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (here.spare) give_back(here.spare);
  return here.left == 0;
}

// Null when the token has served enough, or there is nothing left.
cpu_entry* cpu_runner::pop(seat& at) noexcept {
  if (at.left == 0) return nullptr;
  cpu_entry* const e = queue_.pop();
  if (e) --at.left;
  return e;
}

bool cpu_runner::has_expired(cpu_task& task) noexcept {
  if (!task.start_by.passed()) return false;
  expired_.fetch_add(1, std::memory_order_relaxed);
  expire(task);
  return true;
}

// The stack it is to run on; null when it has ended already.
fiber_agent* cpu_runner::stack_for(seat& here, cpu_task& task) noexcept {
  if (has_expired(task)) return nullptr;
  fiber_agent* f = std::exchange(here.spare, nullptr);
  if (!f) {
    try {
      const std::lock_guard lock(mutex_);
      f = fibers_.take();
    } catch (...) {
      task.fail_off_loop(std::current_exception());
      return nullptr;
    }
    f->deliver = &deliver;
    f->resumed = true;  // whenever it is queued
  }
  f->assigned = &task;
  f->rank = task.rank;
  return f;
}

void cpu_runner::give_back(fiber_agent* f) noexcept {
  const std::lock_guard lock(mutex_);
  fibers_.give_back(f);
  fibers_.tidy(1);
}

cpu_counts cpu_runner::counts() const noexcept {
  const std::uint64_t served = served_.load(std::memory_order_relaxed);
  const std::uint64_t popped = queue_.popped();
  return {.busy = popped > served ? popped - served : 0,  // popped is ahead, but may have been seen earlier
          .queued = queue_.length(),
          .served = popped,
          .expired = expired_.load(std::memory_order_relaxed),
          .refused = queue_.refused(),
          .refusing = queue_.shedding(),
          .waited = queue_.waited()};
}

// On the worker's own stack. Afterwards the task is done, or parked and not ours any more.
void cpu_runner::enter(seat& here, fiber_agent& f) noexcept {
  f.finished = false;
  for (;;) {
    f.worker = &here;
    f.entered_in = algorithm_context();
    f.park.store(fiber_agent::parking::running, std::memory_order_relaxed);
    fiber::switch_to<true>(here, f, thread_eh_globals());
    if (f.finished) {
      here.spare = &f;
      break;
    }
    // Only now, off its stack, may another worker have it.
    auto expected = fiber_agent::parking::running;
    if (f.park.compare_exchange_strong(expected, fiber_agent::parking::parked, std::memory_order_acq_rel)) break;
  }
  served_.fetch_add(1, std::memory_order_relaxed);
}

void cpu_runner::park(fiber_agent& f) noexcept { fiber::switch_to<true>(f, *f.worker, thread_eh_globals()); }

// A task has ended on f. True when it has another, which has not started yet and so goes on here, with no switch.
bool cpu_runner::assign_next(seat& here, fiber_agent& f) noexcept {
  while (cpu_entry* const e = pop(here)) {
    if (e->resumed) {
      here.next = e;
      return false;
    }
    served_.fetch_add(1, std::memory_order_relaxed);  // the one before
    auto& task = static_cast<cpu_task&>(*e);
    if (has_expired(task)) continue;
    f.assigned = &task;
    f.rank = task.rank;
    return true;
  }
  return false;
}

// When the last task has ended the runtime may be gone from sight, but not the pool, which waits for its workers.
void cpu_runner::fiber_main(fiber& self) noexcept {
  auto& me = static_cast<fiber_agent&>(self);
  for (;;) {
    static_cast<task_core*>(std::exchange(me.assigned, nullptr))->run_off_loop(me);
    auto& here = static_cast<seat&>(*me.worker);
    if (here.pool.assign_next(here, me)) continue;
    me.finished = true;
    park(me);
  }
}

void start_cpu_task(task_core& task) {
  start_off_loop(task, [](task_core& t) { runtime_core::current()->cpu().start(t); });
}

// --- waits off the loops ---

namespace {

// A deadline of a wait off the loops, kept by a loop: one message arms it, another takes it away.
struct remote_alarm final : message {
  struct removal final : message {
    explicit removal(remote_alarm& a) noexcept : what(a) {}
    void run() noexcept override {
      tl_loop->disarm(what.alarm_);
      delete &what;
    }
    remote_alarm& what;
  };
  struct node : timer {
    remote_alarm* back = nullptr;
  };

  remote_alarm(agent& a, std::uint64_t w, deadline d) noexcept : who(a), word(w), until(d) {
    alarm_.back = this;
    alarm_.expired = [](timer& t) noexcept {
      const auto& self = *static_cast<node&>(t).back;
      decide(self.who, self.word, wake_reason::timed_out);
    };
  }
  void run() noexcept override {
    try {
      tl_loop->arm(alarm_, until.when());
    } catch (const std::bad_alloc&) {  // as in waiter::park_timed()
      decide(who, word, wake_reason::timed_out);
    }
  }

  agent& who;
  const std::uint64_t word;
  const deadline until;
  node alarm_;
  removal off{*this};
};

}  // namespace

void park_off_loop(agent& a, std::uint64_t word, deadline until) {
  if (a.what == agent::kind::thread) {
    static_cast<thread_agent&>(a).block(until);
    return;
  }
  remote_alarm* alarm = nullptr;
  loop_core* keeper = nullptr;
  if (!until.is_never()) {
    keeper = a.task ? a.task->origin : &runtime_core::current()->any_loop();
    alarm = new remote_alarm(a, word, until);
    keeper->post(alarm);
  }
  struct disarm {
    loop_core* keeper;
    remote_alarm* alarm;
    ~disarm() {
      if (alarm) keeper->post(&alarm->off);
    }
  } const guard{keeper, alarm};
  if (a.what == agent::kind::cpu)
    cpu_runner::park(static_cast<fiber_agent&>(a));
  else
    park_body(a, word);
}

}  // namespace weft::detail
