// select over four channels, one of which has or gets a value. An operation is one select.

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/channel.hpp>

#include "support.hpp"

namespace {

void report(benchmark::State& state, std::size_t taken) {
  bench::check(state, taken == bench::iterations(state), "not every select took a value");
  bench::each(state);
}

struct four {
  explicit four(std::size_t capacity) : a(capacity), b(capacity), c(capacity), d(capacity) {}
  weft::channel<int> a;
  weft::channel<int> b;
  weft::channel<int> c;
  weft::channel<int> d;
  template <class Take>
  void select(Take take) {
    weft::select(weft::on_recv(a, take), weft::on_recv(b, take), weft::on_recv(c, take), weft::on_recv(d, take));
  }
};

void select_ready(benchmark::State& state) {
  bench::on_loops(1, [&] {
    four channels(1);
    std::size_t taken = 0;
    for (auto _ : state) {
      channels.c.send(1);
      channels.select([&](int v) { taken += static_cast<std::size_t>(v); });
    }
    report(state, taken);
  });
}
void select_waiting(benchmark::State& state) {
  bench::on_loops(1, [&] {
    four channels(0);
    auto other = weft::spawn([&] {
      try {
        for (;;) channels.c.send(1);
      } catch (const weft::channel_closed&) {
      }
    });
    std::size_t taken = 0;
    for (auto _ : state) channels.select([&](int v) { taken += static_cast<std::size_t>(v); });
    channels.c.close();
    other.get();
    report(state, taken);
  });
}
WEFT_BENCH("select_of_4_ready/weft", select_ready);
WEFT_BENCH("select_of_4_waiting/weft", select_waiting);

// Asio's operator ||, which cancels the three that did not come first.
using asio_channel = asio::experimental::channel<void(asio::error_code, int)>;

asio::awaitable<void> send_ones(asio_channel& c) {
  asio::error_code closed;
  while (!closed) co_await c.async_send(asio::error_code(), 1, asio::redirect_error(asio::use_awaitable, closed));
}
asio::awaitable<void> select_asio(benchmark::State& state, bool ready) {
  using namespace asio::experimental::awaitable_operators;
  const auto executor = co_await asio::this_coro::executor;
  asio_channel a(executor, ready);
  asio_channel b(executor, ready);
  asio_channel c(executor, ready);
  asio_channel d(executor, ready);
  if (!ready) asio::co_spawn(executor, send_ones(c), asio::detached);
  std::size_t taken = 0;
  for (auto _ : state) {
    if (ready) c.try_send(asio::error_code(), 1);
    const auto which = co_await (a.async_receive(asio::use_awaitable) || b.async_receive(asio::use_awaitable) ||
                                 c.async_receive(asio::use_awaitable) || d.async_receive(asio::use_awaitable));
    taken += which.index() == 2;
  }
  c.close();
  co_await asio::post(executor, asio::use_awaitable);
  report(state, taken);
}
void select_on_asio(benchmark::State& state, bool ready) {
  asio::io_context loop(1);
  asio::co_spawn(loop, select_asio(state, ready), asio::detached);
  loop.run();
}
WEFT_BENCH("select_of_4_ready/asio_awaitable", select_on_asio, true);
WEFT_BENCH("select_of_4_waiting/asio_awaitable", select_on_asio, false);

}  // namespace
