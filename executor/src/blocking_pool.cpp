#include "weft/blocking_pool.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "runtime_core.hpp"
#include "thread_agent.hpp"
#include "weft/error.hpp"

namespace weft::detail {
namespace {

// A new thread for a call when none is idle, up to the limit; an idle one ends after a while.
// The queue is not bounded: each entry is a task that somebody spawned, and spawning does not wait.
// Shared by the pool and its threads: one whose call was abandoned may outlive the pool.
class crew : public std::enable_shared_from_this<crew> {
 public:
  explicit crew(const config& c) : most_(c.blocking_threads), patience_(c.blocking_idle), grace_(c.abandon_grace) {}

  void start(task_core& task) {
    std::unique_lock lock(mutex_);
    queue_.push_back(&task);
    if (idle_ >= queue_.size()) {
      lock.unlock();
      changed_.notify_one();
      return;
    }
    if (threads_ == most_) return;  // one that is busy will come for it
    ++threads_;
    // A thread is scheduled as the one that made it: those of the CPU pool have a loop make it.
    if (tl_cpu_thread) {
      try {
        growth::ask(shared_from_this());
      } catch (...) {
        --threads_;
        queue_.pop_back();
        throw;
      }
      return;
    }
    if (grow()) return;
    queue_.pop_back();
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again), "spawn_blocking");
  }

  void for_each(void (*f)(agent&, void*), void* argument) {
    const std::lock_guard lock(mutex_);
    for (const call& c : busy_) f(*c.who, argument);
  }

  /// Waits for the threads; for those with abandoned calls for a while only.
  void end() {
    std::unique_lock lock(mutex_);
    stop_ = true;
    changed_.notify_all();
    // Records have ended by now, but those of abandoned calls; these are all that can be queued still.
    const auto left = std::exchange(queue_, {});
    lock.unlock();
    for (task_core* task : left) task->fail_off_loop(nullptr);
    lock.lock();
    ended_.wait(lock, [this] { return threads_ == lonely(); });
    if (ended_.wait_for(lock, grace_, [this] { return threads_ == 0; })) return;
    for (const call& c : busy_)
      std::fprintf(stderr,
                   "weft: task %s was abandoned and still runs, %lld ms after everything else ended "
                   "(config.abandon_grace); the runtime ends without it\n",
                   c.name.c_str(),
                   static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(grace_).count()));
  }

 private:
  struct call {
    agent* who;
    bool may_be_abandoned;
    std::string name;  // of one that may be
  };

  struct growth final : message {
    explicit growth(std::shared_ptr<crew> c) noexcept : what(std::move(c)) {}
    static void ask(std::shared_ptr<crew> c) {
      auto* const m = new growth(std::move(c));
      runtime_core& rt = *runtime_core::current();
      rt.in_flight.fetch_add(1, std::memory_order_seq_cst);  // until it has arrived no loop stops
      rt.any_loop().post(m);
    }
    void run() noexcept override {
      what->grow_for_queued();
      tl_loop->runtime().in_flight.fetch_sub(1, std::memory_order_seq_cst);
      delete this;
    }
    const std::shared_ptr<crew> what;
  };

  /// A thread that is counted already. False when there is none to be had, and none that would come for the queue.
  bool grow() {
    try {
      std::thread([self = shared_from_this()] { self->run(); }).detach();  // counted in threads_, awaited in end()
      return true;
    } catch (...) {  // no thread, or no memory for one
      return --threads_ > 0;
    }
  }

  void grow_for_queued() {
    std::unique_lock lock(mutex_);
    if (grow()) return;
    const auto left = std::exchange(queue_, {});
    lock.unlock();
    const auto error = std::make_exception_ptr(
        std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again), "spawn_blocking"));
    for (task_core* task : left) task->fail_off_loop(error);
  }

  [[nodiscard]] std::size_t lonely() const noexcept {
    return static_cast<std::size_t>(
        std::count_if(busy_.begin(), busy_.end(), [](const call& c) { return c.may_be_abandoned; }));
  }

  void run() {
    agent& me = thread_agent::mine();
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      const bool some = changed_.wait_for(lock, patience_, [this] { return stop_ || !queue_.empty(); });
      --idle_;
      if (!some || queue_.empty()) break;
      task_core* const task = queue_.front();
      queue_.pop_front();
      const bool may_be_abandoned = task->what() == task_core::flavour::abandonable;
      busy_.push_back({&me, may_be_abandoned, may_be_abandoned ? to_string(task->info()) : std::string()});
      lock.unlock();
      // Then it is no thread of the runtime's: what it wakes may be another runtime's.
      set_runs_for_weft(!may_be_abandoned);
      task->run_off_loop(me);
      lock.lock();
      std::erase_if(busy_, [&me](const call& c) { return c.who == &me; });
    }
    --threads_;
    ended_.notify_all();
  }

  const std::size_t most_;
  const std::chrono::nanoseconds patience_;
  const std::chrono::nanoseconds grace_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable ended_;
  std::deque<task_core*> queue_;
  std::vector<call> busy_;
  std::size_t idle_ = 0;
  std::size_t threads_ = 0;
  bool stop_ = false;
};

class thread_pool final : public blocking_backend {
 public:
  explicit thread_pool(const config& c) : crew_(std::make_shared<crew>(c)) {}
  ~thread_pool() override { crew_->end(); }
  void start(task_core& task) override { crew_->start(task); }
  void for_each(void (*f)(agent&, void*), void* argument) override { crew_->for_each(f, argument); }

 private:
  const std::shared_ptr<crew> crew_;
};

}  // namespace

void start_blocking_task(task_core& task) {
  start_off_loop(task, [](task_core& t) { runtime_core::current()->blocking().start(t); });
}

std::unique_ptr<blocking_backend> make_blocking_pool(const config& c) { return std::make_unique<thread_pool>(c); }

}  // namespace weft::detail
