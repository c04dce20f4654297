// Switching between two fibers that yield to one another. An operation is one switch.

#include <algorithm>
#include <asio.hpp>
#include <boost/context/detail/fcontext.hpp>
#include <boost/fiber/all.hpp>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "state_threads.hpp"
#include "support.hpp"

namespace {

constexpr std::int64_t batch_size = 1000;

// Both had their turns, but for what one does before the other begins and after it ends.
void check_turns(benchmark::State& state, std::int64_t mine, std::int64_t others) {
  bench::check(state, mine > 0 && std::abs(mine - others) <= 2, "they did not take turns");
  bench::each(state, 2);
}

// Two fibers that run the same code yield to one another, a thousand times an iteration. The same, because a return to
// another place than the one last called from is mispredicted, 5 ns, whatever the switch in between costs. (So no copy
// of the function may be made for one of the callers: the arguments are hidden from the compiler.)
template <void (*Switch)()>
[[gnu::noinline]] std::int64_t take_turns(std::int64_t times, const bool& stop) {
  std::int64_t i = 0;
  for (; i < times && !stop; ++i) Switch();
  return i;
}

// `start(f)` starts f as a fiber and gives something to call to join it.
template <void (*Switch)(), class Start>
void yield_with(benchmark::State& state, Start start) {
  const volatile bool hidden = false;  // (benchmark::DoNotOptimize left a zero in `forever` with GCC 12)
  const volatile std::int64_t longest = std::numeric_limits<std::int64_t>::max();
  const volatile std::int64_t size = batch_size;
  bool stop = hidden;
  const bool never = hidden;
  const std::int64_t forever = longest;
  const std::int64_t batch = size;
  std::int64_t mine = 1;
  std::int64_t others = 0;
  auto join = start([&] { others = take_turns<Switch>(forever, stop); });
  Switch();
  while (state.KeepRunningBatch(batch_size)) mine += take_turns<Switch>(batch, never);
  stop = true;
  join();
  check_turns(state, mine, others);
}

template <void (*Switch)()>
void weft_switch(benchmark::State& state) {
  bench::on_loops(1,
                  [&] { yield_with<Switch>(state, [](auto f) { return [other = weft::spawn(f)] { other.get(); }; }); });
}
WEFT_BENCH("yield/weft", weft_switch<weft::yield>);
// Without the public checkpoint: what the loop itself costs is the difference to the bare jump.
WEFT_BENCH("yield/weft/without_checkpoint", weft_switch<weft::detail::take_turns>);

void yield_boost_fiber(benchmark::State& state) {
  yield_with<boost::this_fiber::yield>(
      state, [](auto f) { return [other = boost::fibers::fiber(f)]() mutable { other.join(); }; });
}
WEFT_BENCH("yield/boost_fiber", yield_boost_fiber);

// The jump itself: no queue, no scheduler.
namespace ctx = boost::context::detail;
void jump_back(ctx::transfer_t t) {
  for (std::int64_t jumps = 1;; ++jumps) t = ctx::jump_fcontext(t.fctx, &jumps);
}
void yield_fcontext(benchmark::State& state) {
  std::vector<std::byte> stack(64 * 1024);
  ctx::transfer_t t{ctx::make_fcontext(stack.data() + stack.size(), stack.size(), &jump_back), nullptr};
  std::int64_t mine = 0;
  for (auto _ : state) {
    t = ctx::jump_fcontext(t.fctx, nullptr);
    ++mine;
  }
  check_turns(state, mine, *static_cast<std::int64_t*>(t.data));
}
WEFT_BENCH("yield/fcontext", yield_fcontext);

// Two handlers, each of which posts itself again.
struct turn {
  asio::io_context& loop;
  std::int64_t& count;
  std::int64_t& left;
  const bool& stop;
  void operator()() const {
    ++count;
    if (--left == 0) loop.stop();
    if (!stop) asio::post(loop, *this);
  }
};
void yield_asio(benchmark::State& state) {
  asio::io_context loop(1);
  bool stop = false;
  std::int64_t mine = 0;
  std::int64_t others = 0;
  std::int64_t left = 0;
  asio::post(loop, turn{loop, mine, left, stop});
  asio::post(loop, turn{loop, others, left, stop});
  while (state.KeepRunningBatch(batch_size)) {
    left = 2 * batch_size;
    loop.restart();
    loop.run();
  }
  stop = true;
  loop.restart();
  loop.run();
  check_turns(state, mine, others);
}
WEFT_BENCH("yield/asio", yield_asio);

asio::awaitable<void> turns_until(const bool& stop, std::int64_t& count) {
  const auto executor = co_await asio::this_coro::executor;
  while (!stop) {
    co_await asio::post(executor, asio::use_awaitable);
    ++count;
  }
}
asio::awaitable<void> measured_turns(benchmark::State& state, bool& stop, std::int64_t& count) {
  const auto executor = co_await asio::this_coro::executor;
  while (state.KeepRunningBatch(batch_size))
    for (std::int64_t i = 0; i < batch_size; ++i, ++count) co_await asio::post(executor, asio::use_awaitable);
  stop = true;
}
void yield_asio_awaitable(benchmark::State& state) {
  asio::io_context loop(1);
  bool stop = false;
  std::int64_t mine = 0;
  std::int64_t others = 0;
  asio::co_spawn(loop, turns_until(stop, others), asio::detached);
  asio::co_spawn(loop, measured_turns(state, stop, mine), asio::detached);
  loop.run();
  check_turns(state, mine, others);
}
WEFT_BENCH("yield/asio_awaitable", yield_asio_awaitable);
// asio::spawn is not here: in Asio 1.22 it stands on Boost.Coroutine, which is not Boost.Context.

// Two threads of one core.
void yield_std_thread(benchmark::State& state) {
  const bench::pinned here(0);
  std::mutex m;
  std::condition_variable changed;
  bool my_turn = true;
  bool stop = false;
  std::int64_t mine = 0;
  std::int64_t others = 0;
  std::thread other([&] {
    for (std::unique_lock lock(m);; ++others) {
      changed.wait(lock, [&] { return !my_turn; });
      if (stop) return;
      my_turn = true;
      changed.notify_one();
    }
  });
  {
    std::unique_lock lock(m);
    for (auto _ : state) {
      my_turn = false;
      changed.notify_one();
      changed.wait(lock, [&] { return my_turn; });
      ++mine;
    }
    stop = true;
    my_turn = false;
  }
  changed.notify_one();
  other.join();
  check_turns(state, mine, others);
}
WEFT_BENCH("yield/std_thread", yield_std_thread);

#if defined(WEFT_BENCH_STATE_THREADS)
void yield_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  bench::st::signal to;
  bench::st::signal from;
  bool stop = false;
  std::int64_t mine = 0;
  std::int64_t others = 0;
  auto other = [&] {
    for (;; ++others) {
      to.wait();
      if (stop) return;
      from.set();
    }
  };
  st_thread_t const thread = bench::st::start(other);
  for (auto _ : state) {
    to.set();
    from.wait();
    ++mine;
  }
  stop = true;
  to.set();
  st_thread_join(thread, nullptr);
  check_turns(state, mine, others);
}
WEFT_BENCH("yield/state_threads", yield_state_threads);
#endif

}  // namespace
