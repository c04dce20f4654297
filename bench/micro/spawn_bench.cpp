// Tasks that do next to nothing: spawned and joined one after the other, and very many spawned before the first is
// joined. An operation is one task. What one keeps resident is measured when all were spawned and none has run, and
// includes the handle that it is joined by.

#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <asio.hpp>
#include <boost/fiber/all.hpp>
#include <future>
#include <optional>
#include <thread>
#include <vector>

#include "boost_fiber.hpp"
#include "state_threads.hpp"
#include "support.hpp"

namespace {

// --- one after the other ---

void check_ran(benchmark::State& state, std::size_t ran) {
  bench::check(state, ran == bench::iterations(state), "not every task ran once");
  bench::each(state);
}

// `run_one(f)` comes back when f ran as a task of its own.
template <class RunOne>
void one_by_one(benchmark::State& state, RunOne run_one) {
  std::size_t ran = 0;
  for (auto _ : state) run_one([&ran] { ++ran; });
  check_ran(state, ran);
}

void spawn_join_weft(benchmark::State& state) {
  bench::on_loops(1, [&] { one_by_one(state, [](auto f) { weft::spawn(f).get(); }); });
}
void spawn_join_weft_group(benchmark::State& state) {
  bench::on_loops(
      1, [&] { one_by_one(state, [](auto f) { weft::with_group([&](weft::task_group& g) { g.spawn(f); }); }); });
}
void spawn_join_boost_fiber(benchmark::State& state) {
  const bench::kept_stacks stacks;
  one_by_one(state, [&](auto f) { stacks.start(f).join(); });
}
void spawn_join_tbb(benchmark::State& state) {
  tbb::task_arena(1).execute([&] {
    one_by_one(state, [](auto f) {
      tbb::task_group g;
      g.run(f);
      g.wait();
    });
  });
}
void spawn_join_std_thread(benchmark::State& state) {
  one_by_one(state, [](auto f) { std::thread(f).join(); });
}
void spawn_join_std_async(benchmark::State& state) {
  one_by_one(state, [](auto f) { std::async(std::launch::async, f).get(); });
}
// The task posts what comes after it.
void spawn_join_asio(benchmark::State& state) {
  asio::io_context loop(1);
  loop.get_executor().on_work_started();
  one_by_one(state, [&](auto f) {
    bool done = false;
    asio::post(loop, [&, f] {
      f();
      asio::post(loop, [&done] { done = true; });
    });
    while (!done) loop.run_one();
  });
}

asio::awaitable<void> count_up(std::size_t& ran) {
  ++ran;
  co_return;
}
asio::awaitable<void> one_by_one_awaitable(benchmark::State& state) {
  const auto executor = co_await asio::this_coro::executor;
  std::size_t ran = 0;
  for (auto _ : state) co_await asio::co_spawn(executor, count_up(ran), asio::use_awaitable);
  check_ran(state, ran);
}
void spawn_join_asio_awaitable(benchmark::State& state) {
  asio::io_context loop(1);
  asio::co_spawn(loop, one_by_one_awaitable(state), asio::detached);
  loop.run();
}

WEFT_BENCH("spawn_join/weft", spawn_join_weft);
WEFT_BENCH("spawn_join/weft/group", spawn_join_weft_group);
WEFT_BENCH("spawn_join/boost_fiber", spawn_join_boost_fiber);
WEFT_BENCH("spawn_join/asio", spawn_join_asio);
WEFT_BENCH("spawn_join/asio_awaitable", spawn_join_asio_awaitable);
WEFT_BENCH("spawn_join/tbb", spawn_join_tbb);
WEFT_BENCH("spawn_join/std_thread", spawn_join_std_thread);
WEFT_BENCH("spawn_join/std_async", spawn_join_std_async);

// --- very many ---

// All of them, joined in the order they were spawned; the memory is looked at in between. Gives seconds.
template <class Spawn, class Join>
double spawn_then_join(std::size_t count, bench::memory_growth& memory, Spawn spawn, Join join) {
  auto start = bench::clock::now();
  for (std::size_t i = 0; i < count; ++i) spawn();
  double taken = bench::seconds_since(start);
  memory.note(count);
  start = bench::clock::now();
  join();
  return taken + bench::seconds_since(start);
}

// The same with a vector of handles.
template <class Handle, class Spawn, class Join>
double spawn_then_join_each(std::size_t count, bench::memory_growth& memory, Spawn spawn, Join join) {
  std::vector<Handle> all;
  all.reserve(count);
  return spawn_then_join(
      count, memory, [&] { all.push_back(spawn()); },
      [&] {
        for (Handle& h : all) join(h);
      });
}

void report_many(benchmark::State& state, std::size_t count, std::size_t ran, const bench::memory_growth& memory) {
  bench::check(state, ran > 0 && ran % count == 0, "not every task ran once");
  bench::each(state, count);
  memory.report(state);
  state.counters["count"] = static_cast<double>(count);
}

// `round(memory, ran)` spawns and joins them all, each of which adds 1 to `ran`. Measured after a first round; the
// memory from the very first, for some systems keep it.
template <class Round>
void warm_rounds(benchmark::State& state, std::size_t count, Round round) {
  static bench::memory_growth memory;
  std::size_t ran = 0;
  (void)round(memory, ran);
  for (auto _ : state) state.SetIterationTime(round(memory, ran));
  report_many(state, count, ran, memory);
}

constexpr std::size_t million = 1'000'000;
// For those whose tasks have a stack from the beginning: 4 to 8 KiB of it are in use at once.
constexpr std::size_t with_stacks = 100'000;
constexpr std::size_t threads = 10'000;

double weft_round(std::size_t count, bench::memory_growth& memory, std::size_t& ran) {
  return spawn_then_join_each<weft::future<void>>(
      count, memory, [&] { return weft::spawn([&ran] { ++ran; }); }, [](auto& task) { task.get(); });
}
void spawn_many_weft_warm(benchmark::State& state) {
  const std::size_t count = bench::scaled(million);
  bench::on_loops(1, [&] {
    warm_rounds(state, count,
                [&](bench::memory_growth& memory, std::size_t& ran) { return weft_round(count, memory, ran); });
  });
}
// A runtime of its own for each round, which has no memory yet.
void spawn_many_weft_cold(benchmark::State& state) {
  const std::size_t count = bench::scaled(million);
  std::size_t ran = 0;
  std::optional<bench::memory_growth> memory;
  for (auto _ : state)
    bench::on_loops(1, [&] {
      memory.emplace();
      state.SetIterationTime(weft_round(count, *memory, ran));
    });
  report_many(state, count, ran, *memory);
}
void spawn_many_boost_fiber(benchmark::State& state) {
  const std::size_t count = bench::scaled(with_stacks);
  const bench::kept_stacks stacks;
  warm_rounds(state, count, [&](bench::memory_growth& memory, std::size_t& ran) {
    return spawn_then_join_each<boost::fibers::fiber>(
        count, memory, [&] { return stacks.start([&ran] { ++ran; }); }, [](auto& fiber) { fiber.join(); });
  });
}
void spawn_many_asio(benchmark::State& state) {
  const std::size_t count = bench::scaled(million);
  asio::io_context loop(1);
  warm_rounds(state, count, [&](bench::memory_growth& memory, std::size_t& ran) {
    loop.restart();
    return spawn_then_join(
        count, memory, [&] { asio::post(loop, [&ran] { ++ran; }); }, [&] { loop.run(); });
  });
}
void spawn_many_asio_awaitable(benchmark::State& state) {
  const std::size_t count = bench::scaled(million);
  asio::io_context loop(1);
  warm_rounds(state, count, [&](bench::memory_growth& memory, std::size_t& ran) {
    loop.restart();
    return spawn_then_join(
        count, memory, [&] { asio::co_spawn(loop, count_up(ran), asio::detached); }, [&] { loop.run(); });
  });
}
void spawn_many_tbb(benchmark::State& state) {
  const std::size_t count = bench::scaled(million);
  tbb::task_arena(1).execute([&] {
    tbb::task_group g;
    warm_rounds(state, count, [&](bench::memory_growth& memory, std::size_t& ran) {
      return spawn_then_join(
          count, memory, [&] { g.run([&ran] { ++ran; }); }, [&] { g.wait(); });
    });
  });
}
// They end as they come: so the memory says nothing.
void spawn_many_std_thread(benchmark::State& state) {
  const std::size_t count = bench::scaled(threads);
  warm_rounds(state, count, [&](bench::memory_growth& memory, std::size_t& ran) {
    std::atomic<std::size_t> ended{0};
    const double taken = spawn_then_join_each<std::thread>(
        count, memory, [&] { return std::thread([&ended] { ++ended; }); }, [](auto& thread) { thread.join(); });
    ran += ended;
    return taken;
  });
}

WEFT_BENCH_MANUAL("spawn_many/weft/cold", spawn_many_weft_cold);
WEFT_BENCH_MANUAL("spawn_many/weft/warm", spawn_many_weft_warm);
WEFT_BENCH_MANUAL("spawn_many/boost_fiber", spawn_many_boost_fiber);
WEFT_BENCH_MANUAL("spawn_many/asio", spawn_many_asio);
WEFT_BENCH_MANUAL("spawn_many/asio_awaitable", spawn_many_asio_awaitable);
WEFT_BENCH_MANUAL("spawn_many/tbb", spawn_many_tbb);
WEFT_BENCH_MANUAL("spawn_many/std_thread", spawn_many_std_thread);

#if defined(WEFT_BENCH_STATE_THREADS)
void spawn_join_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  one_by_one(state, [](auto f) { st_thread_join(bench::st::start(f), nullptr); });
}
void spawn_many_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  const std::size_t count = bench::scaled(with_stacks);
  warm_rounds(state, count, [&](bench::memory_growth& memory, std::size_t& ran) {
    auto f = [&ran] { ++ran; };
    return spawn_then_join_each<st_thread_t>(
        count, memory, [&] { return bench::st::start(f); }, [](auto& thread) { st_thread_join(thread, nullptr); });
  });
}
WEFT_BENCH("spawn_join/state_threads", spawn_join_state_threads);
WEFT_BENCH_MANUAL("spawn_many/state_threads", spawn_many_state_threads);
#endif

}  // namespace
