#include "weft/cpu_pool.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_scheduler_observer.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "cancellation.hpp"
#include "cpu_runner.hpp"
#include "eh_globals.hpp"
#include "weft/error.hpp"

namespace weft::detail {
namespace {

thread_local bool tl_present = false;

// One arena for all CPU tasks. Each body runs inside isolate(): without it a worker that waits for its own algorithm
// takes another task's body onto its stack, and buries the algorithm under it.
// The isolate() frame is on the worker's stack, not on the task's: it ends when the task waits.
class tbb_pool final : public cpu_runner {
 public:
  explicit tbb_pool(const config& c)
      : cpu_runner(c),
        limit_(tbb::global_control::max_allowed_parallelism, c.cpu_workers + 1),
        arena_(static_cast<int>(c.cpu_workers), 0),
        wanted_(c.cpu_workers) {
    arena_.initialize();
    watch_.observe(true);
  }

  [[nodiscard]] unsigned workers() const noexcept override {
    const auto allowed = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
    return std::min(wanted_, static_cast<unsigned>(allowed) - 1);
  }

 private:
  void submit(task_core* task, fiber_agent* f) override {
    arena_.enqueue([this, task, f] { tbb::this_task_arena::isolate([this, task, f] { work(task, f); }); });
  }

  tbb::global_control limit_;
  tbb::task_arena arena_;
  const unsigned wanted_;
  // Marks the threads that work in this arena.
  class presence final : public tbb::task_scheduler_observer {
   public:
    using tbb::task_scheduler_observer::task_scheduler_observer;
    ~presence() override { observe(false); }
    void on_scheduler_entry(bool) override { tl_present = true; }
    void on_scheduler_exit(bool) override { tl_present = false; }
  } watch_{arena_};
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

// oneTBB 2021.8 hangs beyond 4,095 suspended tasks a worker.
constexpr int most_suspended = 4000;
std::atomic<int> suspended{0};

struct body_store {
  std::mutex mutex;
  std::vector<body*> idle;
};
body_store& bodies() {
  static auto* const s = new body_store;
  return *s;
}
thread_local body* tl_body = nullptr;

[[gnu::noinline]] body* swap_body(body* b) noexcept {
  asm volatile("");
  return std::exchange(tl_body, b);
}

void put_away(body* b) {
  if (!b) return;
  const std::lock_guard lock(bodies().mutex);
  bodies().idle.push_back(b);
}

}  // namespace

const void* algorithm_context() noexcept { return tbb::task::current_context(); }

bool in_own_algorithm(const agent* a) noexcept {
  const void* const here = algorithm_context();
  if (!here) return false;
  if (a && a->what == agent::kind::cpu) return here != static_cast<const fiber_agent*>(a)->entered_in;
  if (a && a->what != agent::kind::body && a->what != agent::kind::thread) return false;
  return tl_present;
}

bool in_foreign_algorithm() noexcept { return algorithm_context() != nullptr; }

agent& body_agent() {
  if (!tl_body) {
    const std::lock_guard lock(bodies().mutex);
    if (bodies().idle.empty()) {
      tl_body = new body;
    } else {
      tl_body = bodies().idle.back();
      bodies().idle.pop_back();
    }
  }
  return *tl_body;
}

void park_body(agent& a, std::uint64_t) {
  auto& self = static_cast<body&>(a);
  struct count {
    count() {
      if (suspended.fetch_add(1, std::memory_order_relaxed) >= most_suspended) {
        suspended.fetch_sub(1, std::memory_order_relaxed);
        throw wait_in_algorithm("more than " + std::to_string(most_suspended) +
                                " bodies of oneTBB algorithms wait at once, which oneTBB cannot bear; "
                                "wait outside the algorithm, or in spawn_cpu tasks of their own");
      }
    }
    ~count() { suspended.fetch_sub(1, std::memory_order_relaxed); }
  } const counted;
  // oneTBB keeps none of these over a wait: the exception state, and who runs here.
  agent* const me = current_agent();
  const eh_globals saved = *thread_eh_globals();
  *thread_eh_globals() = {};
  set_current_agent(nullptr);
  swap_body(nullptr);
  self.park.store(body::parking::running, std::memory_order_relaxed);
  tbb::task::suspend([&self](tbb::task::suspend_point point) {
    self.point = point;
    auto expected = body::parking::running;
    if (!self.park.compare_exchange_strong(expected, body::parking::parked, std::memory_order_acq_rel))
      tbb::task::resume(point);
  });
  put_away(swap_body(&self));
  set_current_agent(me);
  *thread_eh_globals() = saved;
}

std::unique_ptr<cpu_backend> make_cpu_pool(const config& c) { return std::make_unique<tbb_pool>(c); }

}  // namespace weft::detail
