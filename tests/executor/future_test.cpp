#include "weft/future.hpp"

#include <atomic>
#include <coroutine>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "weft_test.hpp"

namespace weft::testing::future_test {
namespace {

class Future : public OnLoops {};
WEFT_ON_LOOPS(Future);

TEST_P(Future, GivesTheSameResultToEveryoneWhoAsks) {
  run([] {
    int calls = 0;
    auto f = spawn([&] {
      yield();
      return ++calls;
    });
    auto g = f;
    EXPECT_FALSE(f.ready());
    EXPECT_EQ(f.get(), 1);
    EXPECT_EQ(g.get(), 1);
    EXPECT_EQ(&f.get(), &g.get()) << "an lvalue gives a reference to the one result";
    EXPECT_TRUE(f.ready());
    EXPECT_EQ(calls, 1);
  });
}

TEST_P(Future, RethrowsTheSameErrorToEveryoneWhoAsks) {
  run([] {
    auto f = spawn([]() -> int { throw std::runtime_error("no"); });
    for (int i = 0; i < 3; ++i) EXPECT_THROW(f.get(), std::runtime_error);
  });
}

TEST_P(Future, MovesOutOfTheLastHandleAndCopiesOtherwise) {
  run([] {
    auto f = spawn([] { return std::string(100, 'x'); });
    auto g = f;
    EXPECT_EQ(std::move(f).get().size(), 100U);
    EXPECT_EQ(g.get().size(), 100U) << "the other handle still has it";
    EXPECT_EQ(std::move(g).get().size(), 100U);
    EXPECT_FALSE(g.valid());
  });
}

TEST_P(Future, OfAMoveOnlyResultThrowsWhenOtherHandlesExist) {
  run([] {
    auto f = spawn([] { return std::make_unique<int>(5); });
    auto g = f;
    EXPECT_THROW(std::move(f).get(), future_shared);
    EXPECT_EQ(*g.get(), 5);
    EXPECT_EQ(*std::move(g).get(), 5);
  });
}

TEST_P(Future, CarriesReferencesAndVoid) {
  run([] {
    int x = 1;
    auto f = spawn([&]() -> int& { return x; });
    f.get() = 2;
    EXPECT_EQ(x, 2);
    static_assert(std::is_same_v<decltype(std::move(f).get()), int&>);
    auto g = spawn([] {});
    g.get();
    std::move(g).get();
  });
}

TEST_P(Future, WithoutAStateSaysSo) {
  run([] {
    future<int> f;
    EXPECT_FALSE(f.valid());
    EXPECT_THROW(f.get(), no_state);
    EXPECT_THROW(std::move(f).get(), no_state);
    EXPECT_THROW((void)f.ready(), no_state);
    EXPECT_THROW(f.wait(), no_state);
    EXPECT_THROW(f.cancel(), no_state);
    EXPECT_THROW(gather(f), no_state);
    f = spawn([] { return 1; });
    auto g = std::move(f);
    EXPECT_THROW(f.get(), no_state) << "moved from";
    EXPECT_EQ(g.get(), 1);
  });
}

TEST_P(Future, OfATaskThatWaitsForItselfSaysSo) {
  run([] {
    future<int> self;
    self = spawn([&] { return self.get(); });
    EXPECT_THROW(self.get(), bad_wait);
  });
}

TEST_P(Future, WakesManyWaitersOfEveryKind) {
  run([] {
    promise<int> p;
    std::vector<future<int>> waiting;
    for (int i = 0; i < 20; ++i) {
      const auto body = [f = p.get_future()] { return f.get(); };
      waiting.push_back(spawn(body));
      waiting.push_back(spawn(anywhere, body));
      waiting.push_back(spawn_cpu(body));
      waiting.push_back(spawn_blocking(body));
    }
    int from_thread = 0;
    std::thread outside([&, f = p.get_future()] { from_thread = f.get(); });
    for (int i = 0; i < 10; ++i) yield();
    p.set_value(7);
    for (auto& f : waiting) EXPECT_EQ(f.get(), 7);
    spawn_blocking([&] { outside.join(); }).get();
    EXPECT_EQ(from_thread, 7);
  });
}

TEST_P(Future, CanBeSetByAForeignThread) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      promise<std::string> p;
      auto f = p.get_future();
      std::thread outside([p = std::move(p)] { p.set_value("from outside"); });
      EXPECT_EQ(f.get(), "from outside");
      outside.join();
    }
  });
}

TEST(FutureTime, WaitsForATimeAtMost) {
  simulate([] {
    auto f = spawn([] { sleep_for(5s); });
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(f.wait_for(2s)); }), 2s);
    EXPECT_FALSE(f.wait_until(clock::now()));
    EXPECT_FALSE(f.wait_for(-1s)) << "a time that has passed";
    EXPECT_EQ(time_of([&] { EXPECT_TRUE(f.wait_for(std::chrono::hours(24 * 365 * 1000))); }), 3s);
    EXPECT_TRUE(f.wait_for(0s)) << "it is ready";
  });
}

TEST(FutureTime, LetsGoOfAWaiterThatTimedOut) {
  simulate([] {
    promise<int> p;
    auto f = p.get_future();
    std::vector<future<int>> waiting;
    for (int i = 0; i < 10; ++i)
      waiting.push_back(spawn(anywhere, [f, i] { return f.wait_for(std::chrono::seconds(i)) ? f.get() : -1; }));
    sleep_for(5500ms);
    p.set_value(3);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(waiting[static_cast<std::size_t>(i)].get(), i <= 5 ? -1 : 3);
  });
}

TEST(Promise, GivesItsValueOnceAndSaysWhenItIsSetTwice) {
  simulate([] {
    promise<int> p;
    auto before = p.get_future();
    EXPECT_FALSE(before.ready());
    p.set_value(1);
    EXPECT_THROW(p.set_value(2), promise_already_set);
    EXPECT_THROW(p.set_exception(std::make_exception_ptr(1)), promise_already_set);
    EXPECT_EQ(before.get(), 1);
    EXPECT_EQ(p.get_future().get(), 1) << "a future of a promise that is set is ready";
  });
}

TEST(Promise, DestroyedUnsetBreaksItsFutures) {
  simulate([] {
    future<int> f;
    {
      const promise<int> p;
      f = p.get_future();
    }
    EXPECT_THROW(f.get(), broken_promise);
  });
}

TEST(Promise, MovedFromHasNoState) {
  simulate([] {
    promise<int> p;
    const promise<int> q = std::move(p);
    EXPECT_THROW(p.get_future(), no_state);
    EXPECT_THROW(p.set_value(1), no_state);
    q.set_value(1);
  });
}

TEST(Promise, WhoseFutureWasCancelledDropsTheValue) {
  simulate([] {
    promise<int> p;
    auto f = p.get_future();
    EXPECT_FALSE(p.cancelled());
    f.cancel();
    EXPECT_TRUE(p.cancelled());
    EXPECT_THROW(f.get(), cancelled);
    p.set_value(1);
    EXPECT_THROW(f.get(), cancelled) << "it stays cancelled";
  });
}

TEST(Promise, WorksOnPlainThreadsWithoutARuntime) {
  promise<int> p;
  std::thread t([&] { p.set_value(4); });
  EXPECT_EQ(p.get_future().get(), 4);
  t.join();
  promise<int> late;
  EXPECT_FALSE(late.get_future().wait_for(1ms));
}

// A coroutine that starts at once and is destroyed at its end.
struct eager {
  struct promise_type {
    eager get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

TEST_P(Future, CanBeAwaitedByCoroutinesWhichComeBackToTheirLoop) {
  run([] {
    promise<int> go;
    promise<int> done;
    const auto body = [](future<int> f, promise<int> out, unsigned loop) -> eager {
      int sum = co_await f;
      EXPECT_EQ(this_loop(), loop);
      sum += co_await f;
      sum += co_await spawn_cpu([] { return 1; });
      EXPECT_EQ(this_loop(), loop);
      // Resumed as a fiber, it may also wait as one.
      sum += spawn([] {
               yield();
               return 100;
             }).get();
      try {
        co_await spawn([] { throw std::runtime_error("x"); });
      } catch (const std::runtime_error&) {
        sum += 1000;
      }
      out.set_value(sum);
    };
    auto result = done.get_future();
    body(go.get_future(), std::move(done), this_loop());
    yield();
    spawn_blocking([&] { go.set_value(10); }).get();
    EXPECT_EQ(result.get(), 1121);
  });
}

TEST_P(Future, GivesWhatAFiberThrowsWithItsType) {
  struct odd {
    int n;
  };
  run([] {
    for (auto f : {spawn([] { throw odd{1}; }), spawn_cpu([] { throw odd{1}; }), spawn_blocking([] { throw odd{1}; })})
      try {
        f.get();
        ADD_FAILURE();
      } catch (const odd& o) {
        EXPECT_EQ(o.n, 1);
      }
  });
}

TEST_P(Future, OfAPromiseMayBeCancelledWhileItIsSet) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      promise<int> p;
      auto f = p.get_future();
      std::thread outside([&] { EXPECT_NO_THROW(p.set_value(1)); });
      f.cancel();
      f.wait();
      outside.join();
    }
  });
}

// A thread_local that is older than what weft keeps for the thread, and goes later.
struct waits_at_the_end {
  const void** as = nullptr;
  future<void> what;
  ~waits_at_the_end() {
    if (!as) return;
    *as = &detail::waiting_agent();
    what.wait();
  }
};
thread_local waits_at_the_end tl_waits_at_the_end;

TEST(Future, IsAwaitedInADestructorOfAThreadLocalByNoOtherThreadsAgent) {
  promise<void> first;
  promise<void> second;
  const void* late = nullptr;
  std::atomic<const void*> other{nullptr};
  std::atomic<int> on_the_way{0};
  std::thread ends([&] {
    tl_waits_at_the_end.as = &late;
    tl_waits_at_the_end.what = first.get_future();
    EXPECT_FALSE(first.get_future().wait_for(1us));
    on_the_way = 1;
    on_the_way.notify_one();
  });
  std::thread begins([&] {
    on_the_way.wait(0);
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // until that one is in its destructor, most likely
    other = &detail::waiting_agent();
    other.notify_one();
    second.get_future().wait();
  });
  other.wait(nullptr);
  first.set_value();
  second.set_value();
  ends.join();
  begins.join();
  EXPECT_NE(late, other);
}

}  // namespace
}  // namespace weft::testing::future_test
