// A call that may block, made on a thread of its own while the caller waits. An operation is the call and its return.

#include <asio.hpp>
#include <future>
#include <thread>

#include "support.hpp"

namespace {

// `call(i)` gives i + 1, computed on another thread.
template <class Call>
void calls(benchmark::State& state, Call call) {
  std::size_t sum = 0;
  for (auto _ : state) sum = call(sum);
  bench::check(state, sum == bench::iterations(state), "a call gave something else");
  bench::each(state);
}

void blocking_weft(benchmark::State& state) {
  bench::on_loops(
      1, [&] { calls(state, [](std::size_t i) { return weft::spawn_blocking([i] { return i + 1; }).get(); }); });
}
WEFT_BENCH("blocking/weft", blocking_weft);

// From a thread that does nothing but wait.
void blocking_asio(benchmark::State& state) {
  asio::thread_pool pool(1);
  calls(state, [&](std::size_t i) {
    std::promise<std::size_t> result;
    auto future = result.get_future();
    asio::post(pool, [&result, i] { result.set_value(i + 1); });
    return future.get();
  });
  pool.join();
}
WEFT_BENCH("blocking/asio", blocking_asio);

// From a coroutine of a loop, as weft's.
asio::awaitable<std::size_t> compute(std::size_t i) { co_return i + 1; }
asio::awaitable<void> calls_asio(benchmark::State& state, asio::thread_pool& pool) {
  std::size_t sum = 0;
  for (auto _ : state) sum = co_await asio::co_spawn(pool, compute(sum), asio::use_awaitable);
  bench::check(state, sum == bench::iterations(state), "a call gave something else");
  bench::each(state);
}
void blocking_asio_awaitable(benchmark::State& state) {
  asio::thread_pool pool(1);
  asio::io_context loop(1);
  asio::co_spawn(loop, calls_asio(state, pool), asio::detached);
  loop.run();
}
WEFT_BENCH("blocking/asio_awaitable", blocking_asio_awaitable);

void blocking_std_async(benchmark::State& state) {
  calls(state, [](std::size_t i) { return std::async(std::launch::async, [i] { return i + 1; }).get(); });
}
WEFT_BENCH("blocking/std_async", blocking_std_async);

void blocking_std_thread(benchmark::State& state) {
  calls(state, [](std::size_t i) {
    std::size_t result = 0;
    std::thread([&result, i] { result = i + 1; }).join();
    return result;
  });
}
WEFT_BENCH("blocking/std_thread", blocking_std_thread);

}  // namespace
