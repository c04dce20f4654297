// Switching between two fibers: weft's yield beside a bare fcontext jump.

#include <benchmark/benchmark.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
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

// Two fibers yield to one another; one iteration is two switches.
void weft_yield(benchmark::State& state) {
  weft::run(
      [&] {
        bool stop = false;
        auto other = weft::spawn([&] {
          while (!stop) weft::yield();
        });
        weft::yield();
        for (auto _ : state) weft::yield();
        stop = true;
        other.get();
      },
      {.loops = 1});
  state.SetItemsProcessed(2 * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(weft_yield);

// The same without the public checkpoint: what the loop itself costs is the difference to the bare jump.
void weft_take_turns(benchmark::State& state) {
  weft::run(
      [&] {
        bool stop = false;
        auto other = weft::spawn([&] {
          while (!stop) weft::detail::take_turns();
        });
        weft::yield();
        for (auto _ : state) weft::detail::take_turns();
        stop = true;
        other.get();
      },
      {.loops = 1});
  state.SetItemsProcessed(2 * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(weft_take_turns);

}  // namespace
