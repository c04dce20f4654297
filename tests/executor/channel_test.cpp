#include "weft/channel.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>

#include "weft/testing/channels.hpp"
#include "weft_test.hpp"

namespace weft::testing::channel_test {
namespace {

template <class T>
using fifo_channel = channel<T>;

TEST(Channel, MeetsTheContractOfChannels) {
  for (const unsigned loops : {1U, 2U, 4U}) check_channel<fifo_channel>({.seeds = seeds(), .loops = loops});
}

template <class T>
struct forgetful_channel : channel<T> {
  using channel<T>::channel;
  T recv() {
    if (this->size() == 3) (void)channel<T>::recv();
    return channel<T>::recv();
  }
};
TEST(ChannelContract, FindsAChannelThatLosesMessages) {
  EXPECT_THROW(check_channel<forgetful_channel>({.seeds = 20}), contract_broken);
}

TEST(Channel, SendToClosedThrowsAndKeepsValue) {
  simulate([] {
    channel<std::unique_ptr<int>> ch(1);
    ch.close();
    auto mine = std::make_unique<int>(7);
    EXPECT_THROW(ch.send(std::move(mine)), channel_closed);
    ASSERT_TRUE(mine);
    EXPECT_EQ(*mine, 7);
    EXPECT_THROW((void)ch.try_send(std::move(mine)), channel_closed);
    EXPECT_TRUE(mine);
  });
}

TEST(Channel, ASendThatEndsOtherwiseKeepsItsValue) {
  simulate([] {
    channel<std::unique_ptr<int>> ch(1);
    ch.send(std::make_unique<int>(1));
    auto mine = std::make_unique<int>(2);
    EXPECT_FALSE(ch.try_send(std::move(mine)));
    EXPECT_TRUE(mine);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(ch.send_for(std::move(mine), 3ms)); }), 3ms);
    EXPECT_TRUE(mine);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(ch.send_until(std::move(mine), deadline::after(2ms))); }), 2ms);
    EXPECT_TRUE(mine);
    auto sender = spawn([&] {
      EXPECT_THROW(ch.send(std::move(mine)), cancelled);
      EXPECT_TRUE(mine);
      check_cancelled();
    });
    sleep_for(1ms);
    sender.cancel();
    EXPECT_THROW(sender.get(), cancelled);
    EXPECT_EQ(**ch.recv_until(deadline::after(1s)), 1);
    EXPECT_FALSE(ch.try_recv());
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(ch.recv_until(deadline::after(2ms))); }), 2ms);
  });
}

TEST(Channel, LifoGivesTheNewestFirst) {
  simulate([] {
    channel<int, lifo> ch(3);
    for (int i = 0; i < 3; ++i) ch.send(i);
    EXPECT_EQ(ch.recv(), 2);
    ch.send(5);
    EXPECT_EQ(ch.recv(), 5);
    EXPECT_EQ(ch.recv(), 1);
    EXPECT_EQ(ch.recv(), 0);
  });
}

TEST(Channel, PriorityGivesTheGreatestFirstAndEqualOnesInOrder) {
  simulate([] {
    struct job {
      int priority;
      int number;
      bool operator<(const job& o) const { return priority < o.priority; }
    };
    channel<job, by_priority<>> ch(unbounded);
    for (int i = 0; i < 50; ++i) ch.send({static_cast<int>(sim::draw(5)), i});
    job last{100, -1};
    for (int i = 0; i < 50; ++i) {
      if (i == 20) ch.send({50, 100});
      const job j = ch.recv();
      if (i == 20) {
        EXPECT_EQ(j.number, 100);
        continue;
      }
      EXPECT_TRUE(j.priority < last.priority || (j.priority == last.priority && j.number > last.number));
      last = j;
    }
    ch.close();
    EXPECT_EQ(ch.recv().priority, last.priority);
    EXPECT_THROW((void)ch.recv(), channel_closed);
    channel<std::string, by_priority<std::greater<>>> least(8);
    for (const char* s : {"m", "c", "x", "a"}) least.send(s);
    EXPECT_EQ(least.recv(), "a");
    EXPECT_EQ(least.recv(), "c");  // the rest is destroyed with it
  });
}

TEST(Channel, IsARangeThatEndsWhenItIsClosed) {
  simulate([] {
    channel<std::string> ch(2);
    auto producer = spawn([&] {
      for (int i = 0; i < 5; ++i) ch.send(std::to_string(i));
      ch.close();
    });
    std::string all;
    for (std::string& s : ch) all += s;
    EXPECT_EQ(all, "01234");
    producer.get();
  });
}

TEST(Channel, JoinWaitsUntilAllThatWasSentIsDone) {
  simulate([] {
    channel<int> ch(10);
    int done = 0;
    for (int i = 0; i < 4; ++i) ch.send(i);
    auto worker = spawn([&] {
      for (int v : ch) {
        sleep_for(std::chrono::milliseconds(v));
        ++done;
        ch.task_done();
      }
    });
    ch.join();
    EXPECT_EQ(done, 4);
    EXPECT_THROW(ch.task_done(), std::logic_error);
    ch.send(9);
    ch.close_now();  // what it held counts as done
    worker.get();
    if (done == 4) ch.join();
  });
}

TEST(Channel, CloseNowDestroysWhatItHolds) {
  simulate([] {
    auto counted = std::make_shared<int>(1);
    channel<std::shared_ptr<int>> ch(4);
    for (int i = 0; i < 3; ++i) ch.send(counted);
    EXPECT_EQ(counted.use_count(), 4);
    ch.close_now();
    EXPECT_EQ(counted.use_count(), 1);
    EXPECT_FALSE(ch.try_recv());
    EXPECT_THROW((void)ch.recv(), channel_closed);
  });
}

TEST(Channel, DestroyingItGivesChannelClosedToThoseWhoWait) {
  simulate([] {
    auto empty = std::make_unique<channel<int>>(1);
    auto receiver = spawn([ch = empty.get()] { (void)ch->recv(); });
    auto full = std::make_unique<channel<int>>(0);
    auto sender = spawn([ch = full.get()] { ch->send(1); });
    auto joined = std::make_unique<channel<int>>(2);
    joined->send(1);
    (void)joined->recv();
    auto joiner = spawn([ch = joined.get()] { ch->join(); });
    sleep_for(1ms);
    empty.reset();
    full.reset();
    joined.reset();
    EXPECT_THROW(receiver.get(), channel_closed);
    EXPECT_THROW(sender.get(), channel_closed);
    EXPECT_THROW(joiner.get(), channel_closed);
  });
}

// It uses the channel that it goes through, each time it moves: takes the next one out.
struct takes_another {
  channel<takes_another>* through = nullptr;
  std::size_t* taken = nullptr;
  takes_another() = default;
  takes_another(takes_another&& other) noexcept : through(std::exchange(other.through, nullptr)), taken(other.taken) {
    if (through && through->try_recv()) ++*taken;
  }
  takes_another& operator=(takes_another&& other) noexcept {
    through = std::exchange(other.through, nullptr);
    taken = other.taken;
    return *this;
  }
};
TEST(Channel, MovesAValueWhereItsMoveMayUseTheChannel) {
  for (const std::size_t capacity : {0U, 1U, 4U})
    simulate([capacity] {
      channel<takes_another> ch(capacity);
      std::size_t taken = 0;
      std::size_t received = 0;
      auto receiver = spawn([&] {
        for (const takes_another& v : ch) received += v.taken == &taken;
      });
      auto sender = spawn([&] {
        for (int i = 0; i < 40; ++i) {
          takes_another v;
          v.through = &ch;
          v.taken = &taken;
          ch.send(std::move(v));
          if (i % 8 == 0) yield();
        }
        ch.close();
      });
      sender.get();
      receiver.get();
      EXPECT_EQ(received + taken, 40U);
    });
}

TEST(Channel, AValueHandedToAWaitingReceiverHasOneOwner) {
  for (const unsigned loops : {1U, 2U})
    simulate(
        [] {
          const auto token = std::make_shared<int>(1);
          channel<std::shared_ptr<int>> ch(1);
          for (int i = 0; i < 30; ++i) {
            // One is cancelled, one gives up, one throws what it got away.
            auto cancelled_one = spawn(anywhere, [&] { (void)ch.recv(); });
            auto slow_one = spawn(anywhere, [&] { (void)ch.recv_for(1us); });
            auto thrower = spawn(anywhere, [&] {
              select(on_recv(ch, [](std::shared_ptr<int>) { throw std::runtime_error("thrown away"); }),
                     after(1s, [] {}));
            });
            yield();
            auto sender = spawn(anywhere, [&] {
              for (int k = 0; k < 3; ++k) (void)ch.send_for(std::shared_ptr<int>(token), 1ms);
            });
            cancelled_one.cancel();
            cancelled_one.wait();
            slow_one.wait();
            thrower.wait();
            sender.wait();
          }
          ch.close_now();
          EXPECT_EQ(token.use_count(), 1);
        },
        {.loops = loops});
}

class ChannelOnLoops : public OnLoops {};
WEFT_ON_LOOPS(ChannelOnLoops);

TEST_P(ChannelOnLoops, MayBeDestroyedByWhoeverReceivedTheLast) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto ch = std::make_unique<channel<int>>(static_cast<std::size_t>(i % 2));
      auto sender = i % 3 ? spawn(anywhere, [c = ch.get()] { c->send(1); }) : spawn_cpu([c = ch.get()] { c->send(1); });
      EXPECT_EQ(ch->recv(), 1);
      if (i % 2 == 0) sender.wait();
      sender.wait();
      ch.reset();
    }
  });
}

}  // namespace
}  // namespace weft::testing::channel_test
