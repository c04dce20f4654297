#pragma once
// The helper thread. Each millisecond while loops are busy it raises their due flags, so that they look at the world
// without reading a clock; with loops that do so often by themselves it sleeps longer, 8 ms at the most, and so, once,
// may be late by that much. It finds tasks that stall their loop, and tasks that wait for one another in a circle:
// these within half a second, or later where there are so many tasks that to look for them took more of a core than a
// hundredth. From a real-time loop that does not switch it takes that it is one (config.loop_threads).

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace weft::detail {

class runtime_core;

class watchdog {
 public:
  explicit watchdog(runtime_core& runtime);
  ~watchdog();
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;

 private:
  struct watched {
    std::uint64_t ticks = 0;
    std::chrono::steady_clock::time_point since;
    std::uint64_t rounds = 0;
    bool reported = false;
    bool distrusted = false;
  };
  enum class seen : std::uint8_t { idle, attentive, busy };

  void run();
  seen look(std::chrono::steady_clock::time_point now, unsigned attentive);
  void look_for_circles();
  /// Does it, perhaps on another thread; false when that still does something else.
  bool aside(std::function<void()> f);
  void finish_aside();

  runtime_core& runtime_;
  std::vector<watched> watched_;
  // Of the searches, of which there is one at a time: aside, or after finish_aside().
  std::atomic<std::chrono::milliseconds::rep> pause_{0};  // that the last one demands
  std::vector<std::uint64_t> suspected_;
  std::vector<std::uint64_t> reported_;
  std::thread aside_;
  std::atomic<bool> busy_aside_{false};
  std::atomic<bool> stop_{false};
  std::atomic<bool> scheduled_{false};
  std::thread thread_;
};

}  // namespace weft::detail
