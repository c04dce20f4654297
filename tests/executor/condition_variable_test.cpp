#include "weft/condition_variable.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "weft/shared_mutex.hpp"
#include "weft_test.hpp"

namespace weft::testing::condition_variable_test {
namespace {

TEST(ConditionVariable, WaitsForAConditionAndHoldsTheLockAfter) {
  simulate([] {
    mutex m;
    condition_variable changed;
    int value = 0;
    auto waits = spawn(on_loop(1), [&] {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return value == 2; });
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_EQ(value, 2);
    });
    for (int i = 1; i <= 2; ++i) {
      sleep_for(1ms);
      {
        const std::lock_guard lock(m);
        value = i;
      }
      changed.notify_one();
    }
    waits.get();
  });
}

TEST(ConditionVariable, NotifyOneWakesTheOldestAndNotifyAllTheRest) {
  simulate([] {
    mutex m;
    condition_variable c;
    std::vector<int> order;
    std::vector<future<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i));
        std::unique_lock lock(m);
        c.wait(lock);
        order.push_back(i);
      }));
    sleep_for(10ms);
    c.notify_one();
    sleep_for(1ms);
    EXPECT_EQ(order, (std::vector<int>{0}));
    c.notify_all();
    gather(std::move(all)).get();
    EXPECT_EQ(order.size(), 4U);
    c.notify_one();  // nobody waits: nothing is kept
    std::unique_lock lock(m);
    EXPECT_EQ(c.wait_for(lock, 1ms), std::cv_status::timeout);
  });
}

TEST(ConditionVariable, ACancelledWaitHoldsTheLockAndTakesNoNotification) {
  simulate([] {
    mutex m;
    condition_variable c;
    bool held = false;
    auto cancels = spawn([&] {
      std::unique_lock lock(m);
      try {
        c.wait(lock);
      } catch (const cancelled&) {
        held = lock.owns_lock() && !m.try_lock();
        throw;
      }
    });
    auto waits = spawn([&] {
      std::unique_lock lock(m);
      c.wait(lock);
    });
    sleep_for(1ms);
    cancels.cancel();
    EXPECT_THROW(cancels.get(), cancelled);
    EXPECT_TRUE(held);
    c.notify_one();
    waits.get();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(ConditionVariable, TimesOut) {
  simulate([] {
    mutex m;
    condition_variable c;
    std::unique_lock lock(m);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(c.wait_for(lock, 4ms, [] { return false; })); }), 4ms);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(c.wait_until(lock, clock::now() + 1ms), std::cv_status::timeout);
    lock.unlock();
    EXPECT_THROW(c.wait(lock), std::system_error);
  });
}

TEST(ConditionVariable, WorksWithASharedMutex) {
  simulate([] {
    shared_mutex m;
    condition_variable c;
    bool ready = false;
    std::vector<future<void>> all;
    for (int i = 0; i < 3; ++i)
      all.push_back(spawn([&] {
        std::shared_lock lock(m);
        c.wait(lock, [&] { return ready; });
      }));
    sleep_for(1ms);
    {
      const std::lock_guard lock(m);
      ready = true;
    }
    c.notify_all();
    gather(std::move(all)).get();
  });
}

class ConditionVariableOnLoops : public OnLoops {};
WEFT_ON_LOOPS(ConditionVariableOnLoops);

TEST_P(ConditionVariableOnLoops, CarriesAQueueBetweenAllKindsOfAgents) {
  run([] {
    mutex m;
    condition_variable not_empty;
    condition_variable not_full;
    std::deque<int> queue;
    constexpr int each = 200;
    const auto produce = [&] {
      for (int i = 0; i < each; ++i) {
        std::unique_lock lock(m);
        not_full.wait(lock, [&] { return queue.size() < 4; });
        queue.push_back(i);
        lock.unlock();
        not_empty.notify_one();
      }
    };
    const auto consume = [&] {
      long sum = 0;
      for (int i = 0; i < each; ++i) {
        std::unique_lock lock(m);
        not_empty.wait(lock, [&] { return !queue.empty(); });
        sum += queue.front();
        queue.pop_front();
        not_full.notify_one();
      }
      return sum;
    };
    auto p1 = spawn(anywhere, produce);
    auto p2 = spawn_cpu(produce);
    std::thread p3(produce);
    auto c1 = spawn(consume);
    auto c2 = spawn_cpu(consume);
    auto c3 = spawn_blocking(consume);
    const long sum = c1.get() + c2.get() + c3.get();
    gather(std::move(p1), std::move(p2)).get();
    p3.join();
    EXPECT_EQ(sum, 3L * each * (each - 1) / 2);
  });
}

}  // namespace
}  // namespace weft::testing::condition_variable_test
