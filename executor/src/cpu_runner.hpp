#pragma once
// Running CPU tasks on stacks of their own, so that a wait costs their worker nothing. What oneTBB's pool and the
// stand-in share; they differ in how a worker is called.
//
// Workers are called by tokens: whoever has queued an entry sends one, unless as many are under way as there are
// workers. A worker with a token serves several entries, one after the other, and a new task goes on where the last one
// ended, on its stack. When the queue is empty the token is used up.
//
// Claim: nobody waits in the queue while there is no token. Proof: Dekker. Who queues writes the entry, then reads how
// many tokens there are; who ends a token counts it down, then looks into the queue. Both sides are read-modify-writes
// followed by a seq_cst load, so one of them sees the other. Model: tests/model/cpu_token.pml.

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
  void resume(fiber_agent& f) noexcept;
  [[nodiscard]] cpu_counts counts() const noexcept final;
  [[nodiscard]] const stack_pool* stacks() const noexcept final { return &fibers_.stacks(); }

  /// On the calling agent's stack: back to the worker, until resumed. May come back on another thread.
  static void park(fiber_agent& f) noexcept;

 protected:
  /// Has a worker call use_token(), once. Throws std::bad_alloc.
  virtual void send_token() = 0;
  /// On a worker's own stack. False when the token is used up; else the caller sends it once more, for other work of
  /// the pool is to have its turn, or calls again.
  bool use_token() noexcept;
  /// A worker cannot serve while it waits for what an entry will do: from now on there is one token more, or one less.
  void add_place() noexcept;
  void take_place() noexcept { places_.fetch_sub(1, std::memory_order_relaxed); }
  /// Serves so many entries. False when the queue was empty before that.
  bool serve(unsigned most) noexcept;
  [[nodiscard]] const cpu_queue& queue() const noexcept { return queue_; }

 private:
  /// A worker and its token.
  struct seat : fiber {
    seat(cpu_runner& p, unsigned most) noexcept : pool(p), left(most) {}
    cpu_runner& pool;
    unsigned left;                 ///< how many entries it may still begin with
    cpu_entry* next = nullptr;     ///< popped already
    fiber_agent* spare = nullptr;  ///< the stack of a task that has ended
  };

  /// Calls a worker from a loop, when there was no memory for a token before.
  class later final : public message {
   public:
    explicit later(cpu_runner& p) noexcept : pool_(p) {}
    void post() noexcept;

   private:
    void run() noexcept override;
    cpu_runner& pool_;
    std::atomic<bool> posted_{false};  // it is in an inbox
  };

  static constexpr unsigned entries_a_token = 16;

  static void fiber_main(fiber& self) noexcept;
  void call_worker() noexcept;
  bool take_token() noexcept;
  cpu_entry* pop(seat& at) noexcept;
  void enter(seat& here, fiber_agent& f) noexcept;
  fiber_agent* stack_for(seat& here, cpu_task& task) noexcept;
  bool has_expired(cpu_task& task) noexcept;
  bool assign_next(seat& here, fiber_agent& f) noexcept;
  void give_back(fiber_agent* f) noexcept;

  cpu_queue queue_;
  std::atomic<std::int64_t> tokens_{0};
  std::atomic<std::int64_t> places_;      // how many tokens there may be
  std::atomic<std::uint64_t> served_{0};  // ended, or parked
  std::atomic<std::uint64_t> expired_{0};
  std::mutex mutex_;  // workers only, for a few instructions
  fiber_pool fibers_;
  later call_again_{*this};
};

/// Fails a new task that is not let in, or whose time has passed; on the calling thread.
void refuse(cpu_task& task, cpu_queue::answer why) noexcept;
void expire(cpu_task& task) noexcept;

}  // namespace weft::detail
