#include "weft/select.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <thread>

#include "weft_test.hpp"

namespace weft::testing::select_test {
namespace {

const auto nothing = [] {};

TEST(Select, DoesTheArmThatCanBeDoneAndGivesItsIndex) {
  simulate([] {
    channel<int> a(1);
    channel<std::string> b(1);
    b.send("hello");
    std::string got;
    EXPECT_EQ(select(on_recv(a, [](int) { FAIL(); }), on_recv(b, [&](std::string s) { got = s; })), 1U);
    EXPECT_EQ(got, "hello");
    int sent = 0;
    EXPECT_EQ(select(on_recv(b, [](const std::string&) { FAIL(); }), on_send(a, 5, [&] { sent = 1; })), 1U);
    EXPECT_EQ(sent, 1);
    EXPECT_EQ(a.recv(), 5);
  });
}

TEST(Select, WaitsForTheFirstOfSeveral) {
  simulate([] {
    channel<int> in(0);
    channel<int> out(0);
    promise<int> p;
    auto later = p.get_future();
    auto round = [&](auto make) {
      auto other = spawn(on_loop(1), [&, make] {
        sleep_for(2ms);
        make();
      });
      int got = 0;
      const auto i =
          select(on_recv(in, [&](int v) { got = v; }), on_send(out, 7, nothing),
                 on_ready(later, [&](const future<int>& f) { got = f.get(); }), after(1s, [] { ADD_FAILURE(); }));
      other.get();
      return std::pair(i, got);
    };
    EXPECT_EQ(round([&] { in.send(3); }), std::pair(std::size_t{0}, 3));
    EXPECT_EQ(round([&] { EXPECT_EQ(out.recv(), 7); }), std::pair(std::size_t{1}, 0));
    EXPECT_EQ(round([&] { p.set_value(9); }), std::pair(std::size_t{2}, 9));
    EXPECT_FALSE(in.try_recv());
    EXPECT_FALSE(out.try_recv());
  });
}

TEST(Select, TakesTheTimerWhenTheTimeIsUp) {
  simulate([] {
    channel<int> ch(1);
    int fired = 0;
    EXPECT_EQ(time_of([&] {
                EXPECT_EQ(select(after(9ms, [] { FAIL(); }), on_recv(ch, [](int) {}), after(3ms, [&] { ++fired; })),
                          2U);
              }),
              3ms);
    EXPECT_EQ(fired, 1);
    ch.send(1);  // nobody is left waiting for it
    EXPECT_EQ(ch.size(), 1U);
  });
}

TEST(Select, OtherwiseNeverWaits) {
  simulate([] {
    channel<int> ch(1);
    EXPECT_EQ(select(on_recv(ch, [](int) { FAIL(); }), otherwise(nothing)), 1U);
    ch.send(4);
    EXPECT_EQ(select(otherwise([] { FAIL(); }), on_recv(ch, [](int v) { EXPECT_EQ(v, 4); })), 1U);
  });
}

TEST(Select, GivesEachReadyArmItsChance) {
  simulate([] {
    channel<int> a(unbounded);
    channel<int> b(unbounded);
    for (int i = 0; i < 100; ++i) {
      a.send(i);
      b.send(i);
    }
    int first = 0;
    for (int i = 0; i < 100; ++i)
      if (select(on_recv(a, [](int) {}), on_recv(b, [](int) {})) == 0) ++first;
    EXPECT_GT(first, 20);
    EXPECT_LT(first, 80);
  });
}

TEST(Select, OnAClosedChannelThrowsOrCallsWhatWasGivenForThat) {
  simulate([] {
    channel<int> ch(1);
    auto closes = spawn([&] {
      sleep_for(1ms);
      ch.close();
    });
    EXPECT_THROW(select(on_recv(ch, [](int) {})), channel_closed);
    bool ended = false;
    EXPECT_EQ(select(on_recv(
                  ch, [](int) { FAIL(); }, [&] { ended = true; })),
              0U);
    EXPECT_TRUE(ended);
    EXPECT_THROW(select(on_send(ch, 1, nothing), after(1s, nothing)), channel_closed);
    closes.get();
  });
}

TEST(Select, NotChosenASendKeepsItsValue) {
  simulate([] {
    channel<std::unique_ptr<int>> full(0);
    channel<int> other(1);
    other.send(1);
    auto mine = std::make_unique<int>(3);
    select(on_send(full, std::move(mine), [] { FAIL(); }), on_recv(other, [](int) {}));
    ASSERT_TRUE(mine);
    EXPECT_EQ(*mine, 3);
    auto waits = spawn([&] { select(on_send(full, std::move(mine), [] { FAIL(); }), on_recv(other, [](int) {})); });
    sleep_for(1ms);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_TRUE(mine);
  });
}

TEST(Select, TwoSelectsMeet) {
  simulate([] {
    channel<int> a(0);
    channel<int> b(0);
    int sum = 0;
    auto senders = spawn(on_loop(1), [&] {
      for (int i = 0; i < 10; ++i) select(on_send(a, i, nothing), on_send(b, i, nothing));
    });
    for (int i = 0; i < 10; ++i) select(on_recv(b, [&](int v) { sum += v; }), on_recv(a, [&](int v) { sum += v; }));
    senders.get();
    EXPECT_EQ(sum, 45);
  });
}

TEST(Select, DoesNotMeetItself) {
  simulate([] {
    channel<int> ch(0);
    int got = 0;
    auto other = spawn([&] {
      sleep_for(1ms);
      ch.send(7);
      EXPECT_EQ(ch.recv(), 8);
    });
    EXPECT_EQ(select(on_send(ch, 1, [] { FAIL(); }), on_recv(ch, [&](int v) { got = v; })), 1U);
    EXPECT_EQ(got, 7);
    EXPECT_EQ(select(on_recv(ch, [](int) { FAIL(); }), on_send(ch, 8, nothing)), 1U);
    other.get();
  });
}

TEST(Select, WithoutAnArmIsAnError) {
  simulate([] { EXPECT_THROW(select(), bad_wait); });
}

class SelectOnLoops : public OnLoops {};
WEFT_ON_LOOPS(SelectOnLoops);

TEST_P(SelectOnLoops, LosesNoMessageAmongAllKindsOfAgents) {
  run([] {
    channel<int> a(0);
    channel<int> b(1);
    channel<int> c(4);
    constexpr int each = 150;
    std::atomic<long> sum{0};
    std::atomic<int> left{4 * each};
    event done;
    const auto send = [&](int from) {
      for (int i = 0; i < each; ++i) {
        const int v = from * each + i;
        select(on_send(a, v, nothing), on_send(b, v, nothing), on_send(c, v, nothing));
      }
    };
    const auto receive = [&] {
      for (;;) {
        bool stop = false;
        const auto take = [&](int v) {
          sum += v;
          --left;
        };
        const auto closed = [&] { stop = true; };
        select(on_recv(c, take, closed), on_recv(a, take, closed), on_recv(b, take, closed), after(100us, nothing));
        if (stop) return;
        if (left == 0) done.set();
      }
    };
    std::vector<future<void>> all;
    all.push_back(spawn(anywhere, [&] { send(0); }));
    all.push_back(spawn([&] { send(1); }));
    all.push_back(spawn_cpu([&] { send(2); }));
    std::thread foreign([&] { send(3); });
    all.push_back(spawn(anywhere, receive));
    all.push_back(spawn_cpu(receive));
    all.push_back(spawn_blocking(receive));
    done.wait();
    foreign.join();
    a.close();
    b.close();
    c.close();
    gather(std::move(all)).get();
    constexpr long n = 4L * each;
    EXPECT_EQ(sum, n * (n - 1) / 2);
  });
}

TEST(Select, IsFairFromTheFirstChoiceOfAThread) {
  std::array<int, 2> chosen{};
  for (int i = 0; i < 64; ++i)
    std::thread([&] {
      channel<int> a(1);
      channel<int> b(1);
      a.send(1);
      b.send(1);
      ++chosen.at(select(on_recv(a, [](int) {}), on_recv(b, [](int) {})));
    }).join();
  EXPECT_GT(chosen[0], 10);
  EXPECT_GT(chosen[1], 10);
}

// Each of two may see the other, end its own wait for it, and come too late: then both begin again. They begin with any
// of their arms, so that does not go on for ever.
TEST_P(SelectOnLoops, TwoThatMeetOnTwoChannelsAgree) {
  run([] {
    constexpr int rounds = 2000;
    channel<int> there(0);
    channel<int> back(0);
    int sent = 0;
    int received = 0;
    auto one = spawn(on_loop(0), [&] {
      for (int i = 0; i < rounds; ++i) select(on_send(there, i, [&] { ++sent; }), on_recv(back, [](int) {}));
    });
    auto other = spawn(on_loop(loop_count() - 1), [&] {
      for (int i = 0; i < rounds; ++i) select(on_send(back, i, [] {}), on_recv(there, [&](int) { ++received; }));
    });
    gather(std::move(one), std::move(other)).get();
    EXPECT_EQ(sent, received);
  });
}

// One of the channels is its loop's own, where others decide waits without an atomic operation; not those of a select,
// which somebody of another loop may decide at the same moment.
TEST_P(SelectOnLoops, ASenderIsTakenFromOnceByLoopsThatComeTogether) {
  run([] {
    constexpr int rounds = 20'000;
    channel<int> own(0);
    channel<int> common(0);
    std::vector<std::atomic<int>> received(rounds);
    const auto receive = [&](channel<int>& from) {
      for (const int v : from) received[static_cast<std::size_t>(v)].fetch_add(1);
    };
    auto near = spawn(on_loop(0), [&] { receive(own); });
    auto far = spawn(on_loop(loop_count() - 1), [&] { receive(common); });
    spawn(on_loop(0), [&] {
      for (int i = 0; i < rounds; ++i) select(on_send(own, i, nothing), on_send(common, i, nothing));
      own.close();
      common.close();
    }).get();
    gather(std::move(near), std::move(far)).get();
    EXPECT_TRUE(std::ranges::all_of(received, [](const auto& times) { return times == 1; }));
  });
}

}  // namespace
}  // namespace weft::testing::select_test
