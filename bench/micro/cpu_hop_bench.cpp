// From a fiber to a CPU task that does nothing, and back: one at a time, and a thousand under way at once. An operation
// is one such task. The pool's threads sleep when the first one comes.

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <asio.hpp>
#include <boost/fiber/all.hpp>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

constexpr unsigned workers = 2;
constexpr std::size_t thousand = 1000;

// `hop(i)` gives i + 1, computed elsewhere.
template <class Hop>
void one_at_a_time(benchmark::State& state, Hop hop) {
  std::size_t sum = 0;
  for (auto _ : state) sum = hop(sum);
  bench::check(state, sum == bench::iterations(state), "a task gave something else");
  bench::each(state);
}
// `hops(n)` gives the sum of what n tasks gave, each of them 1.
template <class Hops>
void a_thousand(benchmark::State& state, Hops hops) {
  std::size_t sum = 0;
  for (auto _ : state) sum += hops(thousand);
  bench::check(state, sum == bench::iterations(state) * thousand, "a task gave something else");
  bench::each(state, thousand);
}

// Starts n with `start` and adds up what `take` gets of each.
template <class Start, class Take>
std::size_t sum_of(std::size_t n, Start start, Take take) {
  std::vector<decltype(start())> all;
  all.reserve(n);
  for (std::size_t i = 0; i < n; ++i) all.push_back(start());
  std::size_t sum = 0;
  for (auto& one : all) sum += take(one);
  return sum;
}
std::size_t one() { return 1; }
constexpr auto get = [](auto& future) { return future.get(); };

// --- weft ---

void one_weft(benchmark::State& state) {
  bench::on_loops(
      1, [&] { one_at_a_time(state, [](std::size_t i) { return weft::spawn_cpu([i] { return i + 1; }).get(); }); },
      workers);
}
void thousand_weft(benchmark::State& state) {
  bench::on_loops(
      1,
      [&] {
        a_thousand(state, [](std::size_t n) {
          return sum_of(
              n, [] { return weft::spawn_cpu(one); }, get);
        });
      },
      workers);
}
WEFT_BENCH("cpu_hop/weft", one_weft);
WEFT_BENCH("cpu_hop_1000/weft", thousand_weft);

// --- Asio: a coroutine of a loop that has its work done by a thread_pool ---

asio::awaitable<std::size_t> compute_asio(std::size_t i) { co_return i + 1; }

asio::awaitable<void> hops_asio(benchmark::State& state, asio::thread_pool& pool) {
  std::size_t sum = 0;
  for (auto _ : state) sum = co_await asio::co_spawn(pool, compute_asio(sum), asio::use_awaitable);
  bench::check(state, sum == bench::iterations(state), "a task gave something else");
  bench::each(state);
}
void one_asio(benchmark::State& state) {
  asio::thread_pool pool(workers);
  asio::io_context loop(1);
  asio::co_spawn(loop, hops_asio(state, pool), asio::detached);
  loop.run();
}
// Each is posted to the pool, and posts its result back; the last one wakes the coroutine.
asio::awaitable<void> thousand_hops_asio(benchmark::State& state, asio::thread_pool& pool) {
  const auto home = co_await asio::this_coro::executor;
  asio::steady_timer all_done(home);
  std::size_t sum = 0;
  for (auto _ : state) {
    std::size_t left = thousand;
    all_done.expires_at(asio::steady_timer::time_point::max());
    for (std::size_t i = 0; i < thousand; ++i)
      asio::post(pool, [&, home] {
        const std::size_t result = one();
        asio::post(home, [&, result] {
          sum += result;
          if (--left == 0) all_done.cancel();
        });
      });
    asio::error_code cancelled;
    co_await all_done.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  bench::check(state, sum == bench::iterations(state) * thousand, "a task gave something else");
  bench::each(state, thousand);
}
void thousand_asio(benchmark::State& state) {
  asio::thread_pool pool(workers);
  asio::io_context loop(1);
  asio::co_spawn(loop, thousand_hops_asio(state, pool), asio::detached);
  loop.run();
}
WEFT_BENCH("cpu_hop/asio_awaitable", one_asio);
WEFT_BENCH("cpu_hop_1000/asio", thousand_asio);

// --- oneTBB: a thread enqueues and waits for a condition variable ---

class countdown {
 public:
  explicit countdown(std::size_t n) : left_(n) {}
  void done(std::size_t result) {
    const std::lock_guard lock(mutex_);
    sum_ += result;
    if (--left_ == 0) ended_.notify_one();  // under the lock: who waits destroys us
  }
  std::size_t wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return left_ == 0; });
    return sum_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t left_;
  std::size_t sum_ = 0;
};
// Or an arena of two on two cores would have one worker.
class tbb_workers : tbb::global_control {
 public:
  tbb_workers() : global_control(max_allowed_parallelism, workers + 1) {}
};
void one_tbb(benchmark::State& state) {
  const tbb_workers limit;
  tbb::task_arena arena(workers, 0);
  one_at_a_time(state, [&](std::size_t i) {
    countdown c(1);
    arena.enqueue([&c, i] { c.done(i + 1); });
    return c.wait();
  });
}
void thousand_tbb(benchmark::State& state) {
  const tbb_workers limit;
  tbb::task_arena arena(workers, 0);
  a_thousand(state, [&](std::size_t n) {
    countdown c(n);
    for (std::size_t i = 0; i < n; ++i) arena.enqueue([&c] { c.done(one()); });
    return c.wait();
  });
}
WEFT_BENCH("cpu_hop/tbb", one_tbb);
WEFT_BENCH("cpu_hop_1000/tbb", thousand_tbb);

// --- Boost.Fiber: threads that take work from its channel, and its promises ---

class boost_workers {
 public:
  using work = std::function<void()>;
  boost_workers() {
    for (unsigned i = 0; i < workers; ++i)
      threads_.emplace_back([this] {
        for (const work& w : queue_) w();
      });
  }
  ~boost_workers() {
    queue_.close();
    for (auto& t : threads_) t.join();
  }
  boost_workers(const boost_workers&) = delete;
  boost_workers& operator=(const boost_workers&) = delete;

  template <class F>
  boost::fibers::future<std::size_t> run(F f) {
    auto result = std::make_shared<boost::fibers::promise<std::size_t>>();
    auto future = result->get_future();
    queue_.push([result = std::move(result), f] { result->set_value(f()); });
    return future;
  }

 private:
  boost::fibers::buffered_channel<work> queue_{2048};
  std::vector<std::thread> threads_;
};
void one_boost(benchmark::State& state) {
  boost_workers pool;
  one_at_a_time(state, [&](std::size_t i) { return pool.run([i] { return i + 1; }).get(); });
}
void thousand_boost(benchmark::State& state) {
  boost_workers pool;
  a_thousand(state, [&](std::size_t n) {
    return sum_of(
        n, [&] { return pool.run(one); }, get);
  });
}
WEFT_BENCH("cpu_hop/boost_fiber", one_boost);
WEFT_BENCH("cpu_hop_1000/boost_fiber", thousand_boost);

// --- a thread for each ---

void one_std_async(benchmark::State& state) {
  one_at_a_time(state, [](std::size_t i) { return std::async(std::launch::async, [i] { return i + 1; }).get(); });
}
void thousand_std_async(benchmark::State& state) {
  a_thousand(state, [](std::size_t n) {
    return sum_of(
        n, [] { return std::async(std::launch::async, one); }, get);
  });
}
WEFT_BENCH("cpu_hop/std_async", one_std_async);
WEFT_BENCH("cpu_hop_1000/std_async", thousand_std_async);

}  // namespace
