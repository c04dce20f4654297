#pragma once
// Running CPU tasks on stacks of their own, so that a wait costs their worker nothing. What oneTBB's pool and the
// stand-in share; they differ in how a worker is given work.

#include <mutex>

#include "fiber_pool.hpp"
#include "runtime_core.hpp"

namespace weft::detail {

class cpu_runner : public cpu_backend {
 public:
  cpu_runner(const config& c, slab_place where);

  void start(task_core& task) final { submit(&task, nullptr); }
  void resume(fiber_agent& f) { submit(nullptr, &f); }
  [[nodiscard]] const stack_pool* stacks() const noexcept final { return &fibers_.stacks(); }

  /// On the calling agent's stack: back to the worker, until resumed. May come back on another thread.
  static void park(fiber_agent& f) noexcept;

 protected:
  /// Has a worker call work(task, f). Exactly one of them is given.
  virtual void submit(task_core* task, fiber_agent* f) = 0;
  void work(task_core* task, fiber_agent* f) noexcept;

 private:
  static void fiber_main(fiber& self) noexcept;
  void enter(fiber_agent& f) noexcept;

  std::mutex mutex_;  // workers only, for a few instructions
  fiber_pool fibers_;
};

/// The oneTBB context of what runs here; null outside oneTBB.
const void* algorithm_context() noexcept;

}  // namespace weft::detail
