// What Trio's documentation promises of memory channels, of weft::channel.
//
// Where weft differs on purpose:
// * A channel is one object with two ends, not a pair of them, and is not cloned: whoever opened it closes it, once the
//   producers are done (a task_group says when). So a producer cannot end the channel for the others by accident.
// * close() is the senders' end (Trio: receivers then get EndOfChannel). The receivers' end (Trio: senders get
//   BrokenResourceError) is close_now(), which also drops what is in the buffer.
// * Using an end that you closed yourself (ClosedResourceError) and one that others closed are the same channel_closed.
// * There is no default for the capacity: 0, a number or `unbounded` is for the program to say.

#include <gtest/gtest.h>

#include <vector>

#include "weft/channel.hpp"
#include "weft_test.hpp"

namespace weft::testing::memory_channel_test {
namespace {

TEST(TrioMemoryChannel, WithNoBufferASendCompletesWhenItIsReceived) {
  simulate([] {
    channel<int> c(0);
    bool sent = false;
    auto sender = spawn([&] {
      c.send(1);
      sent = true;
    });
    sleep_for(1ms);
    EXPECT_FALSE(sent);
    EXPECT_EQ(c.recv(), 1);
    sender.get();
  });
}

TEST(TrioMemoryChannel, ABufferIsBackpressure) {
  simulate([] {
    channel<int> c(5);
    int sent = 0;
    auto producer = spawn([&] {
      for (int i = 0; i < 20; ++i) {
        c.send(i);
        ++sent;
      }
    });
    for (int i = 0; i < 20; ++i) {
      sleep_for(1ms);
      EXPECT_LE(sent, i + 5);
      (void)c.recv();
    }
    producer.get();
  });
}

TEST(TrioMemoryChannel, IterationEndsWhenTheSendersHaveClosed) {
  simulate([] {
    channel<int> c(0);
    auto producers = spawn([&] {
      std::vector<future<void>> all;
      for (int p = 0; p < 3; ++p)
        all.push_back(spawn([&, p] {
          for (int i = 0; i < 3; ++i) c.send(p * 3 + i);
        }));
      gather(std::move(all)).get();
      c.close();
    });
    int sum = 0;
    for (const int v : c) sum += v;
    EXPECT_EQ(sum, 36);
    producers.get();
  });
}

TEST(TrioMemoryChannel, EachValueIsReceivedByOneOfManyReceivers) {
  simulate([] {
    channel<int> c(0);
    int sum = 0;
    std::vector<future<void>> receivers;
    for (unsigned i = 0; i < 4; ++i)
      receivers.push_back(spawn(on_loop(i % 2), [&] {
        for (const int v : c) {
          sum += v;
          sleep_for(std::chrono::microseconds(sim::draw(3)));
        }
      }));
    for (int i = 1; i <= 30; ++i) c.send(i);
    c.close();
    gather(std::move(receivers)).get();
    EXPECT_EQ(sum, 465);
  });
}

TEST(TrioMemoryChannel, ASenderLearnsThatNobodyReceivesAnyMore) {
  simulate([] {
    channel<int> c(1);
    c.send(1);
    auto sender = spawn([&] { c.send(2); });
    sleep_for(1ms);
    c.close_now();
    EXPECT_THROW(sender.get(), channel_closed);
    EXPECT_THROW(c.send(3), channel_closed);
  });
}

TEST(TrioMemoryChannel, TheNowaitFormsTellThatTheyWouldBlock) {
  simulate([] {
    channel<int> c(0);
    EXPECT_FALSE(c.try_send(1));
    EXPECT_FALSE(c.try_recv());
  });
}

TEST(TrioMemoryChannel, ACancelledOperationHasDoneNothing) {
  simulate([] {
    channel<int> c(0);
    EXPECT_FALSE(move_on_after(1ms, [&] { c.send(1); }));
    EXPECT_FALSE(c.try_recv());
    EXPECT_FALSE(move_on_after(1ms, [&] { return c.recv(); }));
    EXPECT_FALSE(c.try_send(1));
  });
}

TEST(TrioMemoryChannel, BothOperationsAreCheckpointsEvenWhenTheyDoNotBlock) {
  simulate([] {
    channel<int> c(unbounded);
    auto task = spawn([&] {
      try {
        sleep_for(1h);
      } catch (const cancelled&) {
        EXPECT_THROW(c.send(1), cancelled);
        EXPECT_THROW((void)c.recv(), cancelled);
        throw;
      }
    });
    sleep_for(1ms);
    c.send(7);
    task.cancel();
    EXPECT_THROW(task.get(), cancelled);
    EXPECT_EQ(c.size(), 1U);
  });
}

}  // namespace
}  // namespace weft::testing::memory_channel_test
