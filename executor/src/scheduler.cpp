#include "scheduler.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "runtime_core.hpp"
#include "switching.hpp"
#include "weft/config.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"

namespace weft {
namespace detail {

constinit thread_local agent* tl_agent = nullptr;
constinit thread_local loop_core* tl_loop = nullptr;
constinit thread_local bool tl_cpu_thread = false;
constinit thread_local std::uint32_t tl_here = 0;

// oneTBB moves stacks between its threads as it likes, when bodies of algorithms wait. So which CPU task runs here is
// not a thread's to know, but the stack's.
agent* agent_of_this_stack() noexcept {
  const runtime_core* rt = runtime_core::current();
  const stack_pool* stacks = rt ? rt->cpu_stacks() : nullptr;
  return stacks ? static_cast<fiber_agent*>(stacks->owner_of(__builtin_frame_address(0))) : nullptr;
}

// The body of an algorithm may run on the stack of its task, and of another. It is nobody there unless it is bound.
[[gnu::noinline]] agent* current_agent() noexcept {
  asm volatile("");
  if (!tl_cpu_thread) return tl_agent;
  agent* const a = agent_of_this_stack();
  return in_own_algorithm(a) ? bound_body() : a;
}
[[gnu::noinline]] loop_core* current_loop() noexcept {
  asm volatile("");
  return tl_loop;
}
[[gnu::noinline]] void set_current_agent(agent* a) noexcept {
  asm volatile("");
  tl_agent = a;
}

namespace {
std::atomic<std::uint32_t> loops_made{0};

// A beginning for random_below() that differs in all its bits from its neighbours' (Steele, Lea and Flood, Fast
// splittable pseudorandom number generators, 2014); not 0.
std::uint32_t scattered(std::uint64_t number) noexcept {
  std::uint64_t z = (number + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<std::uint32_t>(z >> 32) | 1;
}
}  // namespace

loop_core::loop_core(runtime_core& runtime, unsigned index, std::unique_ptr<driver> d, std::size_t stack_size,
                     std::size_t most_stacks)
    : runtime_(runtime),
      index_(index),
      token_((loops_made.fetch_add(1, std::memory_order_relaxed) + 1) << 8 | index),
      driver_(std::move(d)),
      outlook_(usable_cores() > 1),
      gate_(gate::take()),
      default_fibers_(&add_pool(stack_size, most_stacks)) {
  chance = scattered(token_);
}

loop_core::~loop_core() {
  gate::give_back(gate_);
  for (pool_list* p = pools_; p;) delete std::exchange(p, p->next);
}

fiber_pool& loop_core::add_pool(std::size_t stack_size, std::size_t most_stacks) {
  auto* p = new pool_list{std::make_unique<fiber_pool>(agent::kind::fiber, stack_size, most_stacks, &fiber_main),
                          pools_.load(std::memory_order_relaxed)};
  pools_.store(p, std::memory_order_release);
  return *p->pool;
}

std::uint64_t loop_core::next_id() noexcept { return (++ids_ << 8) | (index_ + 1); }

void loop_core::enter() noexcept {
  tl_loop = this;
  tl_here = is_pool_ ? 0 : token_;
  tl_gate = &gate_;
  tl_agent = nullptr;
  globals_ = thread_eh_globals();
  native_.make_native();
  thread.store(static_cast<unsigned long>(::pthread_self()), std::memory_order_relaxed);
  is_awake();
}

void loop_core::is_awake() noexcept {
  awake.store(true, std::memory_order_seq_cst);  // before it is read whether the watchdog rests; see there
  runtime_core::notice_busy();
}

void loop_core::leave() noexcept {
  awake.store(false, std::memory_order_relaxed);
  tl_loop = nullptr;
  tl_here = 0;
  tl_gate = &no_gate;
  tl_agent = nullptr;
}

void loop_core::take_last_mail() noexcept {
  enter();
  intake();
  leave();
}

void loop_core::post(runnable* newest, runnable* oldest) noexcept {
  if (inbox_.push(newest, oldest)) driver_->wake();
}

// --- choosing who runs ---

// A task that may start anywhere must not wait for ever behind fibers that are always ready, or newer ones.
void loop_core::push_a_spare() noexcept {
  if (spare_.empty() && ring_.empty()) return;
  const auto at = now();
  runnable* r = nullptr;
  if (at < turn_of_oldest_) {
    r = next_spare();
  } else {
    turn_of_oldest_ = at + spare_patience;
    r = ring_.pop();
    if (!r) r = spare_.pop_oldest();
  }
  if (r) ready_.push(r);
  if (runtime_.loops() > 1 && ring_.size() < spare_.size()) share();
}

fiber_pool& loop_core::pool_for(std::uint32_t stack_size) {
  if (stack_size == 0) return *default_fibers_;
  for (const pool_list* p = pools_; p; p = p->next)
    if (p->pool->stack_size() == stack_size) return *p->pool;
  return add_pool(stack_size, runtime_.settings().max_stacks);
}

[[gnu::noinline]] fiber_agent* loop_core::find_stack_for(runnable* r) noexcept {
  try {
    fiber_agent* f = pool_for(r->stack_size).take();
    if (f->home != this) f->home = this;  // once: other threads may read it
    return f;
  } catch (...) {
    // This may be the stack of a fiber that is being suspended. Nobody is to wait as that one here.
    agent* const leaving = std::exchange(tl_agent, nullptr);
    r->fail(std::current_exception());
    tl_agent = leaving;
    return nullptr;
  }
}

[[gnu::always_inline]] inline void loop_core::start_or_resume(fiber& from, runnable* r) noexcept {
  if (r->how == runnable::kind::resume) [[likely]] {
    switch_to(from, fiber_of(r));
  } else if (fiber_agent* f = stack_for(r)) {
    f->assigned = r;
    switch_to(from, *f);
  }
}

void loop_core::suspend(fiber_agent& me) noexcept { suspend_in_line(me); }

void loop_core::yield(fiber_agent& me) noexcept {
  ready_.push(&me);
  suspend_in_line(me);
}

// What runs on every fiber: one task after another. A stack whose task has ended goes to the next task that has not
// started, with no switch.
void loop_core::fiber_main(fiber& self) noexcept {
  auto& me = static_cast<fiber_agent&>(self);
  loop_core& loop = *me.home;
  fiber_pool& mine = loop.pool_for(me.size);  // where it came from
  for (;;) {
    runnable* r = std::exchange(me.assigned, nullptr);
    r->run();
    for (;;) {
      runnable* then = loop.next();
      if (then && then->how == runnable::kind::start) {
        const auto wanted = then->stack_size;
        if (me.size == (wanted == 0 ? loop.default_fibers_->stack_size() : wanted)) {
          me.assigned = then;
          break;
        }
      }
      mine.give_back(&me);  // nobody takes it before this thread has left it
      if (!then)
        loop.switch_to_loop(me);
      else
        loop.start_or_resume(me, then);
      // Either it was taken again and has a task, or the next task could not start.
      if (me.assigned) break;
      loop.switch_to_loop(me);
      break;
    }
  }
}

// --- the loop's own stack ---

void loop_core::accept(runnable* list) noexcept {
  while (list) {
    runnable* r = std::exchange(list, list->next);
    if (r->how == runnable::kind::call)
      r->run();
    else
      ready_.push(r);
  }
}

void loop_core::intake() noexcept { accept(inbox_.drain()); }

void loop_core::run_one(std::size_t i) noexcept { start_or_resume(native_, ready_.take(i)); }

// Tasks that may start anywhere are kept where only this loop takes them, for no price, and the ring is kept stocked
// for loops that come to steal. A loop that sleeps is seen here or in next_spare(), and then gets what there is.
void loop_core::offer(runnable* r) noexcept {
  if (simulated_) {
    ready_.push(r);
    return;
  }
  if (spare_.full()) ready_.push(spare_.pop_oldest());
  spare_.push(r);
  if (runtime_.loops() > 1 && (ring_.size() < spare_.size() || runtime_.idle.load(std::memory_order_relaxed) != 0))
    share();
}

// Half of the spare tasks, the older ones, go where every loop can take them.
[[gnu::noinline]] void loop_core::share() noexcept {
  for (auto n = (spare_.size() + 1) / 2; n > 0; --n) {
    runnable* const r = spare_.pop_oldest();
    if (ring_.push(r)) continue;
    ready_.push(r);
    break;
  }
  tell_idle();
}

// Dekker with sleep(): the task is in the ring before the mask is read; a sleeper sets its bit before it looks into the
// rings. Model: tests/model/steal_ring.pml. (A read-modify-write, which TSan understands; a fence it does not.)
void loop_core::tell_idle() noexcept {
  std::uint64_t sleepers = runtime_.idle.fetch_or(0, std::memory_order_seq_cst);
  while (sleepers != 0) {
    const std::uint64_t one = sleepers & -sleepers;
    if (runtime_.idle.fetch_and(~one, std::memory_order_acq_rel) & one) {
      runtime_.loop(static_cast<std::size_t>(__builtin_ctzll(one))).wake();
      return;
    }
    sleepers &= ~one;
  }
}

bool loop_core::steal() noexcept {
  const auto count = runtime_.loops();
  std::array<runnable*, steal_ring::most_stolen> loot;
  for (std::size_t i = 1; i < count; ++i) {
    const std::size_t n = runtime_.loop((index_ + i) % count).ring_.steal(loot);
    if (n == 0) continue;
    ready_.push(loot[0]);
    for (std::size_t k = 1; k < n; ++k)
      if (!ring_.push(loot[k])) ready_.push(loot[k]);
    if (n > 1) tell_idle();  // what is in this ring now may be taken on
    return true;
  }
  return false;
}

// A spawner may have claimed our bit to have its task taken, while we found other work. Then another sleeper must
// come for that task.
void loop_core::leave_idle(std::uint64_t mine) noexcept {
  if (runtime_.idle.fetch_and(~mine, std::memory_order_seq_cst) & mine) return;
  if (ready_.empty()) return;  // we go and look into the rings ourselves
  for (std::size_t i = 0; i < runtime_.loops(); ++i)
    if (!runtime_.loop(i).ring_.empty()) {
      tell_idle();
      return;
    }
}

// Before it sleeps. Events of IO do not start it, and it goes on asking for them.
bool loop_core::look_out() {
  const auto begin = now();
  const auto end = std::min(begin + outlook_.length(), timers_.earliest());
  auto next_poll = begin + std::chrono::microseconds(4);
  for (auto at = begin; at < end; at = now()) {
    for (int i = 0; i < 16; ++i) {
      if (!inbox_.empty()) {
        outlook_.found();
        return true;
      }
      pause_core();
    }
    if (at < next_poll) continue;
    if (driver_->poll(clock::time_point::min())) return true;  // perhaps a wake(), which must not be lost
    next_poll = at + std::chrono::microseconds(4);
  }
  outlook_.in_vain();
  return false;
}

void loop_core::sleep() {
  if (runtime_.closing()) runtime_.note_busy(*this, linked > 0);
  const std::uint64_t mine = index_ < 64 ? std::uint64_t{1} << index_ : 0;
  const bool steals = runtime_.loops() > 1;
  if (steals) {
    runtime_.idle.fetch_or(mine, std::memory_order_seq_cst);
    if (steal()) {
      leave_idle(mine);
      return;
    }
  }
  if (outlook_.length().count() > 0 && look_out()) {
    intake();
  } else if (inbox_.try_sleep()) {
    const auto since = outlook_.learns() ? now() : clock::time_point();
    awake.store(false, std::memory_order_relaxed);
    driver_->poll(timers_.earliest());
    is_awake();
    outlook_.slept(!inbox_.empty(), outlook_.learns() ? now() - since : outlook::duration(0));
    driver_->handle();
    intake();
  }
  if (steals) leave_idle(mine);
}

// A fiber that waits in a oneTBB algorithm is told so at once; one that yields there, which would cost half a switch to
// ask, here. Its dispatcher is on that fiber's stack, and what the other fibers do would corrupt it.
void loop_core::check_no_algorithm() const noexcept {
  if (!in_foreign_algorithm()) [[likely]]
    return;
  std::fputs(
      "weft: a fiber has yielded inside a oneTBB algorithm that it called itself, and other fibers of its loop have "
      "run "
      "inside it; call the algorithm in spawn_cpu (a debug build says which fiber)\n",
      stderr);
  std::abort();
}

void loop_core::run(const std::atomic<bool>& stop) {
  bool mail_only = false;
  while (!stop.load(std::memory_order_acquire)) {
    intake();
    if (!mail_only) {
      if (!timers_.empty()) timers_.fire(now());
      budget.store(switches_per_poll - 1, std::memory_order_relaxed);
      rounds.store(rounds.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      due.store(false, std::memory_order_relaxed);
    }
    mail_only = false;
    runnable* r = ready_.pop();
    if (!r) r = next_spare();
    if (r) {
      start_or_resume(native_, r);
      // Mail is taken in between, and counts as a switch.
      if (const unsigned left = budget.load(std::memory_order_relaxed); left > 0 && inbox_.has_mail()) {
        budget.store(left - 1, std::memory_order_relaxed);
        mail_only = left > 1 && !due.load(std::memory_order_relaxed);
        if (mail_only) continue;
      }
      if (budget.load(std::memory_order_relaxed) == 0 || due.load(std::memory_order_relaxed)) {
        // Fibers are still ready: look at the world, but do not sleep.
        check_no_algorithm();
        driver_->poll(clock::time_point::min());
        push_a_spare();
        default_fibers_->tidy(2);
      }
      continue;
    }
    default_fibers_->tidy(8);
    if (records.tidy(256))
      driver_->poll(clock::time_point::min());  // there is more to tidy before it sleeps
    else
      sleep();
  }
}

}  // namespace detail

bool on_a_loop() noexcept { return detail::tl_loop && !detail::tl_loop->is_pool(); }

namespace detail {

std::uint32_t require_loop() {
  (void)this_loop();
  return tl_here;
}
std::uint32_t token_of(unsigned loop) noexcept { return tl_loop->runtime().loop(loop).token(); }
std::string describe_loop(std::uint32_t token) {
  const unsigned index = token & 0xff;
  const visit here;
  const bool lives = here.runtime() && index < here.runtime()->loops() && here.runtime()->loop(index).token() == token;
  return "loop " + std::to_string(index) + (lives ? "" : " of a runtime that has ended");
}
// xorshift (Marsaglia, 2003), scaled to the bound.
std::uint32_t random_below(std::uint32_t bound) noexcept {
  static std::atomic<std::uint32_t> threads{0};
  constinit thread_local std::uint32_t of_thread = 0;
  loop_core* const here = current_loop();
  std::uint32_t& x = here ? here->chance : of_thread;
  if (x == 0) x = scattered(std::uint64_t{threads.fetch_add(1, std::memory_order_relaxed)} << 32);
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return static_cast<std::uint32_t>((std::uint64_t{x} * bound) >> 32);
}
int this_epoll() {
  (void)this_io_context();
  return tl_loop->io().epoll();
}
void arm(timer& t, clock::time_point when) { tl_loop->arm(t, when); }
void disarm(timer& t) noexcept { tl_loop->disarm(t); }

}  // namespace detail

unsigned this_loop() {
  if (!on_a_loop()) throw no_runtime("this_loop(), called off a loop,");
  return detail::tl_loop->index();
}

unsigned loop_count() {
  const detail::visit here;
  if (!here.runtime()) throw no_runtime("loop_count()");
  return static_cast<unsigned>(here.runtime()->loops());
}

asio::io_context& this_io_context() {
  if (!on_a_loop()) throw no_runtime("this_io_context(), called off a loop,");
  return detail::tl_loop->io().context();
}

clock::time_point clock::now() noexcept {
  if (detail::loop_core* loop = detail::current_loop()) return loop->now();
  return clock::time_point(
      std::chrono::duration_cast<clock::duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

clock::time_point detail::now_or_later() noexcept {
  if (loop_core* loop = current_loop()) return loop->now_or_later();
  return clock::now();
}

}  // namespace weft
