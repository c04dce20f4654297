#include "weft/as_completed.hpp"

#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::as_completed_test {
namespace {

class AsCompletedOnLoops : public OnLoops {};
WEFT_ON_LOOPS(AsCompletedOnLoops);

auto after(std::chrono::seconds delay, int value) {
  return spawn([=] {
    sleep_for(delay);
    return value;
  });
}
std::vector<future<int>> three() { return {after(3s, 3), after(1s, 1), after(2s, 2)}; }

TEST(AsCompleted, GivesTheFuturesInTheOrderTheyBecomeReady) {
  simulate([] {
    std::vector<int> order;
    EXPECT_EQ(time_of([&] {
                for (auto& f : as_completed(three())) {
                  EXPECT_TRUE(f.ready());
                  order.push_back(std::move(f).get());
                }
              }),
              3s);
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
    for (auto& f : as_completed(std::vector<future<void>>())) f.get();
  });
}

TEST(AsCompleted, KeepsTheOrderForAConsumerThatComesLate) {
  simulate([] {
    const auto all = three();
    auto coming = as_completed(all);
    sleep_for(10s);
    EXPECT_EQ(coming.left(), 3U);
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(coming.next()->get(), i);
    EXPECT_EQ(coming.next(), std::nullopt);
    EXPECT_EQ(coming.left(), 0U);
  });
}

TEST(AsCompleted, GivesFailedOnesAsTheyAre) {
  simulate([] {
    auto fails = spawn([]() -> int { throw std::runtime_error("no"); });
    auto quits = after(10s, 1);
    fails.wait();
    quits.cancel();
    int seen = 0;
    for (auto& f : as_completed(std::vector{fails, quits})) {
      if (++seen == 1)
        EXPECT_THROW(f.get(), std::runtime_error);
      else
        EXPECT_THROW(f.get(), cancelled);
    }
    EXPECT_EQ(seen, 2);
  });
}

TEST(AsCompleted, MovesResultsOutOfOwnedFuturesAndTakesLazies) {
  simulate([] {
    const auto make = [] { return std::make_unique<int>(7); };
    std::vector<lazy<decltype(make)>> lazies;
    lazies.emplace_back(make);
    lazies.emplace_back(make);
    int sum = 0;
    for (auto& f : as_completed(lazies)) sum += *std::move(f).get();
    EXPECT_EQ(sum, 14);
  });
}

TEST(AsCompleted, ThatIsLeftEarlyEndsWhatItOwnsAndNothingElse) {
  simulate([] {
    int unwound = 0;
    const auto task = [&](std::chrono::seconds delay) {
      return spawn([&unwound, delay] {
        try {
          sleep_for(delay);
        } catch (const cancelled&) {
          shield([] { sleep_for(1s); });
          ++unwound;
          throw;
        }
      });
    };
    auto shared = task(100s);
    EXPECT_EQ(time_of([&] {
                std::vector<future<void>> range{task(1s), task(50s), task(60s)};
                range.push_back(shared);
                for (auto& f : as_completed(std::move(range))) {
                  f.get();
                  break;
                }
              }),
              2s);
    EXPECT_EQ(unwound, 2);
    EXPECT_FALSE(shared.ready());
    shared.cancel();
    EXPECT_THROW(shared.get(), cancelled);
  });
}

TEST(AsCompleted, GivesUpAtADeadlineAndGoesOnAfterwards) {
  simulate([] {
    auto coming = as_completed(three());
    EXPECT_EQ(coming.next_for(2s)->get(), 1);
    EXPECT_EQ(time_of([&] { EXPECT_THROW((void)coming.next_for(500ms), timed_out); }), 500ms);
    EXPECT_EQ(coming.next_until(clock::now() + 2s)->get(), 2);
    EXPECT_EQ(coming.next()->get(), 3);
  });
}

TEST(AsCompleted, LosesNothingWhenTheConsumerIsCancelled) {
  simulate([] {
    auto coming = as_completed(three());
    EXPECT_FALSE(move_on_after(500ms, [&] { (void)coming.next(); }));
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(coming.next()->get(), i);
  });
}

TEST(AsCompleted, WorksInEveryKindOfTask) {
  simulate([] {
    const auto body = [] {
      int expected = 0;
      for (auto& f : as_completed(three())) EXPECT_EQ(f.get(), ++expected);
    };
    spawn_cpu(body).get();
    spawn_blocking(body).get();
    spawn(on_loop(1), body).get();
  });
}

TEST_P(AsCompletedOnLoops, MayBeLeftWhileProducersElsewhereFire) {
  run([] {
    for (std::size_t round = 0; round < 60; ++round) {
      std::vector<promise<int>> promises(8);
      std::vector<future<int>> all;
      for (auto& p : promises) all.push_back(p.get_future());
      for (int i = 0; i < 4; ++i) {
        all.push_back(spawn_cpu([i] { return i; }));
        all.push_back(spawn(anywhere, [i] { return i; }));
      }
      std::thread outside([&] {
        for (auto& p : promises) p.set_value(1);
      });
      std::size_t seen = 0;
      const auto consume = [&](auto& coming) {
        while (seen < round % 17)
          if (auto f = coming.next(); f && f->ready()) ++seen;
      };
      if (round % 2 == 0) {
        auto coming = as_completed(all);
        consume(coming);
      } else {
        auto coming = as_completed(std::move(all));
        consume(coming);
      }
      EXPECT_EQ(seen, round % 17);
      outside.join();
    }
  });
}

}  // namespace
}  // namespace weft::testing::as_completed_test
