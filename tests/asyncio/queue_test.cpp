// What asyncio's documentation promises of Queue, LifoQueue and PriorityQueue, of weft::channel.
//
// Where weft differs on purpose:
// * No capacity means a rendezvous, not "infinite": a queue without a bound says `unbounded`.
// * get_nowait() and put_nowait() do not throw when there is nothing or no room: try_recv() gives an empty optional and
//   try_send() false, since neither is an error.
// * Equal priorities come in the order they were sent; asyncio leaves that open. The greatest goes first, as in
//   std::priority_queue; by_priority<std::greater<>> gives asyncio's order.
// * A channel may be used from any loop, thread and CPU task.
// * A cancelled put() has not put, and the value is still the caller's.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "weft/channel.hpp"
#include "weft_test.hpp"

namespace weft::testing::queue_test {
namespace {

TEST(AsyncioQueue, IsFirstInFirstOut) {
  simulate([] {
    channel<int> q(unbounded);
    for (int i = 0; i < 5; ++i) q.send(i);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(q.recv(), i);
  });
}

TEST(AsyncioQueue, PutBlocksAtMaxsizeUntilAnItemIsRemovedByGet) {
  simulate([] {
    channel<int> q(1);
    q.send(1);
    EXPECT_TRUE(q.full());
    auto put = spawn([&] { q.send(2); });
    sleep_for(1ms);
    EXPECT_FALSE(put.ready());
    EXPECT_EQ(q.recv(), 1);
    put.get();
    EXPECT_EQ(q.recv(), 2);
  });
}

TEST(AsyncioQueue, KnowsItsSize) {
  simulate([] {
    channel<int> q(2);
    EXPECT_TRUE(q.empty());
    EXPECT_EQ(q.capacity(), 2U);
    q.send(1);
    EXPECT_EQ(q.size(), 1U);
    EXPECT_FALSE(q.full());
    q.send(1);
    EXPECT_TRUE(q.full());
    channel<int> infinite(unbounded);
    infinite.send(1);
    EXPECT_FALSE(infinite.full());
  });
}

TEST(AsyncioQueue, GetWaitsUntilAnItemIsAvailable) {
  simulate([] {
    channel<int> q(1);
    auto get = spawn([&] { return q.recv(); });
    sleep_for(1ms);
    EXPECT_FALSE(get.ready());
    q.send(3);
    EXPECT_EQ(get.get(), 3);
  });
}

TEST(AsyncioQueue, TheNowaitFormsNeverWait) {
  simulate([] {
    channel<int> q(1);
    EXPECT_FALSE(q.try_recv());
    EXPECT_TRUE(q.try_send(1));
    EXPECT_FALSE(q.try_send(2));
    EXPECT_EQ(q.try_recv(), 1);
  });
}

TEST(AsyncioQueue, JoinBlocksUntilEveryItemWasReceivedAndProcessed) {
  simulate([] {
    channel<int> q(unbounded);
    q.join();  // nothing was put
    for (int i = 0; i < 6; ++i) q.send(i);
    int processed = 0;
    std::vector<future<void>> workers;
    for (unsigned i = 0; i < 3; ++i)
      workers.push_back(spawn(on_loop(i % 2), [&] {
        for (;;) {
          (void)q.recv();
          sleep_for(1ms);
          ++processed;
          q.task_done();
        }
      }));
    q.join();
    EXPECT_EQ(processed, 6);
    for (auto& w : workers) w.cancel();
    for (auto& w : workers) EXPECT_THROW(w.get(), cancelled);
  });
}

TEST(AsyncioQueue, TaskDoneCalledTooOftenIsAnError) {
  simulate([] {
    channel<int> q(2);
    EXPECT_THROW(q.task_done(), std::logic_error);
    q.send(1);
    q.task_done();
    EXPECT_THROW(q.task_done(), std::logic_error);
  });
}

TEST(AsyncioQueue, AShutDownQueueCanNoLongerGrowAndIsWoundDownByGet) {
  simulate([] {
    channel<int> q(2);
    q.send(1);
    q.send(2);
    auto blocked = spawn([&] { q.send(3); });
    auto joined = spawn([&] { q.join(); });
    sleep_for(1ms);
    q.close();
    EXPECT_THROW(blocked.get(), channel_closed);  // formerly blocked callers of put are unblocked
    EXPECT_THROW(q.send(4), channel_closed);
    EXPECT_EQ(q.recv(), 1);
    EXPECT_EQ(q.recv(), 2);
    EXPECT_THROW((void)q.recv(), channel_closed);
    q.task_done();
    EXPECT_FALSE(joined.ready());
    q.task_done();  // a pending join is unblocked normally
    joined.get();
  });
}

TEST(AsyncioQueue, AnImmediateShutdownDrainsItAndUnblocksGetAndJoin) {
  simulate([] {
    channel<int> q(4);
    for (int i = 0; i < 3; ++i) q.send(i);
    auto joined = spawn([&] { q.join(); });
    sleep_for(1ms);
    q.close_now();
    EXPECT_TRUE(q.empty());
    EXPECT_THROW((void)q.recv(), channel_closed);
    joined.get();

    channel<int> other(1);
    auto get = spawn([&] { (void)other.recv(); });
    sleep_for(1ms);
    other.close_now();
    EXPECT_THROW(get.get(), channel_closed);
  });
}

TEST(AsyncioQueue, AnImmediateShutdownCountsOnlyDrainedItemsAsDone) {
  simulate([] {
    channel<int> q(4);
    q.send(1);
    q.send(2);
    (void)q.recv();
    auto joined = spawn([&] { q.join(); });
    sleep_for(1ms);
    q.close_now();
    sleep_for(1ms);
    EXPECT_FALSE(joined.ready());  // one was received and is not processed
    q.task_done();
    joined.get();
  });
}

TEST(AsyncioQueue, ACancelledGetTakesNothing) {
  simulate([] {
    channel<int> q(1);
    auto get = spawn([&] { (void)q.recv(); });
    sleep_for(1ms);
    get.cancel();
    EXPECT_THROW(get.get(), cancelled);
    q.send(1);
    EXPECT_EQ(q.try_recv(), 1);
  });
}

TEST(AsyncioQueue, TheTimeoutOfAnOperationIsThatOfTheTask) {
  simulate([] {
    channel<int> q(1);
    EXPECT_THROW(timeout(2ms, [&] { return q.recv(); }), timed_out);
    q.send(1);
    EXPECT_EQ(q.recv(), 1);
  });
}

TEST(AsyncioLifoQueue, RetrievesTheMostRecentlyAddedFirst) {
  simulate([] {
    channel<int, lifo> q(unbounded);
    for (int i = 0; i < 4; ++i) q.send(i);
    for (int i = 3; i >= 0; --i) EXPECT_EQ(q.recv(), i);
  });
}

TEST(AsyncioPriorityQueue, RetrievesTheLowestFirst) {
  simulate([] {
    using entry = std::pair<int, std::string>;
    channel<entry, by_priority<std::greater<>>> q(unbounded);
    for (const auto& e : {entry(3, "c"), entry(1, "a"), entry(2, "b")}) q.send(e);
    std::string all;
    while (auto e = q.try_recv()) all += e->second;
    EXPECT_EQ(all, "abc");
  });
}

}  // namespace
}  // namespace weft::testing::queue_test
