// What asyncio's documentation promises of Lock, Event, Condition, Semaphore, BoundedSemaphore and Barrier.
//
// Where weft differs on purpose:
// * Locking is no cancellation point: a lock taken in a destructor or a handler must not throw. Acquiring a semaphore,
//   waiting for an event, a condition or a barrier is one.
// * A lock knows its owner: releasing another task's is an error in debug builds (asyncio lets any task release), and
//   locking it twice is an error instead of a deadlock.
// * A lock is fair among the waiters of one loop, as asyncio's. Where several loops use it a waiter of another loop
//   may be overtaken, for mutex::longest_overtaking or mutex::most_tries.
// * A condition's wait may end unasked, as the standard's.
// * A broken barrier does not exist: a cancelled waiter takes its arrival back, as in asyncio's documentation, and
//   abort() and reset() have no counterpart; a barrier that is given up is destroyed.
// * All of them may be used from any loop, thread and CPU task.

#include <gtest/gtest.h>

#include <mutex>
#include <vector>

#include "weft/barrier.hpp"
#include "weft/condition_variable.hpp"
#include "weft/event.hpp"
#include "weft/mutex.hpp"
#include "weft/semaphore.hpp"
#include "weft_test.hpp"

namespace weft::testing::sync_test {
namespace {

/// Everything on one loop, as asyncio: then the order of waiters is the order of the schedule drawn.
void on_one_loop(const std::function<void()>& body) { simulate(body, {.loops = 1}); }

TEST(AsyncioLock, GuaranteesExclusiveAccess) {
  on_one_loop([] {
    mutex m;
    int inside = 0;
    std::vector<future<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(spawn([&] {
        const std::lock_guard lock(m);
        EXPECT_EQ(++inside, 1);
        sleep_for(1ms);
        --inside;
      }));
    EXPECT_EQ(time_of([&] { gather(std::move(all)).get(); }), 4ms);
  });
}

TEST(AsyncioLock, AcquiringIsFair) {
  on_one_loop([] {
    mutex m;
    std::vector<int> order;
    std::vector<future<void>> all;
    m.lock();
    for (int i = 0; i < 5; ++i)
      all.push_back(spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i));
        const std::lock_guard lock(m);
        order.push_back(i);
      }));
    sleep_for(10ms);
    m.unlock();
    EXPECT_FALSE(m.try_lock());  // the task that began to wait first proceeds
    gather(std::move(all)).get();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

TEST(AsyncioEvent, WaitBlocksUntilSetAndReturnsAtOnceWhenSet) {
  on_one_loop([] {
    event e;
    auto waiter = spawn([&] { e.wait(); });
    sleep_for(1ms);
    EXPECT_FALSE(e.is_set());
    EXPECT_FALSE(waiter.ready());
    e.set();
    waiter.get();
    EXPECT_EQ(time_of([&] { e.wait(); }), 0ms);
  });
}

TEST(AsyncioEvent, SetAwakensAllImmediatelyAndClearMakesThemWaitAgain) {
  on_one_loop([] {
    event e;
    std::vector<future<void>> all;
    for (int i = 0; i < 3; ++i) all.push_back(spawn([&] { e.wait(); }));
    sleep_for(1ms);
    e.set();
    e.clear();  // they are on their way
    gather(std::move(all)).get();
    auto later = spawn([&] { e.wait(); });
    EXPECT_FALSE(later.wait_for(1ms));
    e.set();
    later.get();
  });
}

TEST(AsyncioCondition, WaitReleasesTheLockAndHoldsItAfterwards) {
  on_one_loop([] {
    mutex m;
    condition_variable c;
    auto waiter = spawn([&] {
      std::unique_lock lock(m);
      c.wait(lock);
      EXPECT_FALSE(m.try_lock());
    });
    sleep_for(1ms);
    EXPECT_TRUE(m.try_lock());
    c.notify_one();
    sleep_for(1ms);
    EXPECT_FALSE(waiter.ready());  // until the lock is given up
    m.unlock();
    waiter.get();
  });
}

TEST(AsyncioCondition, SeveralConditionsMayShareALock) {
  on_one_loop([] {
    mutex m;
    condition_variable a;
    condition_variable b;
    auto first = spawn([&] {
      std::unique_lock lock(m);
      a.wait(lock);
    });
    auto second = spawn([&] {
      std::unique_lock lock(m);
      b.wait(lock);
    });
    sleep_for(1ms);
    b.notify_all();
    second.get();
    EXPECT_FALSE(first.ready());
    a.notify_all();
    first.get();
  });
}

TEST(AsyncioCondition, WaitForWaitsUntilThePredicateIsTrue) {
  on_one_loop([] {
    mutex m;
    condition_variable c;
    int n = 0;
    auto waiter = spawn([&] {
      std::unique_lock lock(m);
      c.wait(lock, [&] { return n >= 3; });
      return n;
    });
    for (int i = 0; i < 3; ++i) {
      sleep_for(1ms);
      const std::lock_guard lock(m);
      ++n;
      c.notify_one();
    }
    EXPECT_EQ(waiter.get(), 3);
  });
}

TEST(AsyncioCondition, WaitingWithoutTheLockIsAnError) {
  on_one_loop([] {
    mutex m;
    condition_variable c;
    std::unique_lock lock(m, std::defer_lock);
    EXPECT_THROW(c.wait(lock), std::system_error);
  });
}

TEST(AsyncioSemaphore, CountsAcquiresAndReleases) {
  on_one_loop([] {
    semaphore s(2);
    s.acquire();
    s.acquire();
    auto third = spawn([&] { s.acquire(); });
    sleep_for(1ms);
    EXPECT_FALSE(third.ready());
    s.release();
    third.get();
    EXPECT_THROW(semaphore(-1), std::invalid_argument);
  });
}

TEST(AsyncioBoundedSemaphore, ReleasingAboveTheInitialValueIsAnError) {
  on_one_loop([] {
    semaphore s(1, 1);
    EXPECT_THROW(s.release(), std::logic_error);
    s.acquire();
    s.release();
    EXPECT_THROW(s.release(), std::logic_error);
  });
}

TEST(AsyncioBarrier, BlocksUntilAllPartiesWaitAndNumbersThem) {
  on_one_loop([] {
    barrier b(3);
    std::vector<bool> seen(3);
    std::vector<future<void>> all;
    for (int i = 0; i < 3; ++i)
      all.push_back(spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i));
        const std::size_t place = b.arrive_and_wait();
        EXPECT_FALSE(seen[place]);
        seen[place] = true;
      }));
    EXPECT_EQ(time_of([&] { gather(std::move(all)).get(); }), 2ms);
  });
}

TEST(AsyncioBarrier, CanBeReusedAnyNumberOfTimes) {
  on_one_loop([] {
    barrier b(2);
    auto other = spawn([&] {
      for (int i = 0; i < 10; ++i) b.arrive_and_wait();
    });
    for (int i = 0; i < 10; ++i) b.arrive_and_wait();
    other.get();
  });
}

TEST(AsyncioBarrier, ACancelledTaskExitsAndTheBarrierStaysAsItWas) {
  on_one_loop([] {
    barrier b(2);
    auto gone = spawn([&] { b.arrive_and_wait(); });
    sleep_for(1ms);
    gone.cancel();
    EXPECT_THROW(gone.get(), cancelled);
    auto one = spawn([&] { b.arrive_and_wait(); });
    EXPECT_FALSE(one.wait_for(1ms));
    b.arrive_and_wait();
    one.get();
  });
}

}  // namespace
}  // namespace weft::testing::sync_test
