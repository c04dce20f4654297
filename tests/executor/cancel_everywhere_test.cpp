#include "weft/testing/cancel_everywhere.hpp"

#include <deque>
#include <memory>
#include <stdexcept>
#include <string>

#include "weft_test.hpp"

namespace weft::testing::cancel_everywhere_test {
namespace {

// --- the tool finds what is planted ---

enum class defect {
  none,
  takes_before_it_checks,     // the lock is taken, then the checkpoint throws
  throws_after_it_was_given,  // a check for cancellation after the wait that has won the lock
  hands_it_to_the_dead,       // the holder takes no notice that the waiter was cancelled already
  leaks_its_node,
  leaves_a_helper,
  ignores_the_cancellation,  // goes on without the lock
  sleeps_on_in_a_shield
};

// A lock for a simulation, with a defect.
class planted_lock {
 public:
  explicit planted_lock(defect what) : what_(what) {}

  void lock() {
    if (what_ == defect::takes_before_it_checks && try_lock()) {
      checkpoint();
      return;
    }
    checkpoint();
    if (try_lock()) return;
    if (what_ == defect::leaves_a_helper) (void)spawn(detached, [] { sleep_for(24h); });
    waiter w(wait_kind::lock, this);
    const auto me = std::make_shared<waker>(w.handle());
    queue_.push_back(me);
    const wake_reason how = w.suspend();
    if (what_ == defect::leaks_its_node && how == wake_reason::cancelled) graveyard.push_back(me);
    if (how == wake_reason::woken) {
      if (what_ == defect::throws_after_it_was_given) check_cancelled();
      return;
    }
    if (what_ == defect::ignores_the_cancellation) return;
    if (what_ == defect::sleeps_on_in_a_shield) shield([] { sleep_for(10h); });
    if (what_ != defect::hands_it_to_the_dead) std::erase(queue_, me);
    check_cancelled();
  }
  /// Nobody has unlocked it who did not hold it.
  [[nodiscard]] bool sound() const { return sound_; }
  bool try_lock() { return !std::exchange(held_, true); }
  void unlock() {
    sound_ &= held_;
    while (!queue_.empty()) {
      const auto next = queue_.front();
      queue_.pop_front();
      if (next->wake() || what_ == defect::hands_it_to_the_dead) return;
    }
    held_ = false;
  }

  static inline std::vector<std::shared_ptr<waker>> graveyard;

 private:
  const defect what_;
  bool held_ = false;
  std::deque<std::shared_ptr<waker>> queue_;
  bool sound_ = true;
};

std::size_t try_lock_with(defect what) {
  return expect_cancel_safe([what](cancel_probe& probe) {
    const auto lock = std::make_shared<planted_lock>(what);  // the holder may outlive a test that fails
    auto holder = spawn([lock] {
      const std::lock_guard guard(*lock);
      sleep_for(1ms);
    });
    sleep_for(sim::draw(2) * 1us);
    probe.cancelled_task([&] {
      const std::lock_guard guard(*lock);
      sleep_for(1ms);
    });
    holder.get();
    probe.check([&] { return lock->sound() && lock->try_lock(); });
  });
}

std::string failure_of(const std::function<void()>& f) {
  ::testing::internal::CaptureStderr();
  std::string text = "no failure";
  try {
    f();
  } catch (const std::runtime_error& e) {
    text = e.what();
  }
  const std::string printed = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text != "no failure", printed.find("weft: cancel_everywhere") != std::string::npos) << printed;
  return text;
}

#define EXPECT_FOUND(text, part)                                     \
  do {                                                               \
    const std::string found = text;                                  \
    EXPECT_NE(found.find(part), std::string::npos) << found << "\n"; \
  } while (false)

TEST(CancelEverywhere, FindsNothingWrongWithALockThatIsRight) {
  EXPECT_GT(try_lock_with(defect::none), 5U * 4U) << "in some seeds it waits for the lock";
}

TEST(CancelEverywhere, FindsALockThatIsTakenBeforeTheCheck) {
  const std::string text = failure_of([] { try_lock_with(defect::takes_before_it_checks); });
  EXPECT_FOUND(text, "(at a checkpoint)");
  EXPECT_FOUND(text, "seed ");
  EXPECT_FOUND(text, "cancel_everywhere_test.cpp:");
}

TEST(CancelEverywhere, FindsALockThatIsLostAfterItWasGiven) {
  const std::string text = failure_of([] { try_lock_with(defect::throws_after_it_was_given); });
  EXPECT_FOUND(text, "the check at");
  EXPECT_FOUND(text, "gave false");
}

TEST(CancelEverywhere, FindsALockThatIsHandedToTheDead) {
  EXPECT_FOUND(failure_of([] { try_lock_with(defect::hands_it_to_the_dead); }), "wait for lock");
}

TEST(CancelEverywhere, FindsALeak) {
  if (!counts_allocations) GTEST_SKIP() << "a sanitizer looks for leaks itself";
  EXPECT_FOUND(failure_of([] { try_lock_with(defect::leaks_its_node); }), "allocations are left");
  planted_lock::graveyard.clear();
  planted_lock::graveyard.shrink_to_fit();
}

TEST(CancelEverywhere, FindsATaskThatIsLeft) {
  const std::string text = failure_of([] { try_lock_with(defect::leaves_a_helper); });
  EXPECT_FOUND(text, "without a cancellation");
  EXPECT_FOUND(text, "after the test 1 tasks and 1 stacks are left");
  EXPECT_FOUND(text, "waits for timer");
}

TEST(CancelEverywhere, FindsAWaitThatIgnoresItsCancellation) {
  EXPECT_FOUND(failure_of([] { try_lock_with(defect::ignores_the_cancellation); }), "cancelled at place");
}

TEST(CancelEverywhere, WaitsForACancelledTaskHoweverLongItUnwinds) {
  EXPECT_EQ(failure_of([] { try_lock_with(defect::sleeps_on_in_a_shield); }), "no failure");
}

TEST(CancelEverywhere, FindsAMessageThatIsLost) {
  for (const bool takes_first : {false, true}) {
    const auto text = failure_of([takes_first] {
      expect_cancel_safe([takes_first](cancel_probe& probe) {
        std::deque<int> messages{7};
        int got = 0;
        probe.cancelled_task([&] {
          if (!takes_first) checkpoint();
          const int message = messages.front();
          messages.pop_front();
          if (takes_first) checkpoint();
          got = message;
        });
        probe.check([&] {
          if (got != 7 && messages.empty()) throw std::runtime_error("the message is gone");
        });
      });
    });
    EXPECT_FOUND(text, takes_first ? "place 1 of 1 (at a checkpoint): the message is gone" : "no failure");
  }
}

TEST(CancelEverywhere, FindsAnErrorThatCancellationBecomes) {
  EXPECT_FOUND(failure_of([] {
                 expect_cancel_safe([](cancel_probe& probe) {
                   probe.cancelled_task([] {
                     try {
                       sleep_for(1s);
                     } catch (const cancelled&) {
                       throw std::runtime_error("could not sleep");
                     }
                   });
                 });
               }),
               "(at the checkpoint before the wait for timer): could not sleep");
}

TEST(CancelEverywhere, FindsATestThatHangsOnceItsTaskIsCancelled) {
  const auto text = failure_of([] {
    expect_cancel_safe([](cancel_probe& probe) {
      promise<int> p;
      probe.cancelled_task([&] {
        sleep_for(1s);
        p.set_value(1);
      });
      p.get_future().get();
    });
  });
  EXPECT_FOUND(text, "everything waits");
  EXPECT_FOUND(text, "place 1 of 3");
  EXPECT_FOUND(text, "\"main\"");
}

TEST(CancelEverywhereDeathTest, NamesThePlaceWhereASimulationCannotEnd) {
  EXPECT_DEATH(expect_cancel_safe([](cancel_probe& probe) {
                 auto p = std::make_shared<promise<int>>();
                 auto stuck = spawn([p] { shield([&] { p->get_future().get(); }); });
                 probe.cancelled_task([&] {
                   sleep_for(1s);
                   p->set_value(1);
                 });
               }),
               "place 1 of 3");
}

TEST(CancelEverywhere, RefusesATestWithoutAWait) {
  EXPECT_FOUND(failure_of([] { expect_cancel_safe([](cancel_probe& probe) { probe.cancelled_task([] {}); }); }),
               "there is no place");
  EXPECT_FOUND(failure_of([] { expect_cancel_safe([](cancel_probe&) { sleep_for(1s); }); }), "there is no place");
  EXPECT_FOUND(
      failure_of([] {
        expect_cancel_safe([](cancel_probe& probe) { probe.cancelled_task([] { shield([] { sleep_for(1s); }); }); });
      }),
      "there is no place");
}

TEST(CancelEverywhere, RefusesATestThatMissesAPlace) {
  int calls = 0;
  EXPECT_FOUND(failure_of([&] {
                 expect_cancel_safe([&](cancel_probe& probe) {
                   ++calls;
                   probe.cancelled_task([&] {
                     for (int i = 0; i < (calls < 3 ? 3 : 1); ++i) yield();
                   });
                 });
               }),
               "does not do the same each time");
  calls = 0;
  EXPECT_FOUND(failure_of([&] {
                 expect_cancel_safe([&](cancel_probe& probe) {
                   probe.cancelled_task([&] {
                     if (++calls != 2) sleep_for(1s);
                     sleep_for(1s);
                   });
                 });
               }),
               "the first one to 6");
}

TEST(CancelEverywhere, RefusesASecondTaskAndNoSeeds) {
  EXPECT_FOUND(failure_of([] {
                 expect_cancel_safe([](cancel_probe& probe) {
                   probe.cancelled_task([] { yield(); });
                   probe.cancelled_task([] { yield(); });
                 });
               }),
               "cancelled_task() twice");
  EXPECT_THROW(cancel_everywhere([](cancel_probe&) {}, {.seeds = 0}), std::invalid_argument);
}

TEST(CancelEverywhere, CountsNoPlaceWhereTheTaskIsShieldedOrUnwinds) {
  struct cleanup {
    ~cleanup() { sleep_for(1s); }
  };
  const auto places = [](const std::function<void()>& f) {
    return expect_cancel_safe([&](cancel_probe& probe) { probe.cancelled_task(f); }) / cancel_options().seeds;
  };
  EXPECT_EQ(places([] { sleep_for(1s); }), 3U) << "a checkpoint, and the wait before it parks and when it has";
  EXPECT_EQ(places([] { yield(); }), 2U) << "before and after";
  EXPECT_EQ(places([] {
              shield([] { sleep_for(1s); });
              check_cancelled();
            }),
            1U);
  EXPECT_EQ(places([] {
              try {
                const cleanup c;
                throw 1;
              } catch (int) {
              }
              yield();
            }),
            2U);
}

TEST(CancelEverywhere, GoesOnCountingAfterATimeoutOfTheTest) {
  const auto seen = expect_cancel_safe([](cancel_probe& probe) {
    probe.cancelled_task([] {
      EXPECT_FALSE(move_on_after(1s, [] { sleep_for(2s); }));
      sleep_for(1s);
    });
  });
  EXPECT_EQ(seen, cancel_options().seeds * 6);
}

TEST(CancelEverywhere, ReallyCancelsAtEachPlace) {
  std::size_t runs = 0;
  std::size_t ended = 0;
  const auto places = cancel_everywhere(
      [&](cancel_probe& probe) {
        ++runs;
        probe.cancelled_task([&] {
          for (int i = 0; i < 3; ++i) sleep_for(1s);
          ++ended;
        });
      },
      {.seeds = 1});
  EXPECT_EQ(places, 9U);
  EXPECT_EQ(runs, 11U) << "one to count, one uncancelled, one for each place";
  EXPECT_EQ(ended, 2U);
}

TEST(CancelEverywhere, WorksOnTasksOffTheLoopsThatTheTestWaitsFor) {
  EXPECT_GT(expect_cancel_safe([](cancel_probe& probe) {
              bool unwound = false;
              probe.cancelled_task([&] {
                spawn_cpu([&] {
                  struct note {
                    bool& set;
                    ~note() { set = true; }
                  } const n{unwound};
                  sleep_for(1s);
                }).get();
              });
              (void)unwound;
            }),
            0U);
}

// --- what the executor has ---

TEST(CancelEverywhere, GetLosesNoResult) {
  expect_cancel_safe([](cancel_probe& probe) {
    auto work = spawn([] {
      sleep_for(1ms);
      return std::make_unique<int>(7);
    });
    std::unique_ptr<int> got;
    probe.cancelled_task([&] {
      work.wait();
      (void)work.wait_for(1s);
      EXPECT_EQ(*work.get(), 7);
      got = std::move(work).get();
    });
    probe.check([&] { return (got ? *got : *work.get()) == 7; });
  });
}

TEST(CancelEverywhere, AnOwnedGetLeavesNoTask) {
  expect_cancel_safe([](cancel_probe& probe) {
    int running = 0;
    const auto work = [&running](auto self, int depth) -> int {
      struct count {
        int& n;
        explicit count(int& m) : n(m) { ++n; }
        ~count() { --n; }
      } const here(running);
      sleep_for(1ms);
      return depth == 0 ? 1 : spawn([&, depth] { return self(self, depth - 1); }).get();
    };
    probe.cancelled_task([&] {
      EXPECT_EQ(spawn([&] { return work(work, 2); }).get(), 1);
      EXPECT_EQ(spawn_cpu([&] { return work(work, 1); }).get(), 1);
    });
    EXPECT_EQ(running, 0) << "they had ended when the wait did";
  });
}

TEST(CancelEverywhere, GatherCancelsWhatItOwnsAndLeavesTheRest) {
  expect_cancel_safe([](cancel_probe& probe) {
    auto shared = spawn([] {
      sleep_for(3ms);
      return 1;
    });
    int running = 0;
    probe.cancelled_task([&] {
      const auto owned = [&running] {
        ++running;
        struct down {
          int& n;
          ~down() { --n; }
        } const d{running};
        sleep_for(2ms);
        return 2;
      };
      const auto [a, b, c] = gather(shared, spawn(owned), lazy(owned)).get();
      EXPECT_EQ(a + b + c, 5);
      std::vector<future<int>> many;
      for (int i = 0; i < 3; ++i) many.push_back(spawn_cpu(owned));
      EXPECT_EQ(gather_results(std::move(many)).get().size(), 3U);
    });
    EXPECT_EQ(running, 0);
    probe.check([&] { return shared.get() == 1; });
  });
}

TEST(CancelEverywhere, TimeoutsEndTheirWork) {
  expect_cancel_safe([](cancel_probe& probe) {
    int inside = 0;
    probe.cancelled_task([&] {
      const auto work = [&inside] {
        ++inside;
        struct down {
          int& n;
          ~down() { --n; }
        } const d{inside};
        sleep_for(2s);
      };
      EXPECT_FALSE(move_on_after(1s, work));
      EXPECT_FALSE(move_on_after(1s, spawn(work)));
      try {  // EXPECT_THROW would swallow the cancellation
        timeout(3s, [&] { timeout(1s, work); });
        ADD_FAILURE() << "it was in time";
      } catch (const timed_out&) {
      }
      yield();
    });
    EXPECT_EQ(inside, 0);
  });
}

TEST(CancelEverywhere, APromiseWhoseFutureWasCancelledIsStillGood) {
  expect_cancel_safe([](cancel_probe& probe) {
    promise<int> p;
    auto f = p.get_future();
    auto producer = spawn([&] {
      sleep_for(1ms);
      p.set_value(3);
    });
    probe.cancelled_task([&] { EXPECT_EQ(f.get(), 3); });
    probe.check([&] { return f.get() == 3; });
  });
}

}  // namespace
}  // namespace weft::testing::cancel_everywhere_test
