// What the Go specification promises of channels and select.
//
// Where weft differs on purpose:
// * Receiving from a closed and drained channel is channel_closed, not a zero value; on_recv(ch, f, k) calls k instead.
// * Closing twice is allowed; Go panics.
// * A select without an arm is an error: it could never end. There are no nil channels: leave the arm out.
// * The receivers of a send are chosen oldest first, and a value that is not sent is still the sender's.

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "weft/select.hpp"
#include "weft_test.hpp"

namespace weft::testing::select_test {
namespace {

const auto nothing = [] {};

TEST(GoChannel, WithoutABufferSucceedsOnlyWhenBothAreReady) {
  simulate([] {
    channel<int> c(0);
    auto sender = spawn([&] { c.send(1); });
    sleep_for(1ms);
    EXPECT_FALSE(sender.ready());
    EXPECT_EQ(c.recv(), 1);
    sender.get();
  });
}

TEST(GoChannel, WithABufferBlocksOnlyWhenFullOrEmpty) {
  simulate([] {
    channel<int> c(2);
    EXPECT_EQ(time_of([&] {
                c.send(1);
                c.send(2);
              }),
              0ms);
    EXPECT_FALSE(c.try_send(3));
    EXPECT_EQ(c.recv(), 1);
    EXPECT_EQ(c.recv(), 2);
    EXPECT_FALSE(c.try_recv());
  });
}

TEST(GoChannel, IsFirstInFirstOutForEachPairOfSenderAndReceiver) {
  simulate([] {
    channel<int> c(3);
    auto sender = spawn(on_loop(1), [&] {
      for (int i = 0; i < 20; ++i) c.send(i);
      c.close();
    });
    int next = 0;
    for (const int v : c) EXPECT_EQ(v, next++);
    EXPECT_EQ(next, 20);
    sender.get();
  });
}

TEST(GoChannel, SendingOnAClosedOneIsAnErrorAndReceivingNeverBlocks) {
  simulate([] {
    channel<int> c(1);
    c.close();
    EXPECT_THROW(c.send(1), channel_closed);
    EXPECT_EQ(time_of([&] { EXPECT_THROW((void)c.recv(), channel_closed); }), 0ms);
  });
}

TEST(GoSelect, ChoosesAmongSeveralThatCanProceedUniformly) {
  std::array<int, 3> count{};
  simulate([&] {
    channel<int> a(1);
    channel<int> b(1);
    channel<int> c(1);
    a.send(0);
    b.send(0);
    ++count.at(select(on_recv(a, [](int) {}), on_recv(b, [](int) {}), on_send(c, 1, nothing)));
  });
  const int all = count[0] + count[1] + count[2];
  for (const int n : count) EXPECT_GE(n, (all - 40) / 6) << "of " << all;  // with few seeds it tells nothing
}

TEST(GoSelect, WithADefaultNeverBlocks) {
  simulate([] {
    channel<int> a(0);
    EXPECT_EQ(
        time_of([&] { EXPECT_EQ(select(on_recv(a, [](int) {}), on_send(a, 1, nothing), otherwise(nothing)), 2U); }),
        0ms);
  });
}

TEST(GoSelect, WithoutADefaultBlocksUntilOneCanProceed) {
  simulate([] {
    channel<int> a(0);
    channel<int> b(0);
    auto other = spawn([&] {
      sleep_for(2ms);
      EXPECT_EQ(b.recv(), 5);
    });
    EXPECT_EQ(time_of([&] { EXPECT_EQ(select(on_recv(a, [](int) {}), on_send(b, 5, nothing)), 1U); }), 2ms);
    other.get();
  });
}

TEST(GoSelect, ExecutesExactlyOneOfItsCommunications) {
  simulate([] {
    channel<int> a(1);
    channel<int> b(1);
    a.send(1);
    b.send(2);
    int done = 0;
    select(on_recv(a, [&](int) { ++done; }), on_recv(b, [&](int) { ++done; }));
    EXPECT_EQ(done, 1);
    EXPECT_EQ(a.size() + b.size(), 1U);
  });
}

TEST(GoSelect, AReceiveFromAClosedChannelCanAlwaysProceed) {
  simulate([] {
    channel<int> closed(1);
    closed.close();
    channel<int> never(0);
    int ended = 0;
    for (int i = 0; i < 3; ++i)
      select(on_recv(never, [](int) {}), on_recv(
                                             closed, [](int) { FAIL(); }, [&] { ++ended; }));
    EXPECT_EQ(ended, 3);
  });
}

TEST(GoSelect, ASendOnAClosedChannelIsAnError) {
  simulate([] {
    channel<int> closed(1);
    closed.close();
    channel<int> never(0);
    EXPECT_THROW(select(on_recv(never, [](int) {}), on_send(closed, 1, nothing)), channel_closed);
  });
}

TEST(GoSelect, TheStatementsOfTheCaseRunAfterTheCommunication) {
  simulate([] {
    channel<std::unique_ptr<int>> c(0);
    auto sender = spawn([&] { c.send(std::make_unique<int>(4)); });
    int got = 0;
    select(on_recv(c, [&](std::unique_ptr<int> v) {
      sender.get();  // it is through already
      got = *v;
    }));
    EXPECT_EQ(got, 4);
  });
}

}  // namespace
}  // namespace weft::testing::select_test
