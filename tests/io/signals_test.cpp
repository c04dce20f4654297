#include "weft/io/signals.hpp"

#include <gtest/gtest.h>

#include <csignal>

#include "io_test.hpp"

namespace weft::io::signals_test {
namespace {

using namespace std::chrono_literals;

class Signals : public testing::WithSockets {};
WEFT_ON_LOOPS(Signals);

TEST_P(Signals, ComeAsValues) {
  run([] {
    signals s{SIGUSR1, SIGUSR2};
    auto waiting = spawn([&] { return s.wait(); });
    yield();
    std::raise(SIGUSR2);
    EXPECT_EQ(waiting.get(), SIGUSR2);
    std::raise(SIGUSR1);
    EXPECT_EQ(s.wait(), SIGUSR1);
  });
}

TEST_P(Signals, AreKeptUntilSomebodyWaits) {
  run([] {
    signals s{SIGUSR1};
    EXPECT_FALSE(move_on_after(1ms, [&] { return s.wait(); }));
    std::raise(SIGUSR1);
    sleep_for(1ms);
    EXPECT_EQ(s.wait(), SIGUSR1);
    EXPECT_FALSE(move_on_after(1ms, [&] { return s.wait(); }));
  });
}

TEST_P(Signals, ReachEveryoneWhoAskedForThem) {
  run([] {
    const unsigned other = loop_count() - 1;
    std::atomic<bool> armed = false;
    auto there = spawn(on_loop(other), [&] {
      signals s{SIGUSR1};
      armed = true;
      return s.wait();
    });
    signals here{SIGUSR1};
    testing::run_others_until([&] { return armed.load(); });
    std::raise(SIGUSR1);
    EXPECT_EQ(here.wait(), SIGUSR1);
    EXPECT_EQ(there.get(), SIGUSR1);
  });
}

TEST_P(Signals, ComeFromOtherThreads) {
  run([] {
    signals s{SIGUSR1};
    auto sender = spawn_blocking([] { ::kill(::getpid(), SIGUSR1); });
    EXPECT_EQ(s.wait(), SIGUSR1);
    sender.get();
  });
}

TEST_P(Signals, BelongToTheirLoop) {
  run([] {
    signals s{SIGUSR1};
    if (loop_count() > 1)
      spawn(on_loop((this_loop() + 1) % loop_count()), [&] { EXPECT_THROW(s.wait(), wrong_loop); }).get();
    auto waiting = spawn([&] { return s.wait(); });
    yield();
    EXPECT_THROW(s.wait(), stream_busy);
    waiting.cancel();
    waiting.wait();
  });
}

TEST_P(Signals, OneThatCannotBeCaughtIsAnError) {
  run([] { EXPECT_THROW(signals{SIGKILL}, std::system_error); });
}

TEST_P(Signals, MayBeDestroyedAnywhere) {
  run([] {
    auto s = std::make_unique<signals>(std::initializer_list<int>{SIGUSR1});
    EXPECT_FALSE(move_on_after(1ms, [&] { return s->wait(); }));
    spawn_blocking([&] { s.reset(); }).get();
  });
}

}  // namespace
}  // namespace weft::io::signals_test
