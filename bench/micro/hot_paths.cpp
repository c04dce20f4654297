// The hot paths, for counting their instructions: run by `instructions` under callgrind, which says how.
//
// Each path is run once to get warm, then so many times and then a good deal more often; before each run the counts are
// set to zero, and after it they are written down under the name `path count`. What a run costs besides its operations
// is in both, and so not in their difference. Run without Valgrind, it only checks the answers.

#include <valgrind/callgrind.h>

#include <chrono>
#include <cstddef>
#include <iostream>
#include <string>
#include <vector>

#include "weft/executor.hpp"

namespace {

constexpr std::size_t batch = 100;
bool all_right = true;

// `run(n)` does n operations and says whether the answer is right.
template <class Run>
void count(const char* path, std::size_t operations, Run run) {
  bool right = run(operations);
  for (const std::size_t n : {operations, 5 * operations}) {
    const std::string name = path + (" " + std::to_string(n));
    CALLGRIND_ZERO_STATS;
    right &= run(n);
    CALLGRIND_DUMP_STATS_AT(name.c_str());
  }
  if (!right) std::cerr << "hot_paths: " << path << ": the answer is wrong\n";
  all_right &= right;
}

// An operation is a switch: both fibers yield.
bool yields(std::size_t n) {
  bool stop = false;
  std::size_t others = 0;
  auto other = weft::spawn([&] {
    while (!stop) {
      weft::yield();
      ++others;
    }
  });
  for (std::size_t i = 0; i < n / 2; ++i) weft::yield();
  stop = true;
  other.get();
  return others >= n / 2 - 1 && others <= n / 2 + 1;
}

bool spawns_and_joins(std::size_t n) {
  std::size_t ran = 0;
  for (std::size_t i = 0; i < n; ++i) weft::spawn([&ran] { ++ran; }).get();
  return ran == n;
}

bool batches_of_spawns(std::size_t n) {
  std::size_t ran = 0;
  std::vector<weft::future<void>> tasks;
  tasks.reserve(batch);
  for (std::size_t i = 0; i < n / batch; ++i) {
    for (std::size_t k = 0; k < batch; ++k) tasks.push_back(weft::spawn([&ran] { ++ran; }));
    for (auto& t : tasks) t.get();
    tasks.clear();
  }
  return ran == n;
}

bool round_trips(std::size_t n, std::size_t capacity) {
  weft::channel<std::size_t> to(capacity);
  weft::channel<std::size_t> from(capacity);
  auto other = weft::spawn([&] {
    for (const std::size_t v : to) from.send(v + 1);
  });
  std::size_t value = 0;
  for (std::size_t i = 0; i < n; ++i) {
    to.send(value);
    value = from.recv();
  }
  to.close();
  other.get();
  return value == n;
}

bool channel_round_trips(std::size_t n) { return round_trips(n, 1); }
// Senders wait, not receivers.
bool channel_rendezvous(std::size_t n) { return round_trips(n, 0); }

// Nobody waits: the value is kept until it is received.
bool channel_without_waits(std::size_t n) {
  weft::channel<std::size_t> ch(1);
  std::size_t value = 0;
  for (std::size_t i = 0; i < n; ++i) {
    ch.send(value + 1);
    value = ch.recv();
  }
  return value == n;
}

bool locks_and_unlocks(std::size_t n) {
  weft::mutex m;
  volatile std::size_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    m.lock();
    sum = sum + 1;
    m.unlock();
  }
  return sum == n;
}

// An operation is one of the hundred.
bool gathers_of_a_hundred(std::size_t n) {
  std::size_t ran = 0;
  for (std::size_t i = 0; i < n / batch; ++i) {
    std::vector<weft::future<void>> tasks;
    tasks.reserve(batch);
    for (std::size_t k = 0; k < batch; ++k) tasks.push_back(weft::spawn([&ran] { ++ran; }));
    weft::gather(std::move(tasks)).get();
  }
  return ran == n;
}

bool timers_made_and_cancelled(std::size_t n) {
  std::size_t in_time = 0;
  for (std::size_t i = 0; i < n; ++i) weft::timeout(std::chrono::hours(1), [&] { ++in_time; });
  return in_time == n;
}

// Two fibers that wait for one another's events, one with a time limit that never comes.
bool timed_waits(std::size_t n) {
  weft::event to;
  weft::event from;
  bool stop = false;
  auto other = weft::spawn([&] {
    for (;;) {
      to.wait();
      to.clear();
      if (stop) return;
      from.set();
    }
  });
  std::size_t in_time = 0;
  for (std::size_t i = 0; i < n; ++i) {
    to.set();
    in_time += from.wait_for(std::chrono::hours(1));
    from.clear();
  }
  stop = true;
  to.set();
  other.get();
  return in_time == n;
}

}  // namespace

int main() {
  weft::config c{.loops = 1, .cpu_workers = 1};
  c.stall_after = std::chrono::nanoseconds(0);  // under Valgrind everything takes long
  weft::run(
      [] {
        count("yield", 10'000, yields);
        count("spawn_join", 4'000, spawns_and_joins);
        count("spawn_batch", 4'000, batches_of_spawns);
        count("channel_round_trip", 4'000, channel_round_trips);
        count("channel_rendezvous", 4'000, channel_rendezvous);
        count("channel_without_wait", 4'000, channel_without_waits);
        count("mutex", 10'000, locks_and_unlocks);
        count("gather_100", 4'000, gathers_of_a_hundred);
        count("timer_cancelled", 4'000, timers_made_and_cancelled);
        count("timed_wait", 4'000, timed_waits);
      },
      c);
  return all_right ? 0 : 1;
}
