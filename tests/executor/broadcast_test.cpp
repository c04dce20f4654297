#include "weft/broadcast.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::broadcast_test {
namespace {

TEST(Broadcast, GivesEveryValueToEveryReceiver) {
  simulate([] {
    broadcast<int> b(8);
    b.send(-1);  // before anybody listened
    auto r = b.subscribe();
    std::vector<future<int>> all;
    for (unsigned i = 0; i < 3; ++i)
      all.push_back(spawn(on_loop(i % 2), [mine = b.subscribe()]() mutable {
        int sum = 0;
        for (int k = 0; k < 5; ++k) sum = sum * 10 + *mine.recv();
        return sum;
      }));
    for (int i = 1; i <= 5; ++i) {
      sleep_for(std::chrono::microseconds(sim::draw(2)));
      b.send(i);
    }
    for (auto& f : all) EXPECT_EQ(f.get(), 12345);
    for (int i = 1; i <= 5; ++i) EXPECT_EQ(*r.recv(), i);
    EXPECT_EQ(time_of([&] { EXPECT_EQ(r.recv_for(2ms), nullptr); }), 2ms);
  });
}

TEST(Broadcast, TellsASlowReceiverHowMuchItMissed) {
  simulate([] {
    broadcast<int> b(3);
    auto r = b.subscribe();
    for (int i = 0; i < 10; ++i) b.send(i);
    try {
      (void)r.recv();
      FAIL();
    } catch (const lagged& l) {
      EXPECT_EQ(l.missed(), 7U);
    }
    for (int i = 7; i < 10; ++i) EXPECT_EQ(*r.recv(), i);
  });
}

TEST(Broadcast, ClosedItIsDrainedAndThenAnError) {
  simulate([] {
    broadcast<int> b(4);
    auto r = b.subscribe();
    auto waits = spawn([mine = b.subscribe()]() mutable {
      EXPECT_EQ(*mine.recv(), 1);
      (void)mine.recv();
    });
    b.send(1);
    sleep_for(1ms);
    b.close();
    EXPECT_THROW(waits.get(), channel_closed);
    EXPECT_THROW(b.send(2), channel_closed);
    EXPECT_EQ(*r.recv(), 1);
    EXPECT_THROW((void)r.recv(), channel_closed);
  });
  EXPECT_THROW(broadcast<int>(0), std::invalid_argument);
}

TEST(Broadcast, ACancelledReceiverHasTakenNothing) {
  simulate([] {
    broadcast<int> b(4);
    auto r = b.subscribe();
    auto waits = spawn([&] { (void)r.recv(); });
    sleep_for(1ms);
    waits.cancel();
    b.send(5);
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_EQ(*r.recv(), 5);
  });
}

class BroadcastOnLoops : public OnLoops {};
WEFT_ON_LOOPS(BroadcastOnLoops);

TEST_P(BroadcastOnLoops, AllKindsOfAgentsReceiveAllOrAreToldWhatTheyMissed) {
  run([] {
    broadcast<int> b(64);
    constexpr int n = 1000;
    const auto follow = [&](broadcast<int>::receiver r) {
      std::uint64_t seen = 0;
      try {
        for (;;) {
          try {
            (void)r.recv();
            ++seen;
          } catch (const lagged& l) {
            seen += l.missed();
          }
        }
      } catch (const channel_closed&) {
      }
      EXPECT_EQ(seen, n);
    };
    std::vector<future<void>> all;
    all.push_back(spawn(anywhere, [&, r = b.subscribe()] { follow(r); }));
    all.push_back(spawn([&, r = b.subscribe()] { follow(r); }));
    all.push_back(spawn_cpu([&, r = b.subscribe()] { follow(r); }));
    all.push_back(spawn_blocking([&, r = b.subscribe()] { follow(r); }));
    std::thread foreign([&] {
      for (int i = 0; i < n; ++i) b.send(i);
      b.close();
    });
    gather(std::move(all)).get();
    foreign.join();
  });
}

}  // namespace
}  // namespace weft::testing::broadcast_test
