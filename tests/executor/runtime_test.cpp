#include "weft/runtime.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft/channel.hpp"
#include "weft/event.hpp"
#include "weft/mutex.hpp"
#include "weft/timeout.hpp"
#include "weft_test.hpp"

namespace weft::testing::runtime_test {
namespace {

class Runtime : public OnLoops {};
WEFT_ON_LOOPS(Runtime);

TEST_P(Runtime, GivesMainsResult) {
  EXPECT_EQ(run([] { return 7; }), 7);
  EXPECT_EQ(*run([] { return std::make_unique<int>(8); }), 8);
  run([] {});
  EXPECT_THROW(run([] { throw std::runtime_error("out of main"); }), std::runtime_error);
  EXPECT_EQ(run([] { return 9; }), 9) << "after an error the next one starts";
}

TEST_P(Runtime, CancelsAndJoinsWhatMainLeaves) {
  std::atomic<int> started{0};
  std::atomic<int> unwound{0};
  run([&] {
    const auto body = [&] {
      ++started;
      try {
        sleep_for(1000s);
      } catch (const cancelled& c) {
        EXPECT_EQ(c.reason(), cancel_reason::shutdown);
        sleep_for(1ms);  // not reached: it is cancelled
        ADD_FAILURE();
      }
    };
    const auto guarded = [&, body] {
      struct note {
        std::atomic<int>& n;
        ~note() { ++n; }
      } const n{unwound};
      body();
    };
    for (int i = 0; i < 5; ++i) {
      (void)spawn(guarded);
      (void)spawn(anywhere, guarded);
      (void)spawn(detached, guarded);
      (void)spawn(on_loop(loop_count() - 1), guarded);
      (void)spawn_cpu(guarded);
      (void)spawn_blocking(guarded);
    }
    while (started < 30) sleep_for(1ms);
  });
  EXPECT_EQ(unwound, 30);
}

TEST_P(Runtime, JoinsTasksThatSpawnWhileTheyUnwind) {
  std::atomic<int> started{0};
  std::atomic<int> ended{0};
  run([&] {
    for (int i = 0; i < 10; ++i)
      (void)spawn(anywhere, [&] {
        ++started;
        struct late {
          std::atomic<int>& n;
          ~late() {
            shield([&] {
              (void)spawn_cpu([] {});
              sleep_for(2ms);
            });
            ++n;
          }
        } const l{ended};
        sleep_for(1000s);
      });
    while (started < 10) sleep_for(1ms);
  });
  EXPECT_EQ(ended, 10);
}

TEST(RuntimeMisuse, InsideARuntimeSaysSo) {
  weft::run([] {
    EXPECT_THROW(weft::run([] {}), std::logic_error);
    EXPECT_THROW(runtime(), std::logic_error);
    spawn_blocking([] { EXPECT_THROW(weft::run([] {}), std::logic_error); }).get();
    EXPECT_THROW(sim::run(1, [] {}), std::logic_error);
  });
}

TEST(RuntimeMisuse, OfWhatNeedsOneSaysSo) {
  EXPECT_THROW((void)spawn([] {}), no_runtime);
  EXPECT_THROW((void)spawn_cpu([] {}), no_runtime);
  EXPECT_THROW((void)spawn_blocking([] {}), no_runtime);
  EXPECT_THROW(this_loop(), no_runtime);
  EXPECT_THROW(loop_count(), no_runtime);
  EXPECT_THROW(inspect(), no_runtime);
  EXPECT_THROW(this_io_context(), no_runtime);
  EXPECT_THROW(gather(lazy([] {})), no_runtime);
  EXPECT_FALSE(on_a_loop());
}

TEST(RuntimeMisuse, OfTheConfigNamesTheField) {
  const auto fails = [](config c, const char* field) {
    try {
      const runtime r(std::move(c));
      ADD_FAILURE() << field;
    } catch (const std::invalid_argument& e) {
      EXPECT_NE(std::string(e.what()).find(field), std::string::npos) << e.what();
    }
  };
  fails({.loops = 0}, "loops");
  fails({.loops = 1000}, "loops");
  fails({.cpu_workers = 0}, "cpu_workers");
  fails({.blocking_threads = 0}, "blocking_threads");
  fails({.stack_size = 4096}, "stack_size");
  fails({.cpu_stack_size = 0}, "cpu_stack_size");
  fails({.max_stacks = 0}, "max_stacks");
}

TEST(RuntimeMisuse, AWaitOnALoopsOwnStackSaysSo) {
  weft::run([] {
    EXPECT_THROW((void)spawn(on_loop(100), [] {}), std::out_of_range);
    spawn_cpu([] { EXPECT_THROW((void)spawn(on_loop(100), [] {}), std::out_of_range); }).get();
  });
}

TEST(RuntimeObject, RunsSeveralTimesAndClosesWithWorkInFlight) {
  std::atomic<bool> unwound{false};
  {
    runtime r({.loops = 2});
    EXPECT_EQ(r.run([] { return 1; }), 1);
    future<int> keeps;
    r.run([&] {
      keeps = spawn([] {
        sleep_for(5ms);
        return 5;
      });
    });
    EXPECT_EQ(r.run([&] { return keeps.get(); }), 5) << "it went on in the next run";
    r.run([&] {
      (void)spawn([&] {
        struct note {
          std::atomic<bool>& b;
          ~note() { b = true; }
        } const n{unwound};
        sleep_for(1000s);
      });
      yield();
    });
    EXPECT_THROW(runtime(), std::logic_error) << "one at a time";
  }
  EXPECT_TRUE(unwound);
  runtime r({.loops = 1});
  r.close();
  r.close();
  EXPECT_THROW(r.run([] {}), no_runtime);
}

TEST(RuntimeObject, TakesSpawnsFromThreadsOutside) {
  runtime r({.loops = 2});
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i)
        sum += spawn(on_loop(1), [] { return 1; }).get() + spawn_cpu([] { return 1; }).get();
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 800);
}

TEST(Unhandled, ErrorsAreReportedOnceWithTheTasksNameAndSite) {
  std::mutex mutex;
  std::vector<std::string> seen;
  config c{.loops = 2};
  c.on_unhandled = [&](const task_info& task, std::exception_ptr error) {
    EXPECT_TRUE(on_a_loop());
    const std::lock_guard lock(mutex);
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      seen.push_back(task.name + ": " + e.what());
    }
    EXPECT_NE(std::string(task.site.file_name()).find("runtime_test.cpp"), std::string::npos);
  };
  weft::run(
      [&] {
        const auto fail = [](const char* what) { return [what] { throw std::runtime_error(what); }; };
        (void)spawn({.name = "dropped"}, fail("1"));
        {
          auto kept = spawn({.name = "kept"}, fail("2"));
          kept.wait();  // waiting takes no error
        }
        auto taken = spawn({.name = "taken"}, fail("3"));
        EXPECT_THROW(taken.get(), std::runtime_error);
        auto results = gather_results(spawn({.name = "gathered"}, fail("4"))).get();
        auto cancelled_task = spawn([] { sleep_for(100s); });
        yield();
        cancelled_task.cancel();
        cancelled_task.wait();
        (void)spawn_cpu({.name = "cpu"}, fail("5"));
        (void)spawn_blocking({.name = "blocking"}, fail("6"));
        const auto count = [&] {
          const std::lock_guard lock(mutex);
          return seen.size();
        };
        timeout(60s, [&] {
          while (count() < 4) sleep_for(1ms);
        });
        sleep_for(10ms);  // in which none is reported again
      },
      c);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::string>{"blocking: 6", "cpu: 5", "dropped: 1", "kept: 2"}));
}

// A report may come while the loops stop.
TEST(Unhandled, ErrorsAreReportedOnceThoughTheRuntimeEndsMeanwhile) {
  for (int i = 0; i < 300; ++i) {
    std::atomic<int> reports{0};
    config c{.loops = 2};
    c.on_unhandled = [&](const task_info&, const std::exception_ptr&) { ++reports; };
    ::testing::internal::CaptureStderr();  // where a report goes when there is no runtime any more
    {
      runtime r(c);
      auto failed = r.run([] {
        auto f = spawn([]() -> void { throw std::runtime_error("late"); });
        f.wait();
        return f;
      });
      std::atomic<bool> go{false};
      std::thread drops([&, f = std::move(failed)]() mutable {
        while (!go) {
        }
        for (int n = i % 100; n > 0; --n) (void)std::chrono::steady_clock::now();
        { const auto dropped = std::move(f); }
      });
      go = true;
      r.close();
      drops.join();
    }
    const auto said = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(reports + static_cast<int>(said.find("late") != std::string::npos), 1) << said;
  }
}

TEST(Stall, IsReportedOnceWithTheTaskAndWhereItIs) {
  std::mutex mutex;
  std::vector<stall_info> seen;
  config c{.loops = 2, .stall_after = 20ms};
  c.on_stall = [&](const stall_info& s) {
    const std::lock_guard lock(mutex);
    seen.push_back(s);
  };
  weft::run(
      [] {
        spawn({.name = "blocks"}, [] {
          const auto until = std::chrono::steady_clock::now() + 200ms;
          while (std::chrono::steady_clock::now() < until) {
          }
        }).get();
        sleep_for(50ms);  // waiting is no stall
      },
      c);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].task.name, "blocks");
  EXPECT_NE(std::string(seen[0].task.site.file_name()).find("runtime_test.cpp"), std::string::npos);
  EXPECT_GE(seen[0].lasted, 20ms);
  EXPECT_EQ(seen[0].loop, 0U);
  EXPECT_FALSE(seen[0].where.empty());
}

TEST(Deadlock, OfTasksThatWaitForOneAnotherIsReported) {
  std::atomic<int> reports{0};
  std::string text;
  config c{.loops = 2};
  c.on_deadlock = [&](const std::string& t) {
    text = t;
    ++reports;
  };
  weft::run(
      [&] {
        future<void> a;
        future<void> b;
        a = spawn({.name = "hen"}, [&] {
          yield();
          b.get();
        });
        b = spawn(on_loop(1), {.name = "egg"}, [&] {
          sleep_for(1ms);
          a.get();
        });
        for (int i = 0; i < 500 && reports == 0; ++i) sleep_for(10ms);
        a.cancel();
        EXPECT_THROW(a.get(), cancelled);
        EXPECT_THROW(b.get(), cancelled);
      },
      c);
  EXPECT_EQ(reports, 1);
  EXPECT_NE(text.find("hen"), std::string::npos) << text;
  EXPECT_NE(text.find("egg"), std::string::npos) << text;
}

// One waits for a lock, its holder for the one; all is asleep, and many wait for no task. At once, and shortly before
// the watchdog looks in any case.
void a_circle_of_a_lock_after(std::chrono::milliseconds busy) {
  promise<std::string> reported;
  config c{.loops = 2};
  c.on_deadlock = [&](const std::string& t) { reported.set_value(t); };
  weft::run(
      [&] {
        event never;
        std::vector<future<void>> others;
        for (int i = 0; i < 1000; ++i) others.push_back(spawn([&] { never.wait(); }));
        for (const auto until = clock::now() + busy; clock::now() < until;) yield();
        mutex well;
        event held;
        auto fox = spawn({.name = "fox"}, [&] {
          held.wait();
          const std::lock_guard lock(well);
        });
        auto stork = spawn(on_loop(1), {.name = "stork"}, [&] {
          const std::lock_guard lock(well);
          held.set();
          fox.get();
        });
        const std::string text = timeout(60s, [&] { return reported.get_future().get(); });
        EXPECT_NE(text.find("fox"), std::string::npos) << text;
        EXPECT_NE(text.find("stork"), std::string::npos) << text;
        stork.cancel();
        EXPECT_THROW(stork.get(), cancelled);
        fox.get();
        never.set();
        for (auto& f : others) f.get();
      },
      c);
}

TEST(Deadlock, OfALockIsReportedWhenNobodyIsAwake) {
  for (const auto busy : {0ms, 240ms}) a_circle_of_a_lock_after(busy);
}

TEST(Inspect, ListsEveryStartedTaskAndWhatItWaitsFor) {
  weft::run(
      [] {
        promise<int> p;
        auto sleeper = spawn({.name = "sleeper"}, [] { sleep_for(1000s); });
        auto waiter = spawn(on_loop(1), {.name = "waiter"}, [f = p.get_future()] { f.get(); });
        auto cpu = spawn_cpu({.name = "cpu"}, [&] { sleeper.wait(); });
        auto blocking = spawn_blocking({.name = "blocking"}, [f = p.get_future()] { f.get(); });
        // A thread of the pools may need a while to start.
        std::map<std::string, task_state> found;
        const auto all_wait = [&] {
          for (const char* name : {"sleeper", "waiter", "cpu", "blocking"})
            if (found[name].waits_for == wait_kind::none) return false;
          return true;
        };
        for (int i = 0; i < 1000 && !all_wait(); ++i) {
          sleep_for(10ms);
          found.clear();
          for (auto& t : inspect()) found[t.task.name] = t;
        }
        EXPECT_EQ(found["sleeper"].waits_for, wait_kind::timer);
        EXPECT_EQ(found["sleeper"].loop, 0);
        EXPECT_EQ(found["waiter"].waits_for, wait_kind::future);
        EXPECT_EQ(found["waiter"].loop, 1);
        EXPECT_EQ(found["cpu"].where, task_state::place::cpu);
        EXPECT_EQ(found["cpu"].target_task, found["sleeper"].task.id);
        EXPECT_EQ(found["blocking"].where, task_state::place::blocking);
        EXPECT_EQ(found["sleeper"].task.parent, found["main"].task.id);
        std::ostringstream out;
        dump_tasks(out);
        EXPECT_NE(out.str().find("\"sleeper\""), std::string::npos);
        EXPECT_NE(out.str().find("waits for timer"), std::string::npos);
        p.set_value(1);
        sleeper.cancel();
        cpu.get();
        EXPECT_THROW(sleeper.get(), cancelled);
      },
      {.loops = 2});
}

TEST(OneCore, StillRunsEverything) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &before)) {
      CPU_SET(i, &one);
      break;
    }
  std::thread([&] {
    ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(usable_cores(), 1U);
    EXPECT_EQ(
        weft::run([] {
          EXPECT_EQ(loop_count(), 1U);
          auto [a, b, c] =
              gather(spawn([] { return 1; }), spawn_cpu([] { return 2; }), spawn_blocking([] { return 3; })).get();
          return a + b + c;
        }),
        6);
  }).join();
}

// A loop that looks out for mail asks for events meanwhile, and may take the call that was to end its sleep.
TEST(Loop, TakesItsMailWithinAFewSwitches) {
  run(
      [] {
        bool stop = false;
        auto busy = spawn([&] {
          while (!stop) yield();
        });
        for (int round = 0; round < 100; ++round) {
          promise<void> p;
          bool heard = false;
          auto listener = spawn([&, f = p.get_future()] {
            f.wait();
            heard = true;
          });
          yield();
          yield();
          std::thread([&] { p.set_value(); }).join();
          for (int i = 0; i < 4; ++i) yield();
          EXPECT_TRUE(heard);
          listener.get();
        }
        stop = true;
        busy.get();
      },
      {.loops = 1, .stall_after = 0ns});
}

TEST(LookingOut, LosesNoCallToTakeATask) {
  run(
      [] {
        channel<int> there(1);
        channel<int> back(1);
        for (int round = 0; round < 100; ++round) {
          auto echo = spawn(on_loop(1), [&] {
            for (int i = 0; i < 20; ++i) back.send(there.recv());
          });
          for (int i = 0; i < 20; ++i) {
            there.send(i);
            EXPECT_EQ(back.recv(), i);
          }
          echo.get();
          std::atomic<bool> taken{false};
          auto task = spawn(anywhere, [&] { taken = true; });
          // This loop does not come to it; the other must.
          const auto give_up = std::chrono::steady_clock::now() + 10s;
          while (!taken && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
          EXPECT_TRUE(taken);
          task.get();
        }
      },
      {.loops = 2, .stall_after = 0ns});
}

TEST(ManyRuntimes, StartAndStopInARow) {
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(weft::run([] { return spawn(anywhere, [] { return 1; }).get() + spawn_cpu([] { return 1; }).get(); },
                        {.loops = 2}),
              2);
}

// A loop that is on its way to sleep may stop before the order to cancel everything has come to it. (The address
// sanitizer sees what is left behind.)
TEST(ManyRuntimes, LeaveNoMailBehind) {
  for (int i = 0; i < 200; ++i) {
    std::atomic<bool> over{false};
    weft::run(
        [&] {
          for (unsigned loop = 1; loop < 8; ++loop)
            (void)spawn(on_loop(loop), [&] {
              while (!over) yield();
            });
          sleep_for(200us);
          over = true;
        },
        {.loops = 8, .stall_after = 0ns});
  }
}

TEST(RuntimeFromOutside, MayBeLookedAtFromOutsideWhileItBeginsAndEnds) {
  std::atomic<bool> stop{false};
  std::thread looks([&] {
    while (!stop) {
      try {
        (void)get_statistics();
        (void)cpu_workers();
        (void)inspect();
      } catch (const no_runtime&) {
      }
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 50; ++i) weft::run([] {}, {.loops = 1, .cpu_workers = 1, .stall_after = 0ns});
  stop = true;
  looks.join();
}

}  // namespace
}  // namespace weft::testing::runtime_test
