#pragma once
// Running CPU tasks on stacks of their own, so that a wait costs their worker nothing. What oneTBB's pool and the
// stand-in share; they differ in how a worker is given work.

#include <atomic>
#include <cstdint>
#include <mutex>

#include "cpu_queue.hpp"
#include "fiber_pool.hpp"
#include "runtime_core.hpp"

namespace weft::detail {

class cpu_runner : public cpu_backend {
 public:
  cpu_runner(const config& c, slab_place where);

  void start(task_core& task) final;
  void resume(fiber_agent& f);
  [[nodiscard]] cpu_counts counts() const noexcept final;
  [[nodiscard]] const stack_pool* stacks() const noexcept final { return &fibers_.stacks(); }

  /// On the calling agent's stack: back to the worker, until resumed. May come back on another thread.
  static void park(fiber_agent& f) noexcept;

 protected:
  /// Has a worker call serve_one().
  virtual void call_worker() = 0;
  /// False when the queue is empty.
  bool serve_one() noexcept;
  [[nodiscard]] const cpu_queue& queue() const noexcept { return queue_; }

 private:
  static void fiber_main(fiber& self) noexcept;
  void enter(fiber_agent& f) noexcept;
  fiber_agent* begin(cpu_task& task) noexcept;

  cpu_queue queue_;
  std::atomic<std::uint64_t> served_{0};  // ended, or parked
  std::atomic<std::uint64_t> expired_{0};
  std::mutex mutex_;  // workers only, for a few instructions
  fiber_pool fibers_;
};

/// Fails a new task that is not let in, or whose time has passed; on the calling thread.
void refuse(cpu_task& task, cpu_queue::answer why) noexcept;
void expire(cpu_task& task) noexcept;

/// The oneTBB context of what runs here; null outside oneTBB.
const void* algorithm_context() noexcept;

}  // namespace weft::detail
