// Switching between two fibers: weft's yield beside a bare fcontext jump.

#include <benchmark/benchmark.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "weft/executor.hpp"

namespace {

namespace ctx = boost::context::detail;

void pong(ctx::transfer_t t) {
  for (;;) t = ctx::jump_fcontext(t.fctx, nullptr);
}

// One iteration is two jumps; the figure is per jump.
void bare_fcontext(benchmark::State& state) {
  std::vector<std::byte> stack(64 * 1024);
  ctx::fcontext_t other = ctx::make_fcontext(stack.data() + stack.size(), stack.size(), &pong);
  for (auto _ : state) other = ctx::jump_fcontext(other, nullptr).fctx;
  state.SetItemsProcessed(2 * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(bare_fcontext);

// Two fibers that run the same code yield to one another, a thousand times an iteration. The same, because a return to
// another place than the one last called from is mispredicted, 5 ns, whatever the switch in between costs. (So no copy
// of the function may be made for one of the callers: the arguments are hidden from the compiler.)
template <void (*Switch)()>
[[gnu::noinline]] void take_turns(std::int64_t times, const bool& stop) {
  for (std::int64_t i = 0; i < times && !stop; ++i) Switch();
}

template <void (*Switch)()>
void weft_switch(benchmark::State& state) {
  weft::run(
      [&] {
        bool stop = false;
        bool never = false;
        std::int64_t forever = std::numeric_limits<std::int64_t>::max();
        std::int64_t batch = 1000;
        benchmark::DoNotOptimize(forever);
        benchmark::DoNotOptimize(batch);
        benchmark::DoNotOptimize(never);
        auto other = weft::spawn([&] { take_turns<Switch>(forever, stop); });
        weft::yield();
        while (state.KeepRunningBatch(1000)) take_turns<Switch>(batch, never);
        stop = true;
        other.get();
      },
      {.loops = 1});
  state.SetItemsProcessed(2 * static_cast<std::int64_t>(state.iterations()));
}
void weft_yield(benchmark::State& state) { weft_switch<weft::yield>(state); }
BENCHMARK(weft_yield);

// The same without the public checkpoint: what the loop itself costs is the difference to the bare jump.
void weft_take_turns(benchmark::State& state) { weft_switch<weft::detail::take_turns>(state); }
BENCHMARK(weft_take_turns);

}  // namespace
