#include "weft/blocking_pool.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime_core.hpp"
#include "thread_agent.hpp"
#include "weft/error.hpp"

namespace weft::detail {
namespace {

// A new thread for a call when none is idle, up to the limit; an idle one ends after a while.
// The queue is not bounded: each entry is a task that somebody spawned, and spawning does not wait.
class thread_pool final : public blocking_backend {
 public:
  explicit thread_pool(const config& c) : most_(c.blocking_threads), patience_(c.blocking_idle) {}

  ~thread_pool() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return threads_ == 0; });
  }

  void start(task_core& task) override {
    std::unique_lock lock(mutex_);
    queue_.push_back(&task);
    if (idle_ >= queue_.size()) {
      lock.unlock();
      changed_.notify_one();
      return;
    }
    if (threads_ == most_) return;  // one that is busy will come for it
    ++threads_;
    try {
      std::thread([this] { run(); }).detach();  // counted in threads_, awaited in the destructor
    } catch (const std::system_error&) {
      --threads_;
      if (threads_ > 0) return;
      queue_.pop_back();
      throw;
    }
  }

  void for_each(void (*f)(agent&, void*), void* argument) override {
    const std::lock_guard lock(mutex_);
    for (agent* a : busy_) f(*a, argument);
  }

 private:
  void run() {
    set_runs_for_weft(true);
    agent& me = thread_agent::mine();
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      const bool some = changed_.wait_for(lock, patience_, [this] { return stop_ || !queue_.empty(); });
      --idle_;
      if (!some || queue_.empty()) break;
      task_core* const task = queue_.front();
      queue_.pop_front();
      busy_.push_back(&me);
      lock.unlock();
      task->run_off_loop(me);
      lock.lock();
      std::erase(busy_, &me);
    }
    if (--threads_ == 0) ended_.notify_all();  // under the lock: the pool may go when it is released
  }

  const std::size_t most_;
  const std::chrono::nanoseconds patience_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable ended_;
  std::deque<task_core*> queue_;
  std::vector<agent*> busy_;
  std::size_t idle_ = 0;
  std::size_t threads_ = 0;
  bool stop_ = false;
};

}  // namespace

void start_blocking_task(task_core& task) {
  start_off_loop(task, [](task_core& t) { runtime_core::current()->blocking().start(t); });
}

std::unique_ptr<blocking_backend> make_blocking_pool(const config& c) { return std::make_unique<thread_pool>(c); }

}  // namespace weft::detail
