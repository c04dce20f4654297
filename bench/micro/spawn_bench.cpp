// Spawning and joining tasks that do nothing.

#include <benchmark/benchmark.h>

#include <vector>

#include "weft/executor.hpp"

namespace {

// One task after the other.
void spawn_and_get(benchmark::State& state) {
  weft::run(
      [&] {
        for (auto _ : state) weft::spawn([] {}).get();
      },
      {.loops = 1});
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(spawn_and_get);

// Many at once, then all joined; warm after the first iteration.
void spawn_many_then_get(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  weft::run(
      [&] {
        std::vector<weft::future<void>> tasks;
        tasks.reserve(count);
        for (auto _ : state) {
          for (std::size_t i = 0; i < count; ++i) tasks.push_back(weft::spawn([] {}));
          for (auto& t : tasks) t.get();
          tasks.clear();
        }
      },
      {.loops = 1});
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(spawn_many_then_get)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

// gather over a range: one countdown and one wake-up for a thousand tasks.
void spawn_and_gather(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  weft::run(
      [&] {
        for (auto _ : state) {
          std::vector<weft::future<void>> tasks;
          tasks.reserve(count);
          for (std::size_t i = 0; i < count; ++i) tasks.push_back(weft::spawn([] {}));
          weft::gather(std::move(tasks)).get();
        }
      },
      {.loops = 1});
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(spawn_and_gather)->Arg(1000);

void task_group(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  weft::run(
      [&] {
        for (auto _ : state)
          weft::with_group([&](weft::task_group& g) {
            for (std::size_t i = 0; i < count; ++i) g.spawn([] {});
          });
      },
      {.loops = 1});
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(task_group)->Arg(1)->Arg(1000);

void timer_made_and_cancelled(benchmark::State& state) {
  weft::run(
      [&] {
        for (auto _ : state) weft::timeout(std::chrono::seconds(10), [] {});
      },
      {.loops = 1});
}
BENCHMARK(timer_made_and_cancelled);

// A fiber hands a task to the CPU pool and waits for it.
void hop_to_cpu_and_back(benchmark::State& state) {
  weft::run(
      [&] {
        for (auto _ : state) weft::spawn_cpu([] {}).get();
      },
      {.loops = 1});
}
BENCHMARK(hop_to_cpu_and_back)->UseRealTime();

void hop_to_blocking_and_back(benchmark::State& state) {
  weft::run(
      [&] {
        for (auto _ : state) weft::spawn_blocking([] {}).get();
      },
      {.loops = 1});
}
BENCHMARK(hop_to_blocking_and_back)->UseRealTime();

}  // namespace
