#include "weft/runtime.hpp"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "asio_driver.hpp"
#include "overflow.hpp"
#include "runtime_core.hpp"
#include "thread_agent.hpp"
#include "thread_priority.hpp"
#include "watchdog.hpp"
#include "weft/statistics.hpp"

namespace weft {

unsigned usable_cores() noexcept {
  unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  cpu_set_t mask;
  if (::sched_getaffinity(0, sizeof(mask), &mask) == 0) cores = static_cast<unsigned>(std::max(1, CPU_COUNT(&mask)));
  // cgroup v2: "<quota> <period>" in microseconds, or "max <period>". Rounded up, so that a quota of 1.5 gives 2.
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (quota_file >> quota >> period && quota > 0 && period > 0)
    cores = std::min(cores, std::max(1U, static_cast<unsigned>((quota + period - 1) / period)));
  return cores;
}

namespace detail {

namespace {
thread_local bool tl_runs_for_weft = false;

void print_error(const task_info& task, const std::exception_ptr& error) noexcept {
  try {
    std::fprintf(stderr, "weft: task %s failed and nobody took its error: %s\n", to_string(task).c_str(),
                 text_of(error).c_str());
  } catch (...) {
    std::fputs("weft: a task failed, and there is no memory to say more\n", stderr);
  }
}

}  // namespace

[[gnu::noinline]] bool runs_for_weft() noexcept {
  asm volatile("");
  return tl_runs_for_weft;
}
[[gnu::noinline]] void set_runs_for_weft(bool yes) noexcept { tl_runs_for_weft = yes; }

std::atomic<std::int64_t>& visit::visitors() noexcept {
  static std::atomic<std::int64_t> count{0};
  return count;
}

void visit::wait_for_all() noexcept {
  while (visitors().load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

// Dekker with close(): the visit is counted before `closing` is read.
runtime_core* visit::with_pools() const noexcept {
  runtime_core* const rt = runtime();
  return rt && (!rt->closing() || runs_for_weft()) ? rt : nullptr;
}

std::atomic<bool> runtime_core::claimed_{false};
std::atomic<runtime_core*> runtime_core::current_{nullptr};

void runtime_core::validate(const config& c) {
  const auto check = [](bool good, const std::string& what) {
    if (!good) throw std::invalid_argument("weft::config." + what);
  };
  check(c.loops > 0, "loops is 0; there must be at least one event loop");
  check(c.loops <= loop_core::most_loops,
        "loops is " + std::to_string(c.loops) + "; there can be at most " + std::to_string(loop_core::most_loops));
  check(c.cpu_workers > 0, "cpu_workers is 0; spawn_cpu needs at least one worker");
  check(c.cpu_queue > 0, "cpu_queue is 0; a task for spawn_cpu must be allowed to wait for a worker");
  check(c.blocking_threads > 0, "blocking_threads is 0; spawn_blocking needs at least one thread");
  check(c.max_stacks > 0, "max_stacks is 0; a task that starts needs a stack");
  for (const auto& [size, name] :
       {std::pair(c.stack_size, "stack_size"), std::pair(c.cpu_stack_size, "cpu_stack_size")})
    check(size >= min_stack_size && size <= max_stack_size,
          std::string(name) + " is " + std::to_string(size) + " bytes; it must be between " +
              std::to_string(min_stack_size) + " and " + std::to_string(max_stack_size));
}

void runtime_core::claim_process() {
  if (tl_loop) throw std::logic_error("weft::run inside weft::run: use spawn() and get() in here");
  if (claimed_.exchange(true, std::memory_order_seq_cst))
    throw std::logic_error("a weft runtime exists in this process already; there can be one at a time");
}
void runtime_core::give_up_process() noexcept { claimed_.store(false, std::memory_order_seq_cst); }

// Threads outside weft may be handing something over.
void runtime_core::hide() noexcept {
  current_.store(nullptr, std::memory_order_seq_cst);
  visit::wait_for_all();
}

runtime_core::runtime_core(config c) : config_(std::move(c)) {
  validate(config_);
  claim_process();
  // Asked for the first time in a process with threads, the kernel takes 10 to 25 ms to answer; so not on a loop.
  (void)can_fence_all_threads();
  try {
    if (config_.loop_threads == loop_scheduling::realtime)
      if (const int why_not = may_be_realtime()) {
        config_.loop_threads = loop_scheduling::normal;
        std::fprintf(stderr,
                     "weft: the event loops are not real-time: %s (it takes CAP_SYS_NICE, or an RLIMIT_RTPRIO of 2)\n",
                     std::generic_category().message(why_not).c_str());
      }
    for (unsigned i = 0; i < config_.loops; ++i)
      loops_.push_back(std::make_unique<loop_core>(*this, i, std::make_unique<asio_driver>(), config_.stack_size,
                                                   config_.max_stacks));
    busy_loops_.store(static_cast<int>(loops_.size()));
    for (auto& l : loops_) l->counted_busy = true;
    cpu_ = make_cpu_pool(config_);
    blocking_ = make_blocking_pool(config_);
    if (config_.report_stack_overflow) install_overflow_reporter();
    watchdog_ = std::make_unique<watchdog>(*this);
    threads_.reserve(loops_.size());
    show();
    for (std::size_t i = 1; i < loops_.size(); ++i)
      threads_.emplace_back([this, i] {
        set_runs_for_weft(true);
        prepare_thread_for_overflow();
        drive(*loops_[i], stop_);
      });
  } catch (...) {
    hide();
    stop_ = true;
    for (auto& l : loops_) l->wake();
    for (auto& t : threads_) t.join();
    watchdog_.reset();
    if (config_.report_stack_overflow && blocking_) remove_overflow_reporter();
    give_up_process();
    throw;
  }
}

runtime_core::runtime_core(config c, for_simulation) : config_(std::move(c)), simulated_(true) {
  validate(config_);
  claim_process();
  show();
}

runtime_core::~runtime_core() {
  hide();
  // What came when a loop had stopped already, or was about to: its senders have gone.
  for (auto& l : loops_) l->take_last_mail();
  give_up_process();
}

loop_core& runtime_core::any_loop() noexcept {
  if (loop_core* here = current_loop()) return *here;
  return *loops_[next_loop_.fetch_add(1, std::memory_order_relaxed) % config_.loops];
}

void runtime_core::drive(const std::atomic<bool>& done) {
  const bool before = runs_for_weft();
  set_runs_for_weft(true);
  if (config_.report_stack_overflow) prepare_thread_for_overflow();
  drive(*loops_[0], done);
  set_runs_for_weft(before);
}

void runtime_core::drive(loop_core& loop, const std::atomic<bool>& done) {
  struct scheduled {
    loop_schedule& schedule;
    ~scheduled() { schedule.end(); }
  };
  loop.schedule.begin(config_.cpu_threads, config_.loop_threads);
  const scheduled here{loop.schedule};
  loop.enter();
  loop.run(done);
  loop.leave();
}

// --- the end ---

void runtime_core::note_busy(loop_core& l, bool busy) noexcept {
  if (l.counted_busy != busy) {
    l.counted_busy = busy;
    busy_loops_.fetch_add(busy ? 1 : -1, std::memory_order_seq_cst);
  }
  if (!busy) stop_if_quiet();
}

// Nothing can become busy again: what no loop owns and what no loop is about to adopt does not exist.
void runtime_core::stop_if_quiet() noexcept {
  if (busy_loops_.load(std::memory_order_seq_cst) != 0 || in_flight.load(std::memory_order_seq_cst) != 0) return;
  if (stop_.exchange(true)) return;
  for (auto& l : loops_) l->wake();
}

void runtime_core::give_up_spawn() noexcept {
  in_flight.fetch_sub(1, std::memory_order_seq_cst);
  for (auto& l : loops_) l->wake();
}

void runtime_core::close() noexcept {
  closing_.store(true, std::memory_order_seq_cst);
  for (auto& l : loops_) l->cancel_all();
  drive(stop_);
  for (auto& t : threads_) t.join();
  threads_.clear();
  watchdog_.reset();
  visit::wait_for_all();  // those who come later find it closing
  blocking_.reset();
  cpu_.reset();
  if (config_.report_stack_overflow) remove_overflow_reporter();
}

// --- reports ---

namespace {

struct report_message final : message {
  report_message(task_info t, std::exception_ptr e) noexcept : task(std::move(t)), error(std::move(e)) {}
  void run() noexcept override {
    runtime_core& rt = tl_loop->runtime();
    rt.report_unhandled(task, std::move(error));
    rt.in_flight.fetch_sub(1, std::memory_order_seq_cst);
    delete this;
  }
  task_info task;
  std::exception_ptr error;
};

}  // namespace

void report_unhandled(task_info task, std::exception_ptr error) noexcept {
  const visit here;
  runtime_core* rt = here.runtime();
  if (!rt) {
    print_error(task, error);
    return;
  }
  if (current_loop()) {
    rt->report_unhandled(task, std::move(error));
    return;
  }
  // Counted like a spawn: no loop stops with the report under way.
  rt->in_flight.fetch_add(1, std::memory_order_seq_cst);
  if (rt->closing()) {
    rt->report_unhandled(task, std::move(error));
    rt->give_up_spawn();
    return;
  }
  const auto loop = (task.id & 255) - 1;  // ids end in the number of the loop that spawned the task
  try {
    rt->loop(loop < rt->loops() ? loop : 0).post(new report_message(std::move(task), std::move(error)));
  } catch (...) {
    rt->give_up_spawn();
    std::fputs("weft: a task failed, and there is no memory to say more\n", stderr);
  }
}

void runtime_core::report_unhandled(const task_info& task, std::exception_ptr error) noexcept {
  if (config_.on_unhandled)
    config_.on_unhandled(task, std::move(error));
  else
    print_error(task, error);
}

void runtime_core::report_stall(const stall_info& stall) noexcept {
  if (config_.on_stall) {
    config_.on_stall(stall);
    return;
  }
  std::fprintf(stderr,
               "weft: task %s has kept loop %u for %lld ms without a wait; "
               "use spawn_cpu for computations and spawn_blocking for calls that block. It is at\n%s",
               to_string(stall.task).c_str(), stall.loop,
               static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(stall.lasted).count()),
               stall.where.c_str());
}

void runtime_core::report_deadlock(const std::string& text) noexcept {
  if (config_.on_deadlock)
    config_.on_deadlock(text);
  else
    std::fprintf(stderr, "weft: %s", text.c_str());
}

void runtime_core::for_each_agent(void (*f)(agent&, int, void*), void* argument) {
  for (std::size_t i = 0; i < loops_.size(); ++i)
    loops_[i]->for_each_pool([&](const fiber_pool& pool) {
      pool.stacks().for_each(
          [&](void* control) { f(*static_cast<fiber_agent*>(control), static_cast<int>(i), argument); });
    });
  if (cpu_ && cpu_->stacks())
    cpu_->stacks()->for_each([&](void* control) { f(*static_cast<fiber_agent*>(control), -1, argument); });
  if (blocking_) {
    struct both {
      void (*f)(agent&, int, void*);
      void* argument;
    } pass{f, argument};
    blocking_->for_each(
        [](agent& a, void* p) {
          const auto& b = *static_cast<both*>(p);
          b.f(a, -1, b.argument);
        },
        &pass);
  }
}

}  // namespace detail

// --- public ---

runtime::runtime(config c) : core_(std::make_unique<detail::runtime_core>(std::move(c))) {}

runtime::~runtime() { close(); }

void runtime::close() noexcept {
  if (!core_) return;
  core_->close();
  core_.reset();
}

void runtime::start_main(detail::task_core& task) {
  if (!core_) throw no_runtime("runtime::run(), called after close(),");
  if (detail::tl_loop) throw std::logic_error("runtime::run() on an event loop: use spawn() and get() in here");
  core_->start_main(task);
}

void runtime::drive_until(detail::future_core& result) {
  struct flag : detail::wait_node {
    std::atomic<bool> set{false};
  } done;
  done.fire = [](detail::wait_node& n) noexcept { static_cast<flag&>(n).set.store(true, std::memory_order_release); };
  if (result.link(done)) core_->drive(done.set);
}

unsigned cpu_workers() {
  const detail::visit here;
  detail::runtime_core* const rt = here.with_pools();
  if (!rt) throw no_runtime("cpu_workers()");
  return rt->cpu().workers();
}

statistics get_statistics() {
  const detail::visit here;
  if (!here.with_pools()) throw no_runtime("get_statistics()");
  detail::runtime_core& rt = *here.runtime();
  statistics all;
  for (std::size_t i = 0; i < rt.loops(); ++i) {
    const auto& l = rt.loop(i);
    all.loops.push_back({l.switches(), l.fibers().made(), l.awake.load(std::memory_order_relaxed)});
  }
  all.cpu_workers = rt.cpu().workers();
  const detail::cpu_counts cpu = rt.cpu().counts();
  all.cpu = {.workers = all.cpu_workers,
             .busy = cpu.busy,
             .queued = cpu.queued,
             .served = cpu.served,
             .expired = cpu.expired,
             .refused = cpu.refused,
             .refusing = cpu.refusing,
             .waited = cpu.waited};
  all.cpu_stacks = rt.cpu().stacks() ? rt.cpu().stacks()->carved() : 0;
  return all;
}

}  // namespace weft
