#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft/cancel_scope.hpp"
#include "weft/context_var.hpp"
#include "weft_test.hpp"

namespace weft::testing::abandonable_test {
namespace {

class AbandonableCalls : public OnLoops {};
WEFT_ON_LOOPS(AbandonableCalls);

/// A door that a thread can hang at, as it would in a system call: nothing of weft can wake it.
struct door {
  std::atomic<bool> closed{true};
  std::atomic<int> inside{0};
  std::atomic<int> through{0};

  void pass() {
    ++inside;
    closed.wait(true);
    ++through;
  }
  void open() {
    closed = false;
    closed.notify_all();
  }
};

TEST(Abandonable, GivesItsResultLikeAnyOther) {
  simulate([] {
    EXPECT_EQ(spawn_blocking(abandonable, [] { return 7; }).get(), 7);
    EXPECT_EQ(*spawn_blocking(abandonable, {.name = "named"}, [] { return std::make_unique<int>(8); }).get(), 8);
    int place = 0;
    EXPECT_EQ(&spawn_blocking(abandonable, [&]() -> int& { return place; }).get(), &place);
    spawn_blocking(abandonable, [] { sleep_for(1s); }).get();
    EXPECT_THROW(spawn_blocking(abandonable, [] { throw std::runtime_error("failed"); }).get(), std::runtime_error);
    EXPECT_EQ(spawn_blocking(abandonable, lazy([] { return 9; })).get(), 9);
  });
}

TEST_P(AbandonableCalls, CancelledItsFutureIsThereAtOnceAndTheThreadGoesOn) {
  const auto hangs = std::make_shared<door>();
  const auto owned = std::make_shared<int>(1);
  run([&] {
    auto f = spawn_blocking(abandonable, [hangs, owned] {
      hangs->pass();
      return std::string("nobody wants it");
    });
    while (hangs->inside == 0) yield();
    EXPECT_FALSE(f.ready());
    f.cancel();
    EXPECT_TRUE(f.ready());
    EXPECT_THROW(f.get(), cancelled);
    EXPECT_EQ(hangs->through, 0);
    EXPECT_EQ(owned.use_count(), 2) << "the thread owns its captures";
    hangs->open();
    while (owned.use_count() > 1) sleep_for(100us);
    EXPECT_EQ(hangs->through, 1);
  });
}

TEST_P(AbandonableCalls, AreLeftByEveryKindOfCancellation) {
  run([&] {
    const auto hangs = std::make_shared<door>();
    const auto wait_there = [hangs] { spawn_blocking(abandonable, [hangs] { hangs->pass(); }).get(); };
    const cancel_scope scope;
    auto scoped = spawn([&] { EXPECT_FALSE(scope.run(wait_there)); });
    auto fiber = spawn(wait_there);
    auto cpu = spawn_cpu(wait_there);
    auto fails = gather(spawn(wait_there), spawn([&] {
                          while (hangs->inside < 5) yield();
                          throw std::runtime_error("sibling");
                        }));
    EXPECT_THROW(timeout(1ms,
                         [&] {
                           shield([&] {
                             auto f = spawn_blocking(abandonable, [hangs] { hangs->pass(); });
                             while (hangs->inside < 5) yield();
                             EXPECT_FALSE(f.wait_for(1ms));
                             f.cancel();
                             EXPECT_TRUE(f.ready());
                           });
                           wait_there();
                         }),
                 timed_out);
    EXPECT_THROW(fails.get(), std::runtime_error);
    scope.cancel();
    fiber.cancel();
    cpu.cancel();
    scoped.get();
    EXPECT_THROW(fiber.get(), cancelled);
    EXPECT_THROW(cpu.get(), cancelled);
    EXPECT_EQ(hangs->through, 0);
    hangs->open();
  });
}

TEST(Abandonable, CancelledBeforeItStartsNeverStarts) {
  weft::run(
      [] {
        const auto hangs = std::make_shared<door>();
        auto first = spawn_blocking(abandonable, [hangs] { hangs->pass(); });
        bool ran = false;
        auto second = spawn_blocking(abandonable, [&ran] { ran = true; });
        while (hangs->inside == 0) yield();
        second.cancel();
        EXPECT_THROW(second.get(), cancelled) << "at once, though the only thread hangs";
        hangs->open();
        first.get();
        spawn_blocking([] {}).get();
        EXPECT_FALSE(ran);
      },
      {.loops = 1, .blocking_threads = 1});
}

TEST(Abandonable, TheRuntimeEndsWithoutOneThatHangs) {
  const auto hangs = std::make_shared<door>();
  const auto seen = std::make_shared<std::atomic<int>>(0);
  const context_var<int> var{0};
  ::testing::internal::CaptureStderr();
  weft::run(
      [&] {
        var.set(5);
        (void)spawn_blocking(abandonable, {.name = "resolver"}, [hangs, seen, &var] {
          const cancel_scope scope({.until = deadline::after(1s)});
          scope.run([&] { hangs->pass(); });
          // The runtime is gone, and another runs: what weft offers is refused or works, and nothing breaks.
          EXPECT_TRUE(cancel_requested());
          EXPECT_TRUE(get_stop_token().stop_requested());
          EXPECT_THROW(check_cancelled(), cancelled);
          EXPECT_THROW(sleep_for(1s), cancelled);
          EXPECT_THROW((void)spawn([] {}), no_runtime);
          EXPECT_THROW((void)spawn_cpu([] {}), no_runtime);
          EXPECT_EQ(var.get(), 5);
          var.set(6);
          shield([] { sleep_for(1us); });
          *seen = 1;
        });
        (void)spawn_blocking(abandonable, [hangs] { hangs->pass(); });
        while (hangs->inside < 2) yield();
      },
      {.loops = 1, .abandon_grace = 1ms});
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("task \"resolver\""), std::string::npos) << said;
  EXPECT_NE(said.find("abandonable_test.cpp"), std::string::npos) << said;
  weft::run(
      [&] {
        EXPECT_EQ(spawn_blocking([] { return 1; }).get(), 1);
        hangs->open();
        while (*seen == 0) sleep_for(100us);
        sleep_for(1ms);
      },
      {.loops = 2});
  while (hangs.use_count() > 1) std::this_thread::yield();
}

TEST(Abandonable, OnesThatAreStillQueuedWhenTheRuntimeEndsAreDropped) {
  const auto hangs = std::make_shared<door>();
  const auto owned = std::make_shared<int>(0);
  ::testing::internal::CaptureStderr();
  weft::run(
      [&] {
        (void)spawn_blocking(abandonable, [hangs] { hangs->pass(); });
        for (int i = 0; i < 5; ++i) (void)spawn_blocking(abandonable, [owned] { ADD_FAILURE(); });
        while (hangs->inside == 0) yield();
      },
      {.loops = 1, .blocking_threads = 1, .abandon_grace = 1ms});
  (void)::testing::internal::GetCapturedStderr();
  EXPECT_EQ(owned.use_count(), 1);
  hangs->open();
  while (hangs.use_count() > 1) std::this_thread::yield();
}

TEST(Abandonable, TheEndOfTheRuntimeWaitsForOneThatIsAlmostDone) {
  const auto owned = std::make_shared<int>(1);
  weft::run(
      [&] {
        std::atomic<bool> inside{false};
        (void)spawn_blocking(abandonable, [owned, &inside] {
          inside = true;
          while (!cancel_requested()) std::this_thread::yield();
        });
        while (!inside) yield();
      },
      {.loops = 1, .abandon_grace = 60s});
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(Abandonable, OutcomesInASimulationAreTheSame) {
  simulate([] {
    const auto owned = std::make_shared<int>(1);
    bool inside = false;
    bool ended = false;
    auto f = spawn_blocking(abandonable, [owned, &inside, &ended] {
      inside = true;
      shield([] { sleep_for(10s); });
      ended = true;
      return 1;
    });
    while (!inside) sleep_for(1us);
    EXPECT_LT(time_of([&] {
                f.cancel();
                EXPECT_THROW(f.get(), cancelled);
              }),
              1s);
    EXPECT_FALSE(ended);
    sleep_for(20s);
    EXPECT_TRUE(ended);
    EXPECT_EQ(owned.use_count(), 1);
    (void)spawn_blocking(abandonable, [owned] { shield([] { sleep_for(10s); }); });
    sleep_for(1s);
  });
}

TEST(Abandonable, StressOfCancelAgainstTheEnd) {
  const auto owned = std::make_shared<int>(1);
  for (int round = 0; round < 5; ++round)
    weft::run(
        [&] {
          int won = 0;
          std::vector<future<std::shared_ptr<int>>> all;
          for (int i = 0; i < 60; ++i)
            all.push_back(spawn_blocking(abandonable, [owned, i] {
              for (int k = 0; k < i * 10; ++k) std::this_thread::yield();
              return owned;
            }));
          std::thread([&] {
            for (auto& f : all) f.cancel();
          }).join();
          for (auto& f : all) try {
              won += *f.get();
            } catch (const cancelled&) {
            }
          EXPECT_LE(won, 60);
          for (int i = 0; i < 10; ++i) (void)spawn_blocking(abandonable, [owned] { std::this_thread::yield(); });
        },
        {.loops = 2, .cpu_workers = 1, .blocking_threads = 8, .stall_after = 0ns, .abandon_grace = 60s});
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace weft::testing::abandonable_test
