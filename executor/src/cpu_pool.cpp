#include "weft/cpu_pool.hpp"

#include <oneapi/tbb/cache_aligned_allocator.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_scheduler_observer.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "cancellation.hpp"
#include "cpu_runner.hpp"
#include "eh_globals.hpp"
#include "thread_priority.hpp"
#include "weft/cpu_context.hpp"
#include "weft/error.hpp"

namespace weft::detail {
namespace {

// oneTBB 2021.8 hangs beyond 4,095 suspended tasks a worker.
constexpr int most_suspended = 4000;
std::atomic<int> suspended{0};

// One arena for all CPU tasks. Each body runs inside isolate(): without it a worker that waits for its own algorithm
// takes another task's body onto its stack, and buries the algorithm under it.
// The isolate() frame is on the worker's stack, not on the task's: it ends when the task waits.
//
// Isolation has a price. A worker whose algorithm waits for bodies that are suspended takes no other task, and those
// bodies may be waiting for just such a task. So the tasks are in a queue of our own, of which the arena gets tokens,
// one more for each body that is suspended; and while there are such bodies a guard looks on: when nothing was started
// for a while though tasks are queued, it adds a thread that starts them. Such threads end when the queue is empty.
class tbb_pool final : public cpu_runner {
 public:
  explicit tbb_pool(const config& c)
      : cpu_runner(c, slab_place::above_later_threads),
        limit_(tbb::global_control::max_allowed_parallelism, c.cpu_workers + 1),
        arena_(static_cast<int>(c.cpu_workers), 0),
        wanted_(c.cpu_workers),
        scheduling_(c.cpu_threads),
        watch_(arena_, c.cpu_threads) {
    arena_.initialize();
    watch_.observe(true);
  }
  ~tbb_pool() override {
    // The last task has ended, but its worker may still be on the way off its stack.
    while (sent_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    if (guard_.joinable()) guard_.join();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return helpers_ == 0; });
  }

  [[nodiscard]] unsigned workers() const noexcept override {
    const auto allowed = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
    return std::min(wanted_, static_cast<unsigned>(allowed) - 1);
  }

  /// A body is about to be suspended: from now on somebody must look on. Where there is no thread to be had nobody
  /// does, until the next body is.
  void keep_watch() noexcept {
    {
      const std::lock_guard lock(mutex_);
      try {
        if (!guard_.joinable()) guard_ = std::thread([this] { guard(); });
      } catch (const std::exception&) {
      }
      changed_.notify_all();
    }
    add_place();
  }
  void watch_ends() noexcept { take_place(); }

 private:
  static constexpr std::size_t most_helpers = 64;

  void send_token() override {
    sent_.fetch_add(1, std::memory_order_relaxed);
    try {
      arena_.enqueue([this] {
        bool again = false;
        tbb::this_task_arena::isolate([&] { again = use_token(); });
        if (again) send_again();
        sent_.fetch_sub(1, std::memory_order_release);  // the pool may be gone now
      });
    } catch (...) {
      sent_.fetch_sub(1, std::memory_order_relaxed);
      throw;
    }
  }

  // On a worker.
  void send_again() noexcept {
    for (bool again = true; again;) {
      try {
        send_token();
        return;
      } catch (const std::bad_alloc&) {  // then the other work must wait
        tbb::this_task_arena::isolate([&] { again = use_token(); });
      }
    }
  }

  void guard() {
    std::unique_lock lock(mutex_);
    auto seen = queue().popped();
    while (!stop_) {
      if (suspended.load(std::memory_order_relaxed) == 0) {
        changed_.wait(lock, [this] { return stop_ || suspended.load(std::memory_order_relaxed) > 0; });
        seen = queue().popped();
      }
      changed_.wait_for(lock, std::chrono::milliseconds(2), [this] { return stop_; });
      const auto now = queue().popped();
      if (!stop_ && now == seen && queue().length() > 0 && helpers_ < most_helpers) {
        try {
          std::thread([this] { help(); }).detach();  // counted, and awaited in the destructor
          ++helpers_;
        } catch (const std::exception&) {  // there is no thread to be had now; it looks again
        }
      }
      seen = now;
    }
  }

  void help() {
    tl_cpu_thread = true;
    schedule_worker(scheduling_);
    tbb::task_arena own(1);
    own.execute([this] {
      tbb::this_task_arena::isolate([this] {
        while (serve(1)) {
        }
      });
    });
    tl_cpu_thread = false;
    const std::lock_guard lock(mutex_);
    --helpers_;
    changed_.notify_all();
  }

  tbb::global_control limit_;
  tbb::task_arena arena_;
  const unsigned wanted_;
  const cpu_scheduling scheduling_;
  std::atomic<std::int64_t> sent_{0};  // tokens given to the arena, and not finished there
  // The guard and its helpers; touched only when bodies wait.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::thread guard_;
  std::size_t helpers_ = 0;

  // Marks the threads that work in this arena.
  class presence final : public tbb::task_scheduler_observer {
   public:
    presence(tbb::task_arena& arena, cpu_scheduling how) : task_scheduler_observer(arena), how_(how) {}
    ~presence() override { observe(false); }
    void on_scheduler_entry(bool) override {
      tl_cpu_thread = true;
      schedule_worker(how_);
    }
    void on_scheduler_exit(bool) override { tl_cpu_thread = false; }

   private:
    const cpu_scheduling how_;
  } watch_;
};

// --- waits inside algorithms ---

// The agent of an algorithm's body. Never freed: a late waker may look at it.
struct body final : agent {
  enum class parking : std::uint8_t { running, parked, woken };

  body() noexcept : agent(kind::body) {
    deliver = [](agent& a) noexcept {
      auto& self = static_cast<body&>(a);
      if (self.park.exchange(parking::woken, std::memory_order_acq_rel) == parking::parked)
        tbb::task::resume(self.point);
    };
  }
  tbb::task::suspend_point point{};
  std::atomic<parking> park{parking::running};
};

struct body_store {
  std::mutex mutex;
  std::vector<body*> idle;
  std::vector<body*> bound;  // all of them
};
body_store& bodies() {
  static auto* const s = new body_store;
  return *s;
}

void put_away(body* b) {
  if (!b) return;
  const std::lock_guard lock(bodies().mutex);
  bodies().idle.push_back(b);
}

struct body_slot {
  body* mine = nullptr;
  ~body_slot() { put_away(mine); }
};
thread_local body_slot tl_body;

[[gnu::noinline]] body* swap_body(body* b) noexcept {
  asm volatile("");
  return std::exchange(tl_body.mine, b);
}

}  // namespace

bool in_own_algorithm(const agent* stack) noexcept {
  const void* const here = algorithm_context();
  return here && !(stack && here == static_cast<const fiber_agent*>(stack)->entered_in);
}

namespace {

// The agents of bound bodies. Not a thread's: oneTBB moves a stack with a body that waits for its own algorithm to
// another thread, and does not say so.
using agents_of_stacks =
    tbb::enumerable_thread_specific<body*, tbb::cache_aligned_allocator<body*>, tbb::ets_suspend_aware>;
agents_of_stacks& stacks_with_bodies() {
  static auto* const s = new agents_of_stacks(nullptr);
  return *s;
}
std::atomic<bool> ever_bound{false};

}  // namespace

agent* bound_body() noexcept {
  if (!ever_bound.load(std::memory_order_relaxed)) return nullptr;
  body* const b = stacks_with_bodies().local();
  return b && b->bound_in == algorithm_context() ? b : nullptr;
}

[[gnu::noinline]] agent* own_body() {
  asm volatile("");
  if (!tl_cpu_thread || !in_own_algorithm(agent_of_this_stack())) return nullptr;
  ever_bound.store(true, std::memory_order_relaxed);
  body*& mine = stacks_with_bodies().local();
  if (!mine) {
    const std::lock_guard lock(bodies().mutex);
    mine = bodies().bound.emplace_back(new body);
  }
  return mine;
}

agent& body_agent() {
  if (agent* const bound = bound_body()) return *bound;
  body*& mine = tl_body.mine;
  if (!mine) {
    const std::lock_guard lock(bodies().mutex);
    if (bodies().idle.empty()) {
      mine = new body;
    } else {
      mine = bodies().idle.back();
      bodies().idle.pop_back();
    }
  }
  return *mine;
}

void park_body(agent& a, std::uint64_t word) {
  auto& self = static_cast<body&>(a);
  // A waker that has decided already will resume us, so then there is no way but to be suspended.
  if (suspended.fetch_add(1, std::memory_order_relaxed) >= most_suspended &&
      decide_own(a, word, wake_reason::cancelled)) {
    suspended.fetch_sub(1, std::memory_order_relaxed);
    throw wait_in_algorithm("more than " + std::to_string(most_suspended) +
                            " bodies of oneTBB algorithms wait at once, which oneTBB cannot bear; "
                            "wait outside the algorithm, or in spawn_cpu tasks of their own");
  }
  auto& pool = static_cast<tbb_pool&>(runtime_core::current()->cpu());
  pool.keep_watch();
  // oneTBB keeps neither over a wait: the exception state, and whose body runs here (but a bound one's).
  const eh_globals saved = *thread_eh_globals();
  *thread_eh_globals() = {};
  if (!self.bound_in) swap_body(nullptr);
  tbb::task::suspend([&self](tbb::task::suspend_point point) {
    self.point = point;
    auto expected = body::parking::running;
    if (!self.park.compare_exchange_strong(expected, body::parking::parked, std::memory_order_acq_rel))
      tbb::task::resume(point);
  });
  // Not at the beginning: a waker may come as soon as the wait is published, which was before this function.
  self.park.store(body::parking::running, std::memory_order_relaxed);
  suspended.fetch_sub(1, std::memory_order_relaxed);
  pool.watch_ends();
  if (!self.bound_in) put_away(swap_body(&self));
  *thread_eh_globals() = saved;
}

std::shared_ptr<void> serial_algorithms() {
  return std::make_shared<tbb::global_control>(tbb::global_control::max_allowed_parallelism, 1);
}

std::unique_ptr<cpu_backend> make_cpu_pool(const config& c) { return std::make_unique<tbb_pool>(c); }

namespace {

// One for each scope that asked. An algorithm whose body throws leaves its context cancelled: then the next is another,
// and the old one stays, for something may run in it still.
struct stoppable {
  struct stop {
    tbb::task_group_context* what;
    void operator()() const noexcept { what->cancel_group_execution(); }
  };
  stoppable(std::stop_token token, std::shared_ptr<void> before)
      : earlier(std::move(before)), on_stop(std::move(token), stop{&context}) {}

  std::shared_ptr<void> earlier;
  tbb::task_group_context context{tbb::task_group_context::isolated};
  std::stop_callback<stop> on_stop;
};

}  // namespace
}  // namespace weft::detail

namespace weft {

tbb::task_group_context& cpu_context() {
  detail::agent* const who = detail::current_agent();
  if (!who || !who->task || who->what == detail::agent::kind::body ||
      who->task->what() != detail::task_core::flavour::cpu)
    throw std::logic_error(
        "cpu_context() outside a CPU task: call it in spawn_cpu, and not in the body of an algorithm, for what a body "
        "starts belongs to the algorithm around it");
  detail::scope_control& scope = detail::control_of(*who->innermost, *who);
  auto* mine = static_cast<detail::stoppable*>(scope.cpu_context.get());
  if (!mine || (mine->context.is_group_execution_cancelled() && !scope.token().stop_requested())) {
    auto next = std::make_shared<detail::stoppable>(scope.token(), scope.cpu_context);
    mine = next.get();
    scope.cpu_context = std::move(next);
  }
  return mine->context;
}

}  // namespace weft
