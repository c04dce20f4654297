#include "weft/wait.hpp"

#include <stdexcept>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::wait_test {
namespace {

class WaitOnLoops : public OnLoops {};
WEFT_ON_LOOPS(WaitOnLoops);

auto after(std::chrono::seconds delay, int value) {
  return spawn([=] {
    sleep_for(delay);
    return value;
  });
}

TEST(WaitAny, GivesThePlaceOfTheFirstAndLeavesTheOthersAlone) {
  simulate([] {
    auto slow = after(3s, 1);
    auto quick = after(1s, 2);
    auto text = spawn([] {
      sleep_for(2s);
      return std::string("text");
    });
    EXPECT_EQ(time_of([&] { EXPECT_EQ(wait_any(slow, quick, text), 1U); }), 1s);
    EXPECT_EQ(time_of([&] { EXPECT_EQ(wait_any(slow, text), 1U); }), 1s);
    EXPECT_EQ(slow.get(), 1);
    EXPECT_EQ(text.get(), "text");
  });
}

TEST(WaitAny, GivesTheLowestOfThoseThatAreReady) {
  simulate([] {
    std::vector<future<int>> all;
    for (int i = 0; i < 5; ++i) all.push_back(after(i < 3 ? 5s : 1s, i));
    sleep_for(2s);
    EXPECT_EQ(wait_any(all), 3U);
    sleep_for(4s);
    EXPECT_EQ(wait_any(all), 0U);
    EXPECT_EQ(wait_any(all[4], all[4]), 0U) << "one future twice";
  });
}

TEST(WaitAny, TakesNoErrorAndThrowsNone) {
  simulate([] {
    auto fails = spawn([]() -> int {
      sleep_for(1s);
      throw std::runtime_error("no");
    });
    auto slow = after(2s, 1);
    EXPECT_EQ(wait_any(slow, fails), 1U);
    EXPECT_THROW(fails.get(), std::runtime_error);
  });
}

TEST(WaitAny, GivesUpAtItsDeadline) {
  simulate([] {
    auto slow = after(10s, 1);
    EXPECT_EQ(time_of([&] { EXPECT_EQ(wait_any_for(2s, slow, slow), std::nullopt); }), 2s);
    EXPECT_EQ(wait_any_until(clock::now() + 1s, std::vector{slow}), std::nullopt);
    EXPECT_EQ(wait_any_for(100s, slow), 0U);
  });
}

TEST(WaitAny, OfNoneIsAnError) {
  simulate([] {
    EXPECT_THROW(wait_any(std::vector<future<int>>()), std::invalid_argument);
    EXPECT_THROW(wait_any(future<int>()), no_state);
  });
}

TEST(WaitAny, ThatIsCancelledLeavesTheWorkAlone) {
  simulate([] {
    auto a = after(5s, 1);
    auto b = after(6s, 2);
    auto waits = spawn([&] { wait_any(a, b); });
    sleep_for(1s);
    EXPECT_EQ(time_of([&] {
                waits.cancel();
                EXPECT_THROW(waits.get(), cancelled);
              }),
              0s);
    EXPECT_EQ(a.get() + b.get(), 3);
    EXPECT_THROW(timeout(1s, [&] { wait_any(after(5s, 1), after(6s, 2)); }), timed_out);
  });
}

TEST(WaitAll, WaitsForTheLastAndTakesNoError) {
  simulate([] {
    auto a = after(1s, 1);
    auto b = spawn([]() -> int { throw std::runtime_error("no"); });
    auto c = after(3s, 3);
    EXPECT_EQ(time_of([&] { wait_all(a, b, c); }), 3s);
    EXPECT_THROW(b.get(), std::runtime_error);
    std::vector<future<int>> range{after(1s, 1), after(2s, 2)};
    EXPECT_EQ(time_of([&] { wait_all(range); }), 2s);
    wait_all();
    wait_all(std::vector<future<int>>());
  });
}

TEST(WaitAll, GivesUpAtItsDeadlineAndCancelsNothing) {
  simulate([] {
    auto a = after(1s, 1);
    auto b = after(3s, 2);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(wait_all_for(2s, a, b)); }), 2s);
    EXPECT_TRUE(wait_all_until(clock::now() + 2s, std::vector{a, b}));
    EXPECT_EQ(b.get(), 2);
  });
}

TEST(WaitAll, ForOneselfIsAnError) {
  simulate([] {
    future<void> self;
    self = spawn([&] { EXPECT_THROW(wait_all(self), bad_wait); });
    self.get();
  });
}

TEST(Wait, WorksInEveryKindOfTaskAndOnThreads) {
  simulate([] {
    const auto body = [] {
      auto slow = after(5s, 1);
      auto quick = after(1s, 2);
      EXPECT_EQ(wait_any(slow, quick), 1U);
      EXPECT_FALSE(wait_all_for(1s, slow, quick));
      EXPECT_EQ(wait_any_for(1s, slow), std::nullopt);
      wait_all(slow, quick);
    };
    spawn_cpu(body).get();
    spawn_blocking(body).get();
    spawn(on_loop(1), body).get();
  });
}

// Several agents wait for overlapping sets, which become ready, time out and are cancelled all at once.
TEST_P(WaitOnLoops, AnyOfManyFromManyAgentsAtOnce) {
  run([] {
    for (int round = 0; round < 20; ++round) {
      std::vector<promise<int>> promises(6);
      std::vector<future<int>> all;
      for (auto& p : promises) all.push_back(p.get_future());
      const auto body = [&all](int i) {
        return [&all, i] {
          for (int k = 0; k < 10; ++k) {
            if (i % 2 == 0) {
              (void)wait_any_for(std::chrono::microseconds(50), all);
            } else {
              const auto first = wait_any(all);
              EXPECT_TRUE(all[first].ready());
            }
          }
        };
      };
      std::vector<future<void>> agents;
      for (int i = 0; i < 4; ++i) {
        agents.push_back(spawn(anywhere, body(i)));
        agents.push_back(spawn_cpu(body(i)));
      }
      auto called_off = spawn(anywhere, body(1));
      std::thread outside(body(1));
      std::thread setter([&] {
        for (std::size_t i = promises.size(); i-- > 0;) promises[i].set_value(1);
      });
      called_off.cancel();
      wait_all(agents);
      called_off.wait();
      spawn_blocking([&] {
        outside.join();
        setter.join();
      }).get();
      gather(std::move(agents)).get();
    }
  });
}

}  // namespace
}  // namespace weft::testing::wait_test
