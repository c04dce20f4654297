// oneTBB's algorithms inside spawn_cpu beside oneTBB alone, both with the same number of workers. A CPU task runs on a
// stack of weft's, where oneTBB's guard against deep stealing, which compares addresses with the worker's own stack,
// cannot see how deep it is.

#include <benchmark/benchmark.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_invoke.h>
#include <tbb/parallel_reduce.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <vector>

#include "weft/executor.hpp"

namespace {

long fib(int n) {
  if (n < 2) return n;
  long a = 0;
  long b = 0;
  tbb::parallel_invoke([&] { a = fib(n - 1); }, [&] { b = fib(n - 2); });
  return a + b;
}

// A fork for each addition: nothing but the algorithm's own cost.
void fork_join_fib() {
  if (fib(22) != 17711) std::abort();
}

std::vector<float>& numbers() {
  static std::vector<float> n(1 << 20, 1.5F);
  return n;
}

void for_each_element() {
  auto& n = numbers();
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, n.size()), [&](const auto& r) {
    for (std::size_t i = r.begin(); i != r.end(); ++i) n[i] = std::sqrt(n[i] + 1);
  });
}

// Loops inside a loop: each body waits for an algorithm of its own.
void nested_loops() {
  std::atomic<long> sum{0};
  tbb::parallel_for(0, 64, [&](int) {
    sum += tbb::parallel_reduce(
        tbb::blocked_range<int>(0, 2000, 50), 0L,
        [](const auto& r, long s) {
          for (int i = r.begin(); i != r.end(); ++i) s += i;
          return s;
        },
        std::plus<>());
  });
  if (sum != 64L * 1999 * 1000) std::abort();
}

template <void (*Work)()>
void tbb_alone(benchmark::State& state) {
  const auto workers = static_cast<int>(state.range(0));
  // What weft does: `workers` threads besides the caller's, which only waits.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(workers) + 1);
  tbb::task_arena arena(workers, 0);
  for (auto _ : state) {
    std::atomic<bool> done{false};
    arena.enqueue([&] {
      Work();
      done = true;
      done.notify_one();
    });
    done.wait(false);
  }
}

template <void (*Work)()>
void in_spawn_cpu(benchmark::State& state) {
  weft::run(
      [&] {
        for (auto _ : state) weft::spawn_cpu([] { Work(); }).get();
      },
      {.loops = 1, .cpu_workers = static_cast<unsigned>(state.range(0))});
}

#define WEFT_BENCH_BOTH(work)                                                                                      \
  BENCHMARK(tbb_alone<work>)->Name(#work "/oneTBB")->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond); \
  BENCHMARK(in_spawn_cpu<work>)->Name(#work "/spawn_cpu")->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond)

WEFT_BENCH_BOTH(fork_join_fib);
WEFT_BENCH_BOTH(for_each_element);
WEFT_BENCH_BOTH(nested_loops);

}  // namespace
