#include "weft/io/asio_awaitable.hpp"

#include <gtest/gtest.h>

#include <asio/steady_timer.hpp>
#include <stdexcept>
#include <string>

#include "io_test.hpp"
#include "weft/coroutine.hpp"

namespace weft::io::asio_awaitable_test {
namespace {

using namespace std::chrono_literals;

class AsioAwaitable : public testing::WithSockets {};
WEFT_ON_LOOPS(AsioAwaitable);

TEST_P(AsioAwaitable, AnyTokenWaitsForAFuture) {
  run([] {
    auto f = spawn([] {
      sleep_for(1ms);
      return std::string("done");
    });
    EXPECT_EQ(async_get(f, use_fiber), "done");
    EXPECT_EQ(async_get(f, use_future).get(), "done");
    std::string told;
    promise<void> called;
    async_get(f, [&](std::exception_ptr error, const std::string& text) {
      EXPECT_FALSE(error);
      told = text;
      called.set_value();
    });
    called.get_future().get();
    EXPECT_EQ(told, "done");
    async_get(spawn([] {}), use_fiber);
    EXPECT_THROW(async_get(spawn([] { throw std::range_error("r"); }), use_fiber), std::range_error);
    EXPECT_THROW(async_get(future<void>(), use_fiber), no_state);
  });
}

TEST_P(AsioAwaitable, GivingUpLeavesTheFutureAlone) {
  run([] {
    promise<int> p;
    const auto f = p.get_future();
    EXPECT_FALSE(move_on_after(1ms, [&] { return async_get(f, use_fiber); }));
    auto g = async_get(f, use_future);
    g.cancel();
    EXPECT_THROW(g.get(), cancelled);
    p.set_value(3);
    EXPECT_EQ(async_get(f, use_fiber), 3);
  });
}

TEST_P(AsioAwaitable, FuturesOfOtherThreadsAreWaitedFor) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(async_get(spawn_cpu([i] { return i; }), use_fiber), i);
      promise<int> p;
      auto setter = spawn_blocking([&] { p.set_value(i); });
      const auto got = move_on_after(50us, [&] { return async_get(p.get_future(), use_fiber); });
      EXPECT_EQ(got.value_or(i), i);
      setter.get();
    }
  });
}

#if defined(ASIO_HAS_CO_AWAIT)

asio::awaitable<int> nap(std::chrono::nanoseconds d, int result) {
  asio::steady_timer timer(co_await asio::this_coro::executor, d);
  co_await timer.async_wait(asio::use_awaitable);
  co_return result;
}
asio::awaitable<void> fail() {
  co_await nap(1us, 0);
  throw std::range_error("r");
}
asio::awaitable<int> sum_of(future<int> a, future<int> b) {
  const int first = co_await async_get(a);
  co_return first + co_await async_get(b);
}

TEST_P(AsioAwaitable, AFiberAwaitsAnAwaitable) {
  run([] {
    EXPECT_EQ(await(nap(1ms, 7)), 7);
    EXPECT_THROW(await(fail()), std::range_error);
    auto coroutine = []() -> weft::coroutine<int> { co_return co_await nap(1ms, 1) + co_await nap(1ms, 2); };
    EXPECT_EQ(coroutine().get(), 3);
  });
}

TEST_P(AsioAwaitable, ACancellationReachesWhatItAwaits) {
  run([] {
    EXPECT_THROW(timeout(1ms, [] { return await(nap(1h, 7)); }), timed_out);
    auto waiting = spawn([] { return await(nap(1h, 7)); });
    yield();
    waiting.cancel();
    EXPECT_THROW(waiting.get(), cancelled);
  });
}

TEST_P(AsioAwaitable, AnAwaitableAwaitsFutures) {
  run([] {
    auto a = spawn([] {
      sleep_for(1ms);
      return 1;
    });
    EXPECT_EQ(await(sum_of(a, spawn_cpu([] { return 2; }))), 3);
    promise<int> never;
    EXPECT_FALSE(move_on_after(1ms, [&] { return await(sum_of(a, never.get_future())); }));
  });
}

#endif

}  // namespace
}  // namespace weft::io::asio_awaitable_test
