// oneTBB's algorithms inside spawn_cpu beside oneTBB alone, both with the same number of workers. A CPU task runs on a
// stack of weft's, where oneTBB's guard against deep stealing, which compares addresses with the worker's own stack,
// cannot see how deep it is. An operation is one fork of the tree, one element of the loop, or one loop inside the
// loop. Each call of spawn_cpu does 20 to 300 ms of work, so that the hop there and back counts for nothing; but in
// parallel_short, where it is 0.1 ms.

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_invoke.h>
#include <tbb/parallel_reduce.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "support.hpp"

namespace {

// A fork for each addition: nothing but the algorithm's own cost.
struct fork_join {
  const int n = bench::scaled(32, 1) == 32 ? 32 : 20;
  [[nodiscard]] std::size_t operations() const { return static_cast<std::size_t>(plain(n + 1)) - 1; }
  bool operator()() const { return fib(n) == plain(n); }

  static long fib(int n) {
    if (n < 2) return n;
    long a = 0;
    long b = 0;
    tbb::parallel_invoke([&] { a = fib(n - 1); }, [&] { b = fib(n - 2); });
    return a + b;
  }
  static long plain(int n) {
    long a = 0;
    for (long b = 1; n > 0; --n) a = std::exchange(b, a + b);
    return a;
  }
};

// Elements that cost something; the answer is that all are as the first.
struct for_each_element {
  std::vector<float> numbers = std::vector<float>(1 << 20, 1.5F);
  [[nodiscard]] std::size_t operations() const { return numbers.size(); }
  bool operator()() {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, numbers.size()), [&](const auto& r) {
      for (std::size_t i = r.begin(); i != r.end(); ++i) numbers[i] = std::sqrt(numbers[i] + 1);
    });
    return numbers.front() == numbers[numbers.size() / 2] && numbers.front() == numbers.back();
  }
};

// Elements that cost next to nothing.
struct sum_of_elements {
  std::vector<int> numbers = [] {
    std::vector<int> n(1 << 20);
    std::iota(n.begin(), n.end(), 0);
    return n;
  }();
  [[nodiscard]] std::size_t operations() const { return numbers.size(); }
  bool operator()() const {
    std::atomic<long> sum{0};
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, numbers.size()), [&](const auto& r) {
      long s = 0;
      for (std::size_t i = r.begin(); i != r.end(); ++i) s += numbers[i];
      sum.fetch_add(s, std::memory_order_relaxed);
    });
    const auto n = static_cast<long>(numbers.size());
    return sum == n * (n - 1) / 2;
  }
};

// Loops inside a loop: each body waits for an algorithm of its own.
struct nested_loops {
  [[nodiscard]] std::size_t operations() const { return 64; }
  bool operator()() const {
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
    return sum == 64L * 1999 * 1000;
  }
};

/// Work over and over.
template <class Work, std::size_t times>
struct repeated {
  Work once;
  [[nodiscard]] std::size_t operations() const { return once.operations() * passes(); }
  [[nodiscard]] static std::size_t passes() { return bench::scaled(times, 1); }
  bool operator()() {
    bool right = true;
    for (std::size_t i = 0; i < passes(); ++i) right &= once();
    return right;
  }
};

using long_for = repeated<for_each_element, 32>;
using long_sum = repeated<sum_of_elements, 256>;
using long_nested = repeated<nested_loops, 256>;

template <class Work>
void report(benchmark::State& state, const Work& work, bool right) {
  bench::check(state, right, "the algorithm's result is wrong");
  bench::each(state, work.operations());
}

template <class Work>
void tbb_alone(benchmark::State& state, unsigned workers) {
  // What weft does: `workers` threads besides the caller's, which only waits.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, std::size_t{workers} + 1);
  tbb::task_arena arena(static_cast<int>(workers), 0);
  Work work;
  bool right = true;
  for (auto _ : state) {
    std::atomic<bool> done{false};
    arena.enqueue([&] {
      right &= work();
      done = true;
      done.notify_one();
    });
    done.wait(false);
  }
  report(state, work, right);
}

template <class Work>
void in_spawn_cpu(benchmark::State& state, unsigned workers) {
  Work work;
  bool right = true;
  bench::on_loops(
      1,
      [&] {
        for (auto _ : state) weft::spawn_cpu([&] { right &= work(); }).get();
      },
      workers);
  report(state, work, right);
}

WEFT_BENCH("parallel_fib_1_worker/weft", in_spawn_cpu<fork_join>, 1U);
WEFT_BENCH("parallel_fib_1_worker/tbb", tbb_alone<fork_join>, 1U);
WEFT_BENCH("parallel_fib_2_workers/weft", in_spawn_cpu<fork_join>, 2U);
WEFT_BENCH("parallel_fib_2_workers/tbb", tbb_alone<fork_join>, 2U);
WEFT_BENCH("parallel_for_1_worker/weft", in_spawn_cpu<long_for>, 1U);
WEFT_BENCH("parallel_for_1_worker/tbb", tbb_alone<long_for>, 1U);
WEFT_BENCH("parallel_for_2_workers/weft", in_spawn_cpu<long_for>, 2U);
WEFT_BENCH("parallel_for_2_workers/tbb", tbb_alone<long_for>, 2U);
WEFT_BENCH("parallel_sum_1_worker/weft", in_spawn_cpu<long_sum>, 1U);
WEFT_BENCH("parallel_sum_1_worker/tbb", tbb_alone<long_sum>, 1U);
WEFT_BENCH("parallel_sum_2_workers/weft", in_spawn_cpu<long_sum>, 2U);
WEFT_BENCH("parallel_sum_2_workers/tbb", tbb_alone<long_sum>, 2U);
WEFT_BENCH("parallel_nested_1_worker/weft", in_spawn_cpu<long_nested>, 1U);
WEFT_BENCH("parallel_nested_1_worker/tbb", tbb_alone<long_nested>, 1U);
WEFT_BENCH("parallel_nested_2_workers/weft", in_spawn_cpu<long_nested>, 2U);
WEFT_BENCH("parallel_nested_2_workers/tbb", tbb_alone<long_nested>, 2U);
WEFT_BENCH("parallel_short_2_workers/weft", in_spawn_cpu<nested_loops>, 2U);
WEFT_BENCH("parallel_short_2_workers/tbb", tbb_alone<nested_loops>, 2U);

}  // namespace
