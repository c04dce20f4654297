// A CPU pool of plain threads, for ThreadSanitizer, which cannot see into Debian's oneTBB. Same stacks, same waits;
// no algorithms.

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu_runner.hpp"
#include "thread_priority.hpp"
#include "weft/cpu_pool.hpp"

namespace weft::detail {
namespace {

class standin_pool final : public cpu_runner {
 public:
  explicit standin_pool(const config& c) : cpu_runner(c, slab_place::anywhere) {
    for (unsigned i = 0; i < c.cpu_workers; ++i)
      threads_.emplace_back([this, how = c.cpu_threads] {
        schedule_worker(how);
        run();
      });
  }
  ~standin_pool() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_) t.join();
  }
  [[nodiscard]] unsigned workers() const noexcept override { return static_cast<unsigned>(threads_.size()); }

 private:
  void send_token() override {
    {
      const std::lock_guard lock(mutex_);
      ++sent_;
    }
    changed_.notify_one();
  }

  void run() {
    tl_cpu_thread = true;
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || sent_ > 0; });
      if (sent_ == 0) return;
      --sent_;
      lock.unlock();
      const bool again = use_token();
      lock.lock();
      sent_ += again;
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t sent_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

bool in_own_algorithm(const agent*) noexcept { return false; }
agent* bound_body() noexcept { return nullptr; }
agent& body_agent() { return *current_agent(); }
agent* own_body() { return nullptr; }
void park_body(agent&, std::uint64_t) {}

std::shared_ptr<void> serial_algorithms() { return nullptr; }
std::unique_ptr<cpu_backend> make_cpu_pool(const config& c) { return std::make_unique<standin_pool>(c); }

}  // namespace weft::detail
