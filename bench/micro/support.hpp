#pragma once
// What the benchmarks of this folder have in common: names, figures, sizes, and that the answer is right.
//
// Names. `<scenario>/<system>[/<variant>]`: systems of one scenario do the same work. Google Benchmark puts
// `/iterations:N`, `/process_time`, `/real_time` and `/manual_time` behind, which belong to no name.
//
// Figures, as counters:
//   ns               nanoseconds of real time for one operation of the scenario, whatever an iteration is. The file
//                    says what an operation is.
//   bytes            what one of those that exist at once keeps resident, by the growth of the process
//   heap_bytes       the same as malloc counts it: the records
//   page_table_bytes page tables for each, which are not in `bytes`
// (oneTBB and State Threads keep memory for good, and grow in their first benchmark only: one process for each.)
//   count            how many there were, where systems cannot all have as many
// `cpu_time`, an iteration's, is that of all threads of the process. With /manual_time it also holds what is not
// measured; leave it out.
//
// Errors. A wrong answer ends the benchmark with an error; in JSON its `error_occurred` is true and it has no `ns`.
//
// Sizes. WEFT_BENCH_SCALE, a number above 0 and up to 1, makes smaller what is made in one go: a million of something.

#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "weft/executor.hpp"

#define WEFT_BENCH_JOIN(a, b) a##b
#define WEFT_BENCH_UNIQUE(line) WEFT_BENCH_JOIN(registered_, line)
/// WEFT_BENCH("scenario/system", function, arguments...): real time, and CPU time of all threads.
#define WEFT_BENCH(...) \
  [[maybe_unused]] const auto* const WEFT_BENCH_UNIQUE(__LINE__) = ::bench::add(__VA_ARGS__)->UseRealTime()
/// The same for a function that measures by itself: State::SetIterationTime.
#define WEFT_BENCH_MANUAL(...) \
  [[maybe_unused]] const auto* const WEFT_BENCH_UNIQUE(__LINE__) = ::bench::add(__VA_ARGS__)->UseManualTime()

namespace bench {

template <class F, class... A>
benchmark::internal::Benchmark* add(const char* name, F f, A... a) {
  return benchmark::RegisterBenchmark(name, [=](benchmark::State& state) { f(state, a...); })->MeasureProcessCPUTime();
}

/// Says how many operations an iteration was; at the end of a benchmark.
inline void each(benchmark::State& state, double operations = 1) {
  using counter = benchmark::Counter;
  // operations / 1e9 for each iteration, by the time in seconds, inverted: nanoseconds for one.
  state.counters["ns"] = counter(operations * 1e-9, counter::kIsIterationInvariantRate | counter::kInvert);
}
inline void each(benchmark::State& state, std::size_t operations) { each(state, static_cast<double>(operations)); }
inline void each(benchmark::State& state, int operations) { each(state, static_cast<double>(operations)); }

/// How many iterations there were.
inline std::size_t iterations(const benchmark::State& state) { return static_cast<std::size_t>(state.iterations()); }

inline void check(benchmark::State& state, bool right, const char* what_is_wrong) {
  if (!right) state.SkipWithError(what_is_wrong);
}

/// `full`, made smaller by WEFT_BENCH_SCALE.
inline std::size_t scaled(std::size_t full, std::size_t least = 1000) {
  static const double scale = [] {
    const char* text = std::getenv("WEFT_BENCH_SCALE");
    const double s = text ? std::strtod(text, nullptr) : 1;
    return s > 0 && s <= 1 ? s : 1;
  }();
  return std::max(std::min(full, least), static_cast<std::size_t>(static_cast<double>(full) * scale));
}

/// Runs `body` on loop 0 of so many. Long stretches without a wait are what benchmarks are made of: nobody watches.
template <class Body>
void on_loops(unsigned loops, Body body, unsigned cpu_workers = weft::usable_cores()) {
  weft::config c{.loops = loops, .cpu_workers = cpu_workers};
  c.stall_after = std::chrono::nanoseconds(0);
  weft::run(body, c);
}

using clock = std::chrono::steady_clock;

inline double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

/// Keeps the thread busy: long enough for another one to fall asleep.
inline void stay_busy(std::chrono::nanoseconds duration = std::chrono::microseconds(50)) {
  const auto until = clock::now() + duration;
  while (clock::now() < until) {
  }
}

/// Keeps the calling thread on one of the cores it may use, the nth, if there are that many. A thread that it starts
/// meanwhile stays there too, and a pool that it starts counts one core.
inline void pin(unsigned nth) {
  cpu_set_t mine;
  ::sched_getaffinity(0, sizeof mine, &mine);
  if (static_cast<unsigned>(CPU_COUNT(&mine)) <= nth) return;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mine) || nth-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

/// The same, to the end of the block.
class pinned {
 public:
  explicit pinned(unsigned nth) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    pin(nth);
  }
  ~pinned() { ::sched_setaffinity(0, sizeof before_, &before_); }
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;

 private:
  cpu_set_t before_;
};

/// Two loops, each on a core of its own.
template <class Body>
void on_two_cores(Body body) {
  on_loops(2, [&] {
    weft::spawn(weft::on_loop(1), [] { pin(1); }).get();
    const pinned here(0);
    body();
  });
}

/// What the process has taken from the system since this was made.
class memory_growth {
 public:
  memory_growth() {
    ::malloc_trim(0);  // what was freed earlier would hide the growth
    resident_ = status("VmRSS");
    page_tables_ = status("VmPTE");
    heap_ = heap();
  }
  /// Now there are `count` of them. Keeps the greatest that it saw.
  void note(std::size_t count) {
    const auto grown = [&](std::int64_t now, std::int64_t before) {
      return std::max(0.0, static_cast<double>(now - before) / static_cast<double>(count));
    };
    bytes_ = std::max(bytes_, grown(status("VmRSS"), resident_));
    page_table_bytes_ = std::max(page_table_bytes_, grown(status("VmPTE"), page_tables_));
    heap_bytes_ = std::max(heap_bytes_, grown(heap(), heap_));
  }
  void report(benchmark::State& state) const {
    state.counters["bytes"] = bytes_;
    state.counters["page_table_bytes"] = page_table_bytes_;
    state.counters["heap_bytes"] = heap_bytes_;
  }

 private:
  // A line of /proc/self/status, in bytes (proc(5)).
  static std::int64_t status(const std::string& name) {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
    return 0;
  }
  static std::int64_t heap() {
    const struct mallinfo2 m = ::mallinfo2();
    return static_cast<std::int64_t>(m.uordblks + m.hblkhd);
  }

  std::int64_t resident_ = 0;
  std::int64_t page_tables_ = 0;
  std::int64_t heap_ = 0;
  double bytes_ = 0;
  double page_table_bytes_ = 0;
  double heap_bytes_ = 0;
};

}  // namespace bench
