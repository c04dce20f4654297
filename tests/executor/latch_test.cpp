#include "weft/latch.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "weft/barrier.hpp"
#include "weft_test.hpp"

namespace weft::testing::latch_test {
namespace {

TEST(Latch, OpensWhenItsCountIsZero) {
  simulate([] {
    latch l(3);
    bool open = false;
    auto waits = spawn([&] {
      l.wait();
      open = true;
    });
    l.count_down();
    sleep_for(1ms);
    EXPECT_FALSE(open);
    EXPECT_FALSE(l.try_wait());
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(l.wait_for(2ms)); }), 2ms);
    auto second = spawn(on_loop(1), [&] { l.arrive_and_wait(2); });
    gather(std::move(waits), std::move(second)).get();
    EXPECT_TRUE(open);
    EXPECT_TRUE(l.try_wait());
    l.wait();
  });
}

TEST(Latch, OfZeroIsOpenAndANegativeOneIsAnError) {
  EXPECT_TRUE(latch(0).try_wait());
  EXPECT_THROW(latch(-1), std::invalid_argument);
}

TEST(LatchDeathTest, CountingBelowZeroEndsTheProgram) {
  EXPECT_DEATH(latch(1).count_down(2), "latch::count_down\\(2\\) with a count of 1");
}

TEST(Barrier, AllGoOnTogetherAgainAndAgain) {
  simulate([] {
    int completed = 0;
    auto complete = [&]() noexcept { ++completed; };
    barrier b(3, complete);
    std::vector<future<std::size_t>> all;
    std::size_t sum = 0;
    for (unsigned i = 0; i < 3; ++i)
      all.push_back(spawn(on_loop(i % 2), [&, i] {
        std::size_t places = 0;
        for (int round = 0; round < 4; ++round) {
          sleep_for(std::chrono::milliseconds(i + 1));
          EXPECT_EQ(completed, round);
          places += b.arrive_and_wait();
          EXPECT_EQ(completed, round + 1);
        }
        return places;
      }));
    for (auto& f : all) sum += f.get();
    EXPECT_EQ(sum, 4U * (0 + 1 + 2));
  });
}

TEST(Barrier, ACancelledWaiterHasNotArrived) {
  simulate([] {
    barrier b(2);
    auto waits = spawn([&] { b.arrive_and_wait(); });
    sleep_for(1ms);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    auto one = spawn([&] { b.arrive_and_wait(); });
    sleep_for(1ms);
    EXPECT_FALSE(one.ready());
    auto two = spawn([&] { b.arrive_and_wait(); });
    gather(std::move(one), std::move(two)).get();
  });
}

TEST(Barrier, ArrivesWithoutWaitingAndDropsOut) {
  simulate([] {
    barrier b(2);
    auto token = b.arrive();
    b.arrive_and_drop();
    b.wait(token);
    EXPECT_EQ(b.arrive_and_wait(), 0U);  // only one is expected now
    EXPECT_THROW((void)b.arrive(2), std::logic_error);
  });
  EXPECT_THROW(barrier(0), std::invalid_argument);
}

class LatchOnLoops : public OnLoops {};
WEFT_ON_LOOPS(LatchOnLoops);

TEST_P(LatchOnLoops, WhoeverItLetsThroughMayDestroyIt) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto l = std::make_unique<latch>(2);
      auto a = spawn(anywhere, [p = l.get()] { p->count_down(); });
      auto b = spawn_cpu([p = l.get()] { p->count_down(); });
      l->wait();
      l.reset();
      a.get();
      b.get();
    }
  });
}

TEST_P(LatchOnLoops, WhoeverSeesItOpenMayDestroyIt) {
  run([] {
    constexpr int rounds = 20'000;
    constexpr int counts = 40;  // often enough for it to become the other loop's own
    const auto look_again = [alone = loop_count() == 1] {
      if (alone) yield();
    };
    std::atomic<latch*> next{nullptr};
    auto other = spawn(on_loop((this_loop() + 1) % loop_count()), [&] {
      for (int i = 0; i < rounds; ++i) {
        latch* l = nullptr;
        while (!(l = next.exchange(nullptr))) look_again();
        for (int n = 0; n < counts; ++n) l->count_down();
      }
    });
    for (int i = 0; i < rounds; ++i) {
      const auto l = std::make_unique<latch>(counts);
      next = l.get();
      while (!l->try_wait()) look_again();
    }
    other.get();
  });
}

TEST_P(LatchOnLoops, ABarrierKeepsAllKindsOfAgentsInStep) {
  run([] {
    barrier b(4);
    std::atomic<int> at[4] = {};
    const auto walk = [&](int i) {
      for (int round = 0; round < 50; ++round) {
        at[i] = round;
        b.arrive_and_wait();
        for (auto& other : at) EXPECT_GE(other, round);
        b.arrive_and_wait();
      }
    };
    auto one = spawn([&] { walk(0); });
    auto two = spawn(anywhere, [&] { walk(1); });
    auto three = spawn_cpu([&] { walk(2); });
    auto four = spawn_blocking([&] { walk(3); });
    gather(std::move(one), std::move(two), std::move(three), std::move(four)).get();
  });
}

}  // namespace
}  // namespace weft::testing::latch_test
