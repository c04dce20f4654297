#include "weft/coroutine.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::coroutine_test {
namespace {

class Coroutine : public OnLoops {};
WEFT_ON_LOOPS(Coroutine);

coroutine<int> one() { co_return 1; }
coroutine<int> sum_of(int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await one();
  co_return sum;
}
coroutine<int> depth(int n) {
  if (n == 0) co_return 0;  // GCC 12 would run a co_await in ?: whatever the condition says
  co_return 1 + co_await depth(n - 1);
}
coroutine<> fails() {
  co_await lazy([] {});
  throw std::runtime_error("failed");
}
coroutine<std::unique_ptr<int>> boxed(int n) {
  auto f = spawn([n] { return std::make_unique<int>(n); });
  co_return co_await std::move(f);
}
coroutine<int&> same(int& n) { co_return n; }

// What every kind of agent can do.
coroutine<> everything() {
  EXPECT_EQ(co_await sum_of(10), 10);
  EXPECT_EQ(**std::make_unique<std::unique_ptr<int>>(co_await boxed(4)), 4);
  int here = 0;
  EXPECT_EQ(&co_await same(here), &here);
  bool caught = false;
  try {
    co_await fails();
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
  const auto shared = spawn([] { return std::string("shared"); });
  const std::string& text = co_await shared;
  EXPECT_EQ(&text, &shared.get()) << "co_await gives what get() gives";
  EXPECT_EQ(co_await spawn_cpu([] { return 3; }), 3);
  EXPECT_EQ(co_await lazy([] { return 5; }), 5);
  const auto [a, b] = co_await gather(one(), spawn(sum_of(2)));
  EXPECT_EQ(a + b, 3);
  std::vector<coroutine<int>> many;
  for (int i = 0; i < 5; ++i) many.push_back(sum_of(i));
  const std::vector<int> sums = co_await gather(std::move(many));
  EXPECT_EQ(sums.size(), 5U);
  EXPECT_EQ(sums.back(), 4);
  sleep_for(1ms);
  EXPECT_EQ(spawn(one()).get(), 1);
}

TEST(Coroutines, RunInWhoeverAwaitsThem) {
  simulate([] {
    everything().get();
    spawn(everything()).get();
    spawn(anywhere, {.name = "named"}, everything()).get();
    spawn_cpu(everything()).get();
    spawn_blocking(everything()).get();
    timeout(1s, everything());
  });
  EXPECT_EQ(sum_of(3).get(), 3) << "a plain thread needs no runtime";
}

TEST_P(Coroutine, RunsInWhoeverAwaitsItForReal) {
  run([] {
    std::vector<future<void>> all;
    for (int i = 0; i < 4; ++i) {
      all.push_back(spawn(everything()));
      all.push_back(spawn(anywhere, everything()));
      all.push_back(spawn_cpu(everything()));
      all.push_back(spawn_blocking(everything()));
    }
    gather(std::move(all)).get();
  });
}

TEST(Coroutines, RunNothingUntilTheyAreAwaitedAndThenOnce) {
  simulate([] {
    int ran = 0;
    const auto count = [&ran]() -> coroutine<int> { co_return ++ran; };
    {
      const auto unstarted = count();
      auto body = count().take_body();
    }
    auto c = count();
    yield();
    EXPECT_EQ(ran, 0);
    EXPECT_EQ(c.get(), 1);
    EXPECT_THROW(c.get(), already_awaited);
    EXPECT_THROW((void)spawn(c), already_awaited);
    const auto again = [](coroutine<int>& other) -> coroutine<int> { co_return co_await other; };
    EXPECT_THROW(again(c).get(), already_awaited);
    auto d = count();
    EXPECT_EQ(again(d).get(), 2);
    EXPECT_THROW(d.get(), already_awaited);
    auto e = count();
    auto f = spawn(std::move(e));
    EXPECT_THROW(e.get(), already_awaited);
    EXPECT_EQ(f.get(), 3);
  });
}

TEST(Coroutines, FreeTheirParametersWhetherTheyRanOrNot) {
  simulate([] {
    const auto keep = std::make_shared<int>(1);
    const auto use = [](std::shared_ptr<int> p) -> coroutine<int> { co_return *p; };
    { const auto unstarted = use(keep); }
    use(keep).get();
    spawn(use(keep)).get();
    auto never = spawn(use(keep));
    never.cancel();
    never.wait();
    EXPECT_EQ(keep.use_count(), 1);
  });
}

TEST(Coroutines, NeedNoStackForOneAnother) {
  sim::run(1, [] {
    EXPECT_EQ(sum_of(100'000).get(), 100'000);
    EXPECT_EQ(depth(20'000).get(), 20'000);
  });
}

TEST(Coroutines, AreCancelledWithTheScopeOfWhoeverAwaitsThem) {
  simulate([] {
    bool unwound = false;
    const auto inner = [](bool& set) -> coroutine<> {
      struct note {
        bool& set;
        ~note() { set = true; }
      } const n{set};
      co_await spawn([] { sleep_for(10s); });
    };
    const auto outer = [&inner](bool& set) -> coroutine<int> {
      co_await inner(set);
      co_return 1;
    };
    for (const bool cpu : {false, true}) {
      unwound = false;
      auto f = cpu ? spawn_cpu(outer(unwound)) : spawn(outer(unwound));
      sleep_for(1s);
      f.cancel();
      EXPECT_LT(time_of([&] { EXPECT_THROW(f.get(), cancelled); }), 1s);
      EXPECT_TRUE(unwound);
    }
    EXPECT_EQ(time_of([&] { EXPECT_THROW(timeout(2s, outer(unwound)), timed_out); }), 2s);
    EXPECT_FALSE(move_on_after(2s, inner(unwound)));
    auto shared = spawn([] {
      sleep_for(5s);
      return 3;
    });
    EXPECT_EQ(move_on_after(1s, [](future<int> f) -> coroutine<int> { co_return co_await f; }(shared)), std::nullopt);
    EXPECT_EQ(shared.get(), 3) << "a co_await of an lvalue leaves the work alone";
  });
}

TEST(Coroutines, ThrowAtACoAwaitInACancelledScopeEvenIfTheResultIsReady) {
  simulate([] {
    const auto ready = spawn([] { return 1; });
    ready.wait();
    int thrown = 0;
    auto f = spawn([](future<int> g, int& count) -> coroutine<int> {
      for (int i = 0; i < 2; ++i) try {
          co_await spawn([] { sleep_for(10s); });
        } catch (const cancelled&) {
          ++count;
        }
      co_return co_await g;
    }(ready, thrown));
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    EXPECT_EQ(thrown, 2);
  });
}

TEST(Coroutines, AreReportedWithTheSiteOfTheirSpawnAndWhatTheyWaitFor) {
  simulate([] {
    promise<int> p;
    auto f = spawn({.name = "coro"}, [](future<int> g) -> coroutine<int> { co_return co_await g; }(p.get_future()));
    sleep_for(1s);
    bool seen = false;
    for (const auto& task : inspect()) seen |= task.task.name == "coro" && task.waits_for == wait_kind::future;
    EXPECT_TRUE(seen);
    p.set_value(1);
    EXPECT_EQ(f.get(), 1);
  });
}

TEST(Coroutines, AreLostNowhereWhenCancelled) {
  expect_cancel_safe([](cancel_probe& probe) {
    auto shared = spawn([] {
      sleep_for(2ms);
      return 7;
    });
    int alive = 0;
    const auto part = [](int& n, int depth) -> coroutine<int> {
      const auto body = [](auto self, int& count, int d) -> coroutine<int> {
        ++count;
        struct down {
          int& n;
          ~down() { --n; }
        } const guard{count};
        co_await spawn([] { yield(); });
        if (d == 0) co_return 1;
        const int deeper = co_await self(self, count, d - 1);
        co_return deeper + 1;
      };
      const int all = co_await body(body, n, depth);
      co_return all;
    };
    probe.cancelled_task([&] {
      EXPECT_EQ(part(alive, 2).get(), 3);
      const auto [a, b] = gather(part(alive, 1), spawn(part(alive, 0))).get();
      EXPECT_EQ(a + b, 3);
      [](future<int> f) -> coroutine<> { co_await f; }(shared).get();
    });
    EXPECT_EQ(alive, 0);
    probe.check([&] { return shared.get() == 7; });
  });
}

// --- coroutines of another library ---

// Starts at once, is destroyed at its end.
struct foreign {
  struct promise_type {
    foreign get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

foreign sums_up(future<int> f, promise<int> out) {
  int sum = co_await f;
  sum += co_await sum_of(10);
  sum += *co_await boxed(100);
  bool threw = false;
  try {
    co_await fails();
  } catch (const std::runtime_error&) {
    threw = true;
  }
  out.set_value(threw ? sum : -1);
}

TEST(Coroutines, AndFuturesCanBeAwaitedByCoroutinesOfOthers) {
  simulate([] {
    const unsigned home = this_loop();
    promise<int> go;
    promise<int> done;
    auto result = done.get_future();
    sums_up(go.get_future(), std::move(done));
    sleep_for(1s);
    EXPECT_FALSE(result.ready());
    spawn(on_loop(1 - home), [&] { go.set_value(1000); }).get();
    EXPECT_EQ(result.get(), 1110);
  });
}

TEST_P(Coroutine, IsAwaitedByCoroutinesOfOthersOnThreadsToo) {
  run([] {
    for (int i = 0; i < 20; ++i) {
      promise<int> go;
      std::vector<promise<int>> done(3);
      std::vector<future<int>> results;
      for (auto& p : done) results.push_back(p.get_future());
      const auto in = go.get_future();
      sums_up(in, std::move(done[0]));
      spawn_cpu([&] { sums_up(in, std::move(done[1])); }).get();
      std::jthread outside([&] { sums_up(in, std::move(done[2])); });
      spawn_blocking([&] { go.set_value(1000); }).get();
      for (auto& r : results) EXPECT_EQ(r.get(), 1110);
    }
  });
}

}  // namespace
}  // namespace weft::testing::coroutine_test
