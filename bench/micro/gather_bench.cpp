// A thousand tasks that do next to nothing, started and awaited together. An operation is one of them.

#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <asio.hpp>
#include <asio/experimental/deferred.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <boost/fiber/all.hpp>
#include <exception>
#include <future>
#include <utility>
#include <vector>

#include "boost_fiber.hpp"
#include "state_threads.hpp"
#include "support.hpp"

namespace {

constexpr std::size_t thousand = 1000;

// `together(f)` runs f a thousand times, each time as a task of its own.
template <class Together>
void rounds(benchmark::State& state, Together together) {
  std::size_t ran = 0;
  for (auto _ : state) together([&ran] { ++ran; });
  bench::check(state, ran == bench::iterations(state) * thousand, "not every task ran once");
  bench::each(state, thousand);
}

// --- weft ---

void gather_weft(benchmark::State& state) {
  bench::on_loops(1, [&] {
    rounds(state, [](auto f) {
      std::vector<weft::future<void>> tasks;
      tasks.reserve(thousand);
      for (std::size_t i = 0; i < thousand; ++i) tasks.push_back(weft::spawn(f));
      weft::gather(std::move(tasks)).get();
    });
  });
}
void group_weft(benchmark::State& state) {
  bench::on_loops(1, [&] {
    rounds(state, [](auto f) {
      weft::with_group([&](weft::task_group& g) {
        for (std::size_t i = 0; i < thousand; ++i) g.spawn(f);
      });
    });
  });
}
WEFT_BENCH("gather_1000/weft", gather_weft);
WEFT_BENCH("gather_1000/weft/task_group", group_weft);

// --- oneTBB, on one thread as the others ---

void gather_tbb(benchmark::State& state) {
  tbb::task_arena(1).execute([&] {
    rounds(state, [](auto f) {
      tbb::task_group g;
      for (std::size_t i = 0; i < thousand; ++i) g.run(f);
      g.wait();
    });
  });
}
WEFT_BENCH("gather_1000/tbb", gather_tbb);

// --- Boost.Fiber has no gather: each is joined ---

void gather_boost_fiber(benchmark::State& state) {
  const bench::kept_stacks stacks;
  rounds(state, [&](auto f) {
    std::vector<boost::fibers::fiber> tasks;
    tasks.reserve(thousand);
    for (std::size_t i = 0; i < thousand; ++i) tasks.push_back(stacks.start(f));
    for (auto& t : tasks) t.join();
  });
}
WEFT_BENCH("gather_1000/boost_fiber", gather_boost_fiber);

// --- Asio 1.22 gathers a fixed number: by hand with a count, or as ten groups of ten groups of ten ---

template <class F>
asio::awaitable<void> call(F& f) {
  f();
  co_return;
}
asio::awaitable<void> counted_rounds_asio(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer all_done(executor);
  std::size_t ran = 0;
  auto f = [&ran] { ++ran; };
  for (auto _ : state) {
    std::size_t left = thousand;
    all_done.expires_at(asio::steady_timer::time_point::max());
    for (std::size_t i = 0; i < thousand; ++i)
      asio::co_spawn(executor, call(f), [&](const std::exception_ptr&) {
        if (--left == 0) all_done.cancel();
      });
    asio::error_code cancelled;
    co_await all_done.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
  bench::check(state, ran == bench::iterations(state) * thousand, "not every task ran once");
  bench::each(state, thousand);
}
template <class F>
asio::awaitable<void> group_of_ten(F& f, int depth) {
  const auto executor = co_await asio::this_coro::executor;
  co_await [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto child = [&](std::size_t) {
      return asio::co_spawn(executor, depth == 1 ? call(f) : group_of_ten(f, depth - 1), asio::experimental::deferred);
    };
    return asio::experimental::make_parallel_group(child(I)...)
        .async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  }(std::make_index_sequence<10>());
}
asio::awaitable<void> grouped_rounds_asio(benchmark::State& state) {
  std::size_t ran = 0;
  auto f = [&ran] { ++ran; };
  for (auto _ : state) co_await group_of_ten(f, 3);
  bench::check(state, ran == bench::iterations(state) * thousand, "not every task ran once");
  bench::each(state, thousand);
}
void gather_asio(benchmark::State& state, asio::awaitable<void> (*rounds_of)(benchmark::State&)) {
  asio::io_context loop(1);
  asio::co_spawn(loop, rounds_of(state), asio::detached);
  loop.run();
}
WEFT_BENCH("gather_1000/asio_awaitable", gather_asio, counted_rounds_asio);
WEFT_BENCH("gather_1000/asio_awaitable/parallel_group", gather_asio, grouped_rounds_asio);

// --- a thread for each ---

void gather_std_async(benchmark::State& state) {
  std::atomic<std::size_t> ran{0};
  for (auto _ : state) {
    std::vector<std::future<void>> tasks;
    tasks.reserve(thousand);
    for (std::size_t i = 0; i < thousand; ++i) tasks.push_back(std::async(std::launch::async, [&ran] { ++ran; }));
    for (auto& t : tasks) t.get();
  }
  bench::check(state, ran == bench::iterations(state) * thousand, "not every task ran once");
  bench::each(state, thousand);
}
WEFT_BENCH("gather_1000/std_async", gather_std_async);

#if defined(WEFT_BENCH_STATE_THREADS)
void gather_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  rounds(state, [](auto f) {
    std::vector<st_thread_t> tasks;
    tasks.reserve(thousand);
    for (std::size_t i = 0; i < thousand; ++i) tasks.push_back(bench::st::start(f));
    for (st_thread_t const t : tasks) st_thread_join(t, nullptr);
  });
}
WEFT_BENCH("gather_1000/state_threads", gather_state_threads);
#endif

}  // namespace
