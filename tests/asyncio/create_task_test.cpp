// What asyncio promises of create_task() and Task, and what weft makes of it.
//
// Where weft differs on purpose:
//   - A task whose future was dropped is kept alive by the runtime; asyncio asks to save a reference.
//   - A task belongs to the scope that spawned it and is cancelled with it; spawn(detached, f) makes asyncio's kind.
//   - cancel() is level-triggered and cannot be taken back: every wait throws, not only the next. There is no
//   uncancel().
//   - result(), exception() are get(); done() is ready().

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::create_task_test {
namespace {

TEST(AsyncioCreateTask, SchedulesTheWorkToRunConcurrently) {
  simulate([] {
    EXPECT_EQ(time_of([] {
                auto a = spawn([] { sleep_for(1s); });
                auto b = spawn([] { sleep_for(2s); });
                a.get();
                b.get();
              }),
              2s);
  });
}

TEST(AsyncioCreateTask, DoesNotRunTheWorkBeforeTheCallerWaits) {
  simulate(
      [] {
        bool ran = false;
        auto f = spawn([&] { ran = true; });
        EXPECT_FALSE(ran);
        f.get();
        EXPECT_TRUE(ran);
      },
      {.loops = 1});
}

TEST(AsyncioCreateTask, GivesTheSameResultHoweverOftenItIsAwaited) {
  simulate([] {
    int calls = 0;
    auto f = spawn([&] { return ++calls; });
    EXPECT_EQ(f.get(), 1);
    EXPECT_EQ(f.get(), 1);
    auto bad = spawn([]() -> int { throw std::runtime_error("no"); });
    EXPECT_THROW(bad.get(), std::runtime_error);
    EXPECT_THROW(bad.get(), std::runtime_error);
  });
}

TEST(AsyncioCreateTask, KeepsATaskAliveThatNobodyRefersTo) {
  simulate([] {
    bool done = false;
    (void)spawn([&] {
      sleep_for(1s);
      done = true;
    });
    sleep_for(2s);
    EXPECT_TRUE(done);
  });
}

TEST(AsyncioCreateTask, ReportsAnErrorThatWasNeverRetrievedWithTheTasksName) {
  std::string name;
  config c{.loops = 2};
  c.on_unhandled = [&](const task_info& task, std::exception_ptr) { name = task.name; };
  simulate(
      [&] {
        (void)spawn({.name = "forgotten"}, [] { throw std::runtime_error("no"); });
        sleep_for(1s);
        EXPECT_EQ(name, "forgotten");
      },
      c);
}

TEST(AsyncioCreateTask, ThatIsCancelledGetsTheErrorAtItsWaitAndMayCleanUp) {
  simulate([] {
    bool cleaned = false;
    auto f = spawn([&] {
      try {
        sleep_for(100s);
      } catch (const cancelled&) {
        cleaned = true;
        throw;
      }
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_FALSE(cleaned) << "cancel() asks, it does not wait";
    EXPECT_THROW(f.get(), cancelled);
    EXPECT_TRUE(cleaned);
  });
}

TEST(AsyncioCreateTask, MaySuppressItsCancellation) {
  simulate([] {
    auto f = spawn([] {
      try {
        sleep_for(100s);
      } catch (const cancelled&) {
      }
      return 5;
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_EQ(f.get(), 5);
  });
}

TEST(AsyncioCreateTask, ThatIsCancelledBeforeItStartsNeverStarts) {
  simulate([] {
    bool ran = false;
    auto f = spawn([&] { ran = true; });
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    EXPECT_FALSE(ran);
  });
}

}  // namespace
}  // namespace weft::testing::create_task_test
