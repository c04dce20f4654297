#include "weft/semaphore.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::semaphore_test {
namespace {

TEST(Semaphore, LetsInAsManyAsItHasPermits) {
  simulate([] {
    semaphore s(2);
    int inside = 0;
    int most = 0;
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 6; ++i)
      all.push_back(spawn(on_loop(i % 2), [&] {
        s.acquire();
        most = std::max(most, ++inside);
        sleep_for(1ms);
        --inside;
        s.release();
      }));
    gather(std::move(all)).get();
    EXPECT_EQ(most, 2);
    EXPECT_TRUE(s.try_acquire());
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST(Semaphore, ServesTheOldestWaiterFirstAndNobodyGoesBefore) {
  simulate([] {
    semaphore s(0);
    std::vector<int> order;
    std::vector<future<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i));
        s.acquire();
        order.push_back(i);
      }));
    sleep_for(10ms);
    s.release(3);
    EXPECT_FALSE(s.try_acquire());  // they are spoken for
    sleep_for(1ms);
    std::sort(order.begin(), order.end());  // they became ready together, and a simulation draws who runs first
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
    s.release();
    gather(std::move(all)).get();
    EXPECT_EQ(order.back(), 3);
  });
}

TEST(Semaphore, AWaitThatEndsOtherwiseTakesNoPermit) {
  simulate([] {
    semaphore s(0);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(s.try_acquire_for(5ms)); }), 5ms);
    auto waits = spawn([&] { s.acquire(); });
    sleep_for(1ms);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    s.release();
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST(Semaphore, IsACheckpointEvenWhenAPermitIsThere) {
  simulate([] {
    semaphore s(1);
    auto t = spawn([&] {
      try {
        sleep_for(1h);
      } catch (const cancelled&) {
        s.acquire();  // level-triggered: throws again
      }
    });
    sleep_for(1ms);
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_TRUE(s.try_acquire());
  });
}

TEST(Semaphore, MisuseIsAnError) {
  EXPECT_THROW(semaphore(-1), std::invalid_argument);
  EXPECT_THROW(semaphore(3, 2), std::invalid_argument);
  semaphore bounded(1, 1);
  EXPECT_THROW(bounded.release(), std::logic_error);
  EXPECT_TRUE(bounded.try_acquire());
  bounded.release();
  EXPECT_THROW(bounded.release(-1), std::invalid_argument);
  semaphore full(semaphore::max());
  full.release();  // saturates
  EXPECT_TRUE(full.try_acquire());
}

class SemaphoreOnLoops : public OnLoops {};
WEFT_ON_LOOPS(SemaphoreOnLoops);

TEST_P(SemaphoreOnLoops, LosesNoPermitAmongAllKindsOfAgents) {
  run([] {
    semaphore s(2);
    std::atomic<int> inside{0};
    const auto work = [&] {
      for (int i = 0; i < 200; ++i) {
        if (i % 3 == 0) {
          if (!s.try_acquire_for(20us)) continue;
        } else {
          s.acquire();
        }
        EXPECT_LE(inside.fetch_add(1), 1);
        inside.fetch_sub(1);
        s.release();
      }
    };
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 4; ++i) all.push_back(spawn(on_loop(i % loop_count()), work));
    for (int i = 0; i < 2; ++i) all.push_back(spawn_cpu(work));
    all.push_back(spawn_blocking(work));
    std::thread foreign(work);
    gather(std::move(all)).get();
    foreign.join();
    EXPECT_TRUE(s.try_acquire());
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
  });
}

}  // namespace
}  // namespace weft::testing::semaphore_test
