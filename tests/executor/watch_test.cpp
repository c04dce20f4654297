#include "weft/watch.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::watch_test {
namespace {

TEST(Watch, GivesTheLatestValueAndSkipsThoseBetween) {
  simulate([] {
    watch<int> w(1);
    watch<int>::receiver r(w);
    EXPECT_EQ(*r.recv(), 1);
    EXPECT_FALSE(r.has_changed());
    w.send(2);
    w.send(3);
    EXPECT_TRUE(r.has_changed());
    EXPECT_EQ(*r.recv(), 3);
    EXPECT_EQ(*w.get(), 3);
    auto waits = spawn(on_loop(1), [&] { return *r.recv(); });
    sleep_for(1ms);
    EXPECT_FALSE(waits.ready());
    w.send(4);
    EXPECT_EQ(waits.get(), 4);
    EXPECT_EQ(time_of([&] { EXPECT_EQ(r.recv_for(2ms), nullptr); }), 2ms);
  });
}

TEST(Watch, AValueThatIsHeldStaysAsItIs) {
  simulate([] {
    watch<std::string> w("old");
    const auto held = w.get();
    w.send("new");
    EXPECT_EQ(*held, "old");
  });
}

TEST(Watch, ClosedItGivesItsLastValueThenAnError) {
  simulate([] {
    watch<int> w(1);
    watch<int>::receiver r(w);
    auto waits = spawn([&w] {
      watch<int>::receiver mine(w);
      (void)mine.recv();
      (void)mine.recv();
    });
    sleep_for(1ms);
    w.close();
    EXPECT_THROW(waits.get(), channel_closed);
    EXPECT_THROW(w.send(2), channel_closed);
    EXPECT_EQ(*r.recv(), 1);
    EXPECT_THROW((void)r.recv(), channel_closed);
    EXPECT_EQ(*w.get(), 1);
  });
}

TEST(Watch, ACancelledReceiverSeesTheValueNextTime) {
  simulate([] {
    watch<int> w(0);
    watch<int>::receiver r(w);
    (void)r.recv();
    auto waits = spawn([&] { (void)r.recv(); });
    sleep_for(1ms);
    waits.cancel();
    w.send(5);
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_EQ(*r.recv(), 5);
  });
}

class WatchOnLoops : public OnLoops {};
WEFT_ON_LOOPS(WatchOnLoops);

TEST_P(WatchOnLoops, AllKindsOfAgentsSeeTheLastValue) {
  run([] {
    watch<int> w(0);
    const auto follow = [&] {
      watch<int>::receiver r(w);
      int last = -1;
      while (last < 500) {
        const int v = *r.recv();
        EXPECT_GT(v, last);
        last = v;
      }
    };
    std::vector<future<void>> all;
    all.push_back(spawn(anywhere, follow));
    all.push_back(spawn(follow));
    all.push_back(spawn_cpu(follow));
    all.push_back(spawn_blocking(follow));
    std::thread foreign([&] {
      for (int i = 1; i <= 500; ++i) w.send(i);
    });
    gather(std::move(all)).get();
    foreign.join();
  });
}

}  // namespace
}  // namespace weft::testing::watch_test
