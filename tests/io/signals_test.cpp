#include "weft/io/signals.hpp"

#include <gtest/gtest.h>

#include <asio/signal_set.hpp>
#include <csignal>
#include <memory>

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

// --- what a signal does before and after ---

using disposition = void (*)(int);

disposition now_does(int number) {
  struct ::sigaction is {};
  EXPECT_EQ(::sigaction(number, nullptr, &is), 0);
  return is.sa_handler;
}

void do_nothing(int) {}

TEST_P(Signals, GetTheirOldDispositionBackAtOnce) {
  for (const disposition before : {disposition(SIG_IGN), disposition(&do_nothing), disposition(SIG_DFL)}) {
    std::signal(SIGUSR1, before);
    run([&] {
      auto one = std::make_unique<signals>(std::initializer_list<int>{SIGUSR1, SIGUSR1});
      {
        signals other{SIGUSR1};
        EXPECT_FALSE(move_on_after(1ms, [&] { return other.wait(); }));
      }
      EXPECT_FALSE(move_on_after(1ms, [&] { return one->wait(); }));
      std::raise(SIGUSR1);
      EXPECT_EQ(one->wait(), SIGUSR1);
      EXPECT_FALSE(move_on_after(1ms, [&] { return one->wait(); }));
      EXPECT_NE(now_does(SIGUSR1), before);
      one.reset();
      EXPECT_EQ(now_does(SIGUSR1), before);
      signals refused_in_part{SIGUSR1};
      EXPECT_THROW((signals{SIGUSR1, SIGKILL}), std::system_error);
      EXPECT_NE(now_does(SIGUSR1), before);
    });
    EXPECT_EQ(now_does(SIGUSR1), before);
  }
  std::signal(SIGUSR1, SIG_DFL);
}

TEST_P(Signals, GetTheirOldDispositionBackWithTheRuntime) {
  for (const bool waited : {false, true}) {
    std::signal(SIGUSR1, &do_nothing);
    std::unique_ptr<signals> left;
    run([&] {
      left = std::make_unique<signals>(std::initializer_list<int>{SIGUSR1});
      if (waited) {
        EXPECT_FALSE(move_on_after(1ms, [&] { return left->wait(); }));
      }
    });
    EXPECT_EQ(now_does(SIGUSR1), &do_nothing);
    left.reset();
    EXPECT_EQ(now_does(SIGUSR1), &do_nothing);
  }
  std::signal(SIGUSR1, SIG_DFL);
}

TEST_P(Signals, LeaveAsiosOwnSetAlone) {
  run([] {
    auto theirs = std::make_unique<asio::signal_set>(this_io_context(), SIGUSR1);
    auto ours = std::make_unique<signals>(std::initializer_list<int>{SIGUSR1});
    ours.reset();
    EXPECT_NE(now_does(SIGUSR1), SIG_DFL);
    ours = std::make_unique<signals>(std::initializer_list<int>{SIGUSR1});
    theirs.reset();
    std::raise(SIGUSR1);
    EXPECT_EQ(ours->wait(), SIGUSR1);
    ours.reset();
    EXPECT_EQ(now_does(SIGUSR1), SIG_DFL);
  });
}

}  // namespace
}  // namespace weft::io::signals_test
