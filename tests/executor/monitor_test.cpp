#include "weft/monitor.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing {
namespace {

/// A semaphore without permits, whose monitor a test can occupy.
class turnstile : detail::monitor {
 public:
  ~turnstile() { EXPECT_EQ(word_.load(), 0U); }

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

}  // namespace
}  // namespace weft::testing
