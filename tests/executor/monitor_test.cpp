#include "weft/monitor.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::monitor_test {
namespace {

/// A semaphore without permits, whose monitor a test can occupy.
class turnstile : detail::monitor {
 public:
  ~turnstile() { EXPECT_TRUE(word_.load() == 0 || is_own(word_.load())); }

  [[nodiscard]] bool occupy() { return try_enter(); }
  void vacate() { leave(); }
  void let_one_in() {
    perform_soon([this] {
      if (detail::wait_entry* e = waiters_.claim_front())
        grant(*e);
      else
        ++permits_;
    });
  }
  wake_reason pass(deadline until = {}) {
    detail::wait_entry e;
    e.carry_out = [](detail::request& r) noexcept {
      auto& self = static_cast<detail::wait_entry&>(r);
      auto& what = *static_cast<turnstile*>(self.where);
      ++what.came_;
      if (what.permits_ == 0) {
        what.waiters_.push_back(self);
      } else if (self.claim()) {
        --what.permits_;
        what.grant(self);
      }
    };
    return wait(detail::waiting_agent(), e, wait_kind::lock, until);
  }
  int came() {
    return ask([this] { return came_; });
  }
  [[nodiscard]] int came_unasked() const { return came_; }

 private:
  int permits_ = 0;
  int came_ = 0;
  detail::wait_list waiters_;
};

TEST(Monitor, WhoFindsItOccupiedLeavesARequestForWhoIsInside) {
  simulate([] {
    turnstile t;
    ASSERT_TRUE(t.occupy());
    auto waits = spawn(on_loop(1), [&] { return t.pass(); });
    sleep_for(1ms);
    EXPECT_EQ(t.came_unasked(), 0);  // nobody has waited to get in, and nobody has got in
    t.let_one_in();                  // left as well, behind the other
    sleep_for(1ms);
    EXPECT_FALSE(waits.ready());
    t.vacate();
    EXPECT_EQ(waits.get(), wake_reason::woken);
  });
}

TEST(Monitor, AskingWaitsUntilTheRequestIsCarriedOutAndOthersRun) {
  simulate([] {
    turnstile t;
    ASSERT_TRUE(t.occupy());
    auto asks = spawn([&] { return t.came(); });
    auto others = spawn([] { sleep_for(1ms); });
    others.get();
    EXPECT_FALSE(asks.ready());
    asks.cancel();  // it is deaf
    sleep_for(1ms);
    EXPECT_FALSE(asks.ready());
    t.vacate();
    EXPECT_EQ(asks.get(), 0);
  });
}

TEST(Monitor, AWaitThatEndsWhileItIsOccupiedIsTakenBack) {
  simulate([] {
    turnstile t;
    ASSERT_TRUE(t.occupy());
    auto late = spawn([&] { return t.pass(deadline::after(2ms)); });
    auto gone = spawn([&] {
      (void)t.pass();
      check_cancelled();
    });
    sleep_for(1ms);
    gone.cancel();
    sleep_for(5ms);
    EXPECT_FALSE(late.ready());  // its frame must stay until its request was carried out
    EXPECT_FALSE(gone.ready());
    t.vacate();
    EXPECT_EQ(late.get(), wake_reason::timed_out);
    EXPECT_THROW(gone.get(), cancelled);
    EXPECT_EQ(t.came(), 2);
    t.let_one_in();
    EXPECT_EQ(t.pass(), wake_reason::woken);  // nobody else has taken it
  });
}

TEST(Monitor, RequestsAreCarriedOutInTheOrderTheyWereLeft) {
  simulate([] {
    turnstile t;
    std::vector<int> order;
    std::vector<future<void>> all;
    ASSERT_TRUE(t.occupy());
    for (int i = 0; i < 5; ++i)
      all.push_back(spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i));
        (void)t.pass();
        order.push_back(i);
      }));
    sleep_for(10ms);
    t.vacate();
    for (int i = 0; i < 5; ++i) {
      t.let_one_in();
      sleep_for(1ms);
    }
    gather(std::move(all)).get();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

/// A count that only whoever is inside touches.
class tally : detail::monitor {
 public:
  void add() {
    perform_soon([this] { ++count_; });
  }
  int count() {
    return ask([this] { return count_; });
  }
  [[nodiscard]] bool try_add() {
    if (!try_enter()) return false;
    ++count_;
    leave();
    return true;
  }
  [[nodiscard]] bool is_somebodys() const { return is_own(word_.load()); }
  void make_own() {
    for (int i = 0; i < 1000 && !is_somebodys(); ++i) add();
  }

 private:
  int count_ = 0;
};

TEST(Monitor, BecomesTheOwnOfALoopThatComesAgainAndAgain) {
  if (!detail::can_fence_all_threads()) GTEST_SKIP() << "the system has no membarrier(2)";
  simulate([] {
    tally t;
    t.add();
    EXPECT_FALSE(t.is_somebodys());
    t.make_own();
    EXPECT_TRUE(t.is_somebodys());
    const int before = t.count();
    spawn(on_loop(1), [&] {
      EXPECT_TRUE(t.try_add());  // nobody is inside, though it is the other loop's own
      EXPECT_FALSE(t.is_somebodys());
    }).get();
    EXPECT_EQ(t.count(), before + 1);
  });
}

TEST(Monitor, IsTakenAwayAFewTimesAndThenStaysEverybodys) {
  if (!detail::can_fence_all_threads()) GTEST_SKIP() << "the system has no membarrier(2)";
  simulate([] {
    tally t;
    int times = 0;
    for (t.make_own(); t.is_somebodys(); t.make_own()) {
      ++times;
      spawn(on_loop(1), [&] { t.add(); }).get();
    }
    EXPECT_EQ(times, 4);
  });
}

TEST(Monitor, OfALoopThatHasEndedIsTakenOver) {
  tally t;
  sim::run(1, [&] { t.make_own(); });
  const int before = t.count();  // from a thread outside
  t.add();
  EXPECT_EQ(t.count(), before + 1);
  EXPECT_FALSE(t.is_somebodys());
}

TEST(Monitor, OccupiedByItsOwnLoopTakesRequestsOfOthers) {
  simulate([] {
    turnstile t;
    for (int i = 0; i < 40; ++i) (void)t.came();
    ASSERT_TRUE(t.occupy());
    auto waits = spawn(on_loop(1), [&] { return t.pass(); });
    auto here = spawn([&] { return t.pass(); });
    sleep_for(1ms);
    EXPECT_EQ(t.came_unasked(), 0);
    EXPECT_FALSE(t.occupy());
    t.vacate();
    t.let_one_in();
    t.let_one_in();
    EXPECT_EQ(waits.get(), wake_reason::woken);
    EXPECT_EQ(here.get(), wake_reason::woken);
  });
}

TEST(Monitor, OfItsOwnLoopInsideAnotherOfIts) {
  simulate([] {
    tally inner;
    turnstile outer;
    inner.make_own();
    for (int i = 0; i < 40; ++i) (void)outer.came();
    const int before = inner.count();
    ASSERT_TRUE(outer.occupy());
    EXPECT_TRUE(inner.try_add());
    outer.vacate();
    EXPECT_EQ(inner.count(), before + 1);
    EXPECT_EQ(outer.came(), 0);
  });
}

class MonitorOnLoops : public OnLoops {};
WEFT_ON_LOOPS(MonitorOnLoops);

TEST_P(MonitorOnLoops, LosesNoRequestAmongAllKindsOfAgents) {
  run([] {
    turnstile t;
    constexpr int each = 300;
    const auto pass = [&] {
      for (int i = 0; i < each; ++i)
        if (i % 3 != 0)
          (void)t.pass();
        else if (t.pass(deadline::after(10us)) == wake_reason::timed_out)
          (void)t.pass();
    };
    const auto let = [&] {
      for (int i = 0; i < each; ++i) t.let_one_in();
    };
    std::vector<future<void>> all;
    all.push_back(spawn(anywhere, pass));
    all.push_back(spawn_cpu(pass));
    all.push_back(spawn_blocking(pass));
    all.push_back(spawn(anywhere, let));
    all.push_back(spawn_cpu(let));
    std::thread foreign(let);
    gather(std::move(all)).get();
    foreign.join();
  });
}

TEST_P(MonitorOnLoops, LosesNothingWhenItIsTakenFromALoopThatUsesIt) {
  run([] {
    constexpr int monitors = 300;
    constexpr int uses = 60;
    std::vector<tally> all(monitors);
    std::atomic<int> at{0};
    const auto disturb = [&] {
      int n = 0;
      for (int seen = -1; seen < monitors - 1;) {
        const int now = at.load();
        if (now == seen) {
          std::this_thread::yield();
          continue;
        }
        seen = now;
        for (int i = 0; i < 3; ++i, ++n) all[static_cast<std::size_t>(seen)].add();
      }
      return n;
    };
    auto cpu = spawn_cpu(disturb);
    auto blocking = spawn_blocking(disturb);
    for (int m = 0; m < monitors; ++m) {
      auto& t = all[static_cast<std::size_t>(m)];
      for (int i = 0; i < uses; ++i) {
        if (i == uses / 2) at = m;
        t.add();
      }
      if (m % 16 == 0) yield();
    }
    int added = cpu.get() + blocking.get() + monitors * uses;
    for (auto& t : all) added -= t.count();
    EXPECT_EQ(added, 0);
  });
}

}  // namespace
}  // namespace weft::testing::monitor_test
