#pragma once
// One event loop: who runs next on this core.
//
// Who may touch what:
//   inbox_, and wake()   any thread.
//   ring_                this loop fills it, any loop empties it.
//   due_                 raised by the watchdog, lowered by the loop.
//   budget, rounds       written by the loop, read by the watchdog.
//   schedule.trust()     the watchdog.
//   all else             the loop's thread only; no locks.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>

#include "driver.hpp"
#include "fiber_agent.hpp"
#include "fiber_pool.hpp"
#include "inbox.hpp"
#include "outlook.hpp"
#include "record_cache.hpp"
#include "run_queue.hpp"
#include "spare_tasks.hpp"
#include "steal_ring.hpp"
#include "thread_priority.hpp"
#include "timer_queue.hpp"
#include "weft/cancel.hpp"
#include "weft/gate.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

class runtime_core;
class loop_core;
class task_core;

// What the calling thread is doing. Only functions that cannot span a CPU task's wait may read them directly; the
// others call current_agent() and current_loop(), which the compiler cannot cache.
// (constinit: or each access would ask whether they are initialised. initial-exec: or each would be a call to find
// where they are, which the linker takes out, but with it the registers that calls cost.)
[[gnu::tls_model("initial-exec")]] extern constinit thread_local agent* tl_agent;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local loop_core* tl_loop;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local bool tl_cpu_thread;  ///< a thread of the CPU pool
loop_core* current_loop() noexcept;
/// Tells the core that the caller looks at one word again and again.
inline void pause_core() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
void set_current_agent(agent* a) noexcept;

class loop_core {
 public:
  /// Polled at least this often, in switches and stack hand-ons, so that fibers that never wait for IO cannot starve
  /// it.
  static constexpr unsigned switches_per_poll = 256;
  /// Ids of tasks have the loop in their low byte; 0 and 255 are taken.
  static constexpr unsigned most_loops = 254;

  loop_core(runtime_core& runtime, unsigned index, std::unique_ptr<driver> d, std::size_t stack_size,
            std::size_t most_stacks);
  ~loop_core();
  loop_core(const loop_core&) = delete;
  loop_core& operator=(const loop_core&) = delete;

  // --- any thread ---

  /// Hands r to this loop, and wakes it if it sleeps.
  void post(runnable* r) noexcept { post(r, r); }
  /// The same for several, linked by `next` from the newest to the oldest.
  void post(runnable* newest, runnable* oldest) noexcept;
  void wake() noexcept { driver_->wake(); }
  /// The runtime closes: every task here is to be cancelled. Once.
  void cancel_all() noexcept { post(&calls_off_); }
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] std::uint32_t token() const noexcept { return token_; }
  [[nodiscard]] runtime_core& runtime() const noexcept { return runtime_; }

  // --- the loop's thread ---

  /// Runs until stop is true. On the thread's own stack.
  void run(const std::atomic<bool>& stop);

  /// Makes the loop the calling thread's, and undoes it.
  void enter() noexcept;
  void leave() noexcept;
  /// When it has run for the last time, and nobody sends any more.
  void take_last_mail() noexcept;

  void ready(runnable* r) noexcept { ready_.push(r); }
  /// A task that may start anywhere: other loops can take it when they have nothing to do.
  void offer(runnable* r) noexcept;

  /// Leaves the running fiber for whoever is ready next. Comes back when it is resumed.
  void suspend(fiber_agent& me) noexcept;
  // In line, see switching.hpp.
  void suspend_in_line(fiber_agent& me) noexcept;
  /// suspend() but for the jump; where there is to be none, with it, and then back().
  template <class Back>
  [[nodiscard]] departure depart(fiber_agent& me, Back back);
  /// The same where the next is a fiber that just goes on: without a call, so who returns what it gives saves no
  /// registers. Where it is not, what slowly() gives, which is to depart().
  template <class Slowly>
  [[nodiscard]] departure depart_at_once(fiber_agent& me, Slowly slowly);
  /// suspend(), with the caller behind whoever is ready now.
  void yield(fiber_agent& me) noexcept;

  void arm(timer& t, clock::time_point when) { timers_.add(t, when); }
  void disarm(timer& t) noexcept { timers_.remove(t); }

  [[nodiscard]] clock::time_point now() const noexcept { return driver_->now(); }
  [[nodiscard]] clock::time_point now_or_later() noexcept { return driver_->now_or_later(); }
  /// std::uncaught_exceptions() of the running fiber, without a call.
  [[nodiscard]] unsigned uncaught() const noexcept { return globals_->uncaught; }
  [[nodiscard]] driver& io() noexcept { return *driver_; }
  [[nodiscard]] fiber_pool& fibers() noexcept { return *default_fibers_; }
  [[nodiscard]] const fiber_pool& fibers() const noexcept { return *default_fibers_; }
  [[nodiscard]] std::uint64_t next_id() noexcept;
  /// Calls f(pool) for each of its pools of fibers. Any thread.
  template <class F>
  void for_each_pool(F f) const {
    for (const pool_list* p = pools_.load(std::memory_order_acquire); p; p = p->next) f(*p->pool);
  }

  record_cache records;

  /// Children of no task: detached ones, those spawned from outside, those whose parent has ended.
  scope root;
  /// Records in lists that this loop owns.
  std::uint64_t linked = 0;
  bool counted_busy = false;

  // --- the watchdog ---
  std::atomic<bool> due{false};
  std::atomic<unsigned> budget{0};       ///< switches left until it looks at the world
  std::atomic<std::uint64_t> rounds{0};  ///< how often the budget was renewed
  [[nodiscard]] std::uint64_t switches() const noexcept {
    return rounds.load(std::memory_order_relaxed) * switches_per_poll - budget.load(std::memory_order_relaxed);
  }
  std::atomic<bool> awake{false};  ///< false while it blocks in its driver
  std::atomic<fiber_agent*> running{nullptr};
  std::atomic<unsigned long> thread{0};  ///< pthread_t of the loop's thread
  loop_schedule schedule;

  /// For random_below().
  std::uint32_t chance = 0;

  // --- simulation: steps chosen by a seed ---
  [[nodiscard]] std::size_t ready_count() const noexcept { return ready_.size(); }
  void run_one(std::size_t i) noexcept;
  void intake() noexcept;
  [[nodiscard]] clock::time_point next_timer() const noexcept { return timers_.earliest(); }
  void fire_timers(clock::time_point when) noexcept { timers_.fire(when); }
  [[nodiscard]] bool has_mail() const noexcept { return !inbox_.empty(); }
  void set_simulated(bool pool) noexcept {
    simulated_ = true;
    is_pool_ = pool;
  }
  [[nodiscard]] bool simulated() const noexcept { return simulated_; }
  /// A simulated CPU or blocking pool: its fibers are no fibers of a loop to the program.
  [[nodiscard]] bool is_pool() const noexcept { return is_pool_; }

 private:
  friend class runtime_core;

  struct calls_off final : message {
    explicit calls_off(loop_core& l) noexcept : loop(l) {}
    void run() noexcept override { loop.root.cancel_here(cancel_reason::shutdown, 0); }
    loop_core& loop;
  };

  static void fiber_main(fiber& self) noexcept;
  void is_awake() noexcept;
  runnable* next() noexcept;
  static void fetch(const runnable& r) noexcept;
  fiber_agent* stack_for(runnable* r) noexcept;
  fiber_agent* find_stack_for(runnable* r) noexcept;
  fiber_pool& pool_for(std::uint32_t stack_size);
  fiber_pool& add_pool(std::size_t stack_size, std::size_t most_stacks);
  void becomes(fiber_agent* who) noexcept {
    tl_agent = who;
    running.store(who, std::memory_order_relaxed);
  }
  [[nodiscard]] bool must_look(unsigned left) const noexcept;
  fiber* next_fiber(const fiber_agent& me) noexcept;
  void switch_to(fiber& from, fiber_agent& to) noexcept;
  void switch_to_loop(fiber& from) noexcept;
  void start_or_resume(fiber& from, runnable* r) noexcept;
  void accept(runnable* list) noexcept;
  runnable* next_spare() noexcept;
  void push_a_spare() noexcept;
  void share() noexcept;
  void tell_idle() noexcept;
  void leave_idle(std::uint64_t mine) noexcept;
  bool steal() noexcept;
  void check_no_algorithm() const noexcept;
  void sleep();
  bool look_out();

  runtime_core& runtime_;
  const unsigned index_;
  const std::uint32_t token_;
  std::unique_ptr<driver> driver_;
  fiber native_;
  eh_globals* globals_ = nullptr;
  bool simulated_ = false;
  bool is_pool_ = false;
  std::uint64_t ids_ = 0;
  run_queue ready_;
  spare_tasks spare_;
  // The longest that the oldest of the spare tasks waits for its turn to be the next, while newer ones are.
  static constexpr std::chrono::milliseconds spare_patience{4};
  clock::time_point turn_of_oldest_;
  timer_queue timers_;

  outlook outlook_;

  // One pool for each size of stack that was asked for; the list only grows, so any thread may read it.
  struct pool_list {
    std::unique_ptr<fiber_pool> pool;
    pool_list* next;
  };
  std::atomic<pool_list*> pools_{nullptr};
  gate& gate_;
  fiber_pool* default_fibers_;
  calls_off calls_off_{*this};
  alignas(64) inbox inbox_;
  steal_ring ring_;
};

}  // namespace weft::detail
