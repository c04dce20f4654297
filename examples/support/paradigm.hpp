#pragma once
// What 07 measures with, and how it draws its advice from what was measured.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iomanip>
#include <mutex>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <weft/weft.hpp>

/// How one way of doing a job went.
struct trial {
  std::string way;
  std::chrono::duration<double> time{};
  std::size_t threads = 0;                              ///< that worked on it
  std::chrono::duration<double, std::milli> held_up{};  ///< the longest that its loop kept others waiting
};

/// Counts the threads that call note(). Any thread.
class thread_count {
 public:
  void note() {
    const std::lock_guard lock(mutex_);
    seen_.insert(std::this_thread::get_id());
  }
  [[nodiscard]] std::size_t get() const {
    const std::lock_guard lock(mutex_);
    return seen_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::thread::id> seen_;
};

/// A fiber that asks to run each millisecond, and notes how much later it was let. All that time the loop's other
/// fibers, and with them a server's clients, were kept waiting.
class heartbeat {
 public:
  heartbeat()
      : beating_(weft::spawn([this] {
          while (!stopped_) {
            const auto due = weft::clock::now() + std::chrono::milliseconds(1);
            weft::sleep_until(due);
            longest_ = std::max(longest_, weft::clock::now() - due);
          }
        })) {}
  heartbeat(const heartbeat&) = delete;
  heartbeat& operator=(const heartbeat&) = delete;
  ~heartbeat() {
    weft::shield([this] { stop(); });
  }

  weft::clock::duration stop() {
    stopped_ = true;
    beating_.wait();
    return longest_;
  }

 private:
  bool stopped_ = false;  // of one loop, as all fibers here: no atomics
  weft::clock::duration longest_{};
  weft::future<void> beating_;
};

constexpr double about_as_fast = 1.5;
constexpr std::chrono::milliseconds held_up_for_long{100};
constexpr const char* rule =
    "the fastest;\nbut of ways that take at most 1.5 times as long, one that keeps its loop from others\n"
    "for less than 100 ms, and of those the one on the fewest threads.";

inline void print_header(std::ostream& out) {
  out << std::left << std::setw(32) << "job" << std::setw(16) << "way" << std::right << std::setw(8) << "time"
      << std::setw(10) << "threads" << std::setw(14) << "loop held up" << '\n';
}

inline void print_row(std::ostream& out, const std::string& job, const trial& t) {
  out << std::left << std::setw(32) << job << std::setw(16) << t.way << std::right << std::fixed << std::setprecision(3)
      << std::setw(6) << t.time.count() << " s" << std::setw(10) << t.threads << std::setprecision(0) << std::setw(11)
      << t.held_up.count() << " ms" << std::endl;
}

/// The one that `rule` says.
inline const trial& choose(const std::vector<trial>& trials) {
  const auto faster = [](const trial& a, const trial& b) { return a.time < b.time; };
  const auto fastest = std::min_element(trials.begin(), trials.end(), faster)->time;
  const auto badness = [&](const trial& t) {
    return std::tuple(t.time > fastest * about_as_fast, t.held_up > held_up_for_long, t.threads, t.time);
  };
  return *std::min_element(trials.begin(), trials.end(),
                           [&](const trial& a, const trial& b) { return badness(a) < badness(b); });
}

/// The choice, and a line for each other way: what it costs instead.
inline std::string advise(const std::vector<trial>& trials) {
  const trial& best = choose(trials);
  std::ostringstream out;
  out << best.way << '\n' << std::fixed;
  for (const trial& t : trials) {
    if (&t == &best) continue;
    out << "  " << t.way << " takes " << std::setprecision(1) << t.time / best.time << " times as long";
    if (t.threads > best.threads) out << ", on " << t.threads << " threads instead of " << best.threads;
    if (t.held_up > held_up_for_long)
      out << ", and holds up its loop for " << std::setprecision(0) << t.held_up.count() << " ms";
    out << '\n';
  }
  return out.str();
}
