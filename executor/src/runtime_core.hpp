#pragma once
// What the parts of a running weft share.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "algorithm_context.hpp"
#include "scheduler.hpp"
#include "weft/config.hpp"
#include "weft/task.hpp"

namespace weft::detail {

/// weft::cpu_statistics, on a lower floor.
struct cpu_counts {
  std::uint64_t busy = 0;
  std::uint64_t queued = 0;
  std::uint64_t served = 0;
  std::uint64_t expired = 0;
  std::uint64_t refused = 0;
  bool refusing = false;
  std::chrono::nanoseconds waited{};
};

/// What the runtime needs of a CPU pool: cpu_pool.cpp (oneTBB), cpu_pool_standin.cpp (plain threads), simulation.
class cpu_backend {
 public:
  cpu_backend() = default;
  cpu_backend(const cpu_backend&) = delete;
  cpu_backend& operator=(const cpu_backend&) = delete;
  virtual ~cpu_backend() = default;

  /// Of a cpu_task. One that is not let in fails, and so does one whose time has passed when a worker comes to it.
  virtual void start(task_core& task) = 0;
  [[nodiscard]] virtual unsigned workers() const noexcept = 0;
  [[nodiscard]] virtual cpu_counts counts() const noexcept = 0;
  /// The stacks its tasks run on; null if it has none of its own.
  [[nodiscard]] virtual const stack_pool* stacks() const noexcept { return nullptr; }
};

std::unique_ptr<cpu_backend> make_cpu_pool(const config& c);
/// While it is held, oneTBB's algorithms run on the thread that calls them alone, for simulations.
std::shared_ptr<void> serial_algorithms();

// Waits inside oneTBB algorithms. The stand-in pool and simulation have none.

/// On a thread of the CPU pool: true inside the body of an algorithm, on whichever stack; `stack` is the CPU task whose
/// stack it is, or null.
bool in_own_algorithm(const agent* stack) noexcept;
/// Not on a thread of the CPU pool: true inside an algorithm, a plain thread's or one that a fiber called.
inline bool in_foreign_algorithm() { return algorithm_context() != nullptr; }
/// In the body of an algorithm, the agent
///   bound_body   of a body that is bound; null for others.
///   own_body     to bind a body to; null outside algorithms.
///   body_agent   to wait as: the bound one, or one that knows of no task and follows the body over its wait.
agent* bound_body() noexcept;
agent& body_agent();
agent* own_body();
/// Parks a body until its wait is decided. Throws wait_in_algorithm when too many are parked.
void park_body(agent& a, std::uint64_t word);

/// The CPU task on whose stack the caller is; null on a worker's own.
agent* agent_of_this_stack() noexcept;

class blocking_backend {
 public:
  blocking_backend() = default;
  blocking_backend(const blocking_backend&) = delete;
  blocking_backend& operator=(const blocking_backend&) = delete;
  virtual ~blocking_backend() = default;
  virtual void start(task_core& task) = 0;
  /// Calls f(agent) for each thread of the pool. Any thread.
  virtual void for_each(void (*f)(agent&, void*), void* argument) = 0;
};

std::unique_ptr<blocking_backend> make_blocking_pool(const config& c);

class watchdog;

class runtime_core {
 public:
  explicit runtime_core(config c);
  virtual ~runtime_core();
  runtime_core(const runtime_core&) = delete;
  runtime_core& operator=(const runtime_core&) = delete;

  /// The one that runs; null for none. Hold a `visit` to use it from a thread outside weft.
  static runtime_core* current() noexcept { return current_.load(std::memory_order_seq_cst); }

  /// Puts a new record on loop 0, which nobody drives yet.
  void start_main(task_core& task);
  /// Runs loop 0 on the calling thread until `done` is true.
  void drive(const std::atomic<bool>& done);
  /// Cancels and joins everything; then the loops end. Called by the thread that drives loop 0.
  void close() noexcept;

  [[nodiscard]] const config& settings() const noexcept { return config_; }
  [[nodiscard]] std::size_t loops() const noexcept { return config_.loops; }
  [[nodiscard]] loop_core& loop(std::size_t i) noexcept { return *loops_[i]; }
  [[nodiscard]] const loop_core& loop(std::size_t i) const noexcept { return *loops_[i]; }
  [[nodiscard]] cpu_backend& cpu() noexcept { return *cpu_; }
  [[nodiscard]] const stack_pool* cpu_stacks() const noexcept { return cpu_ ? cpu_->stacks() : nullptr; }
  [[nodiscard]] blocking_backend& blocking() noexcept { return *blocking_; }
  [[nodiscard]] bool closing() const noexcept { return closing_.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool simulated() const noexcept { return simulated_; }

  /// A loop for a task that comes from no loop.
  loop_core& any_loop() noexcept;

  /// A loop that wakes calls this, for the watchdog: one load, unless the helper has gone to rest.
  static void notice_busy() noexcept {
    if (helper_rests_.load(std::memory_order_seq_cst)) wake_helper();
  }

  /// A loop tells whether it owns records, while the runtime closes.
  void note_busy(loop_core& l, bool busy) noexcept;

  /// The floating-point environment of its threads: they have it from the one that started it.
  const std::uint32_t fp_control_at_start = fp_control();

  // Loops that sleep, a bit each, for `anywhere`.
  std::atomic<std::uint64_t> idle{0};
  /// Spawns from outside the loops that no loop has adopted yet.
  std::atomic<std::int64_t> in_flight{0};
  /// Takes back a count in in_flight.
  void give_up_spawn() noexcept;

  void report_unhandled(const task_info& task, std::exception_ptr error) noexcept;
  void report_stall(const stall_info& stall) noexcept;
  void report_deadlock(const std::string& text) noexcept;

  /// Calls f for each agent that ever ran: fibers, CPU tasks, blocking calls. Any thread that holds the runtime.
  void for_each_agent(void (*f)(agent&, int loop, void*), void* argument);

 protected:
  struct for_simulation {};
  runtime_core(config c, for_simulation);

  static void validate(const config& c);
  static void claim_process();
  static void give_up_process() noexcept;
  /// Others can find it from now on.
  void show() noexcept { current_.store(this, std::memory_order_seq_cst); }
  void hide() noexcept;
  void drive(loop_core& loop, const std::atomic<bool>& done);
  void stop_if_quiet() noexcept;

  friend class watchdog;
  static void wake_helper() noexcept;

  static std::atomic<bool> claimed_;  // there is one, if only half made
  static std::atomic<runtime_core*> current_;
  static std::atomic<bool> helper_rests_;

  config config_;
  bool simulated_ = false;
  std::vector<std::unique_ptr<loop_core>> loops_;
  std::unique_ptr<cpu_backend> cpu_;
  std::unique_ptr<blocking_backend> blocking_;
  std::unique_ptr<watchdog> watchdog_;
  std::vector<std::thread> threads_;
  std::atomic<bool> closing_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> busy_loops_{0};
  std::atomic<unsigned> next_loop_{0};
};

/// Keeps the runtime from being destroyed while a thread outside it uses it. Two atomic increments, no lock.
class visit {
 public:
  visit() noexcept { visitors().fetch_add(1, std::memory_order_seq_cst); }
  ~visit() { visitors().fetch_sub(1, std::memory_order_release); }
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;
  [[nodiscard]] runtime_core* runtime() const noexcept { return runtime_core::current(); }
  /// The same where its pools are wanted, which go when its loops have ended: null then.
  [[nodiscard]] runtime_core* with_pools() const noexcept;

  static std::atomic<std::int64_t>& visitors() noexcept;
  /// Until those have gone that are here now: a few instructions each.
  static void wait_for_all() noexcept;
};

}  // namespace weft::detail
