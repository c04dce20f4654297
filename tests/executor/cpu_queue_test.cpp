// Which CPU task a worker takes next, and which are not let in. On virtual time; the stress at the end is real.

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::cpu_queue_test {
namespace {

using sim::compute_for;

config one_worker(config c = {}) {
  c.loops = 2;
  c.cpu_workers = 1;
  return c;
}

// Keeps the only worker busy until everything else is queued.
future<void> busy_worker(std::chrono::nanoseconds time = 10ms) {
  auto busy = spawn_cpu([time] { compute_for(time); });
  while (get_statistics().cpu.busy == 0) sleep_for(1us);
  sleep_for(10us);  // it has begun
  return busy;
}

TEST(CpuQueue, ServesHighBeforeNormalBeforeLow) {
  simulate(
      [] {
        auto busy = busy_worker();
        std::string order;
        std::vector<future<void>> all;
        const auto add = [&](cpu_priority p, char name) {
          all.push_back(spawn_cpu({.priority = p}, [&order, name] {
            order += name;
            compute_for(1ms);
          }));
        };
        add(cpu_priority::low, 'x');
        add(cpu_priority::normal, 'm');
        add(cpu_priority::high, 'a');
        add(cpu_priority::low, 'y');
        add(cpu_priority::normal, 'n');
        add(cpu_priority::high, 'b');
        EXPECT_EQ(get_statistics().cpu.queued, 6U);
        for (auto& f : all) f.get();
        EXPECT_EQ(order, "abmnxy") << "in one priority as they came";
        busy.get();
      },
      one_worker());
}

TEST(CpuQueue, HighWorkDoesNotStarveTheRest) {
  simulate(
      [] {
        auto busy = busy_worker();
        std::string order;
        std::vector<future<void>> all;
        const auto add = [&](cpu_priority p, char name) {
          all.push_back(spawn_cpu({.priority = p}, [&order, name] {
            order += name;
            compute_for(1ms);
          }));
        };
        add(cpu_priority::low, 'l');
        add(cpu_priority::normal, 'n');
        for (int i = 0; i < 100; ++i) add(cpu_priority::high, 'h');
        for (auto& f : all) f.get();
        EXPECT_EQ(order.find('n'), 8U);
        EXPECT_EQ(order.find('l'), 32U);
        busy.get();
      },
      one_worker());
}

// On real workers: a simulated one goes on after a wait without the queue.
TEST(CpuQueue, ATaskThatGoesOnAfterAWaitKeepsItsPriority) {
  weft::run(
      [] {
        std::string order;
        promise<void> go;
        std::uint64_t number = 0;
        const auto add = [&](cpu_priority p, char name) {
          auto task = spawn_cpu({.priority = p}, [&order, name, ready = go.get_future()] {
            ready.get();
            order += name;
          });
          ++number;
          const auto all_wait = [&] {
            const auto now = get_statistics().cpu;
            return now.served == number && now.busy == 0;
          };
          while (!all_wait()) yield();
          return task;
        };
        auto low = add(cpu_priority::low, 'l');
        auto normal = add(cpu_priority::normal, 'n');
        auto high = add(cpu_priority::high, 'h');
        std::atomic<bool> begun{false};
        std::atomic<bool> stop{false};
        auto busy = spawn_cpu([&] {
          begun = true;
          while (!stop) std::this_thread::yield();
        });
        while (!begun) yield();
        go.set_value();
        while (get_statistics().cpu.queued < 3) yield();
        stop = true;
        gather(low, normal, high, busy).get();
        EXPECT_EQ(order, "hnl");
      },
      {.loops = 1, .cpu_workers = 1, .stall_after = 0ns, .cpu_threads = cpu_scheduling::normal});
}

TEST(CpuQueue, WorkWhoseTimeHasPassedIsNotStarted) {
  simulate(
      [] {
        auto busy = busy_worker(10ms);
        bool started = false;
        auto late = spawn_cpu({.start_by = deadline::after(5ms)}, [&] { started = true; });
        auto in_time = spawn_cpu({.start_by = deadline::after(50ms)}, [] { return 7; });
        EXPECT_THROW(late.get(), timed_out);
        EXPECT_EQ(in_time.get(), 7);
        EXPECT_FALSE(started);
        EXPECT_EQ(get_statistics().cpu.expired, 1U);
        busy.get();
      },
      one_worker());
}

// Nobody wants it any more, so nobody is told that it came too late.
TEST(CpuQueue, WorkThatWasCancelledIsNotLateToo) {
  int reports = 0;
  config c = one_worker({.cpu_queue = 1});
  c.on_unhandled = [&](const task_info&, std::exception_ptr) { ++reports; };
  simulate(
      [] {
        auto busy = busy_worker(10ms);
        auto late = spawn_cpu({.start_by = deadline::after(5ms)}, [] {});
        late.cancel();
        EXPECT_THROW(late.get(), cancelled);
        busy.get();

        busy = busy_worker(10ms);
        {
          auto dropped = spawn_cpu({.start_by = deadline::after(5ms)}, [] {}), nobodys = std::move(dropped);
          nobodys.cancel();
        }
        busy.get();

        // One that comes in a scope that has ended and is not let in.
        busy = busy_worker(10ms);
        auto queued = spawn_cpu([] {});
        const cancel_scope ended;
        ended.cancel();
        ended.run([&] { (void)spawn_cpu([] {}); });
        queued.get();
        busy.get();
      },
      c);
  EXPECT_EQ(reports, 0);
}

TEST(CpuQueue, WorkUnderADeadlineThatHasPassedIsNotStarted) {
  simulate(
      [] {
        auto busy = busy_worker(10ms);
        bool started = false;
        EXPECT_THROW(timeout(5ms, [&] { spawn_cpu([&] { started = true; }).get(); }), timed_out);
        EXPECT_FALSE(started);
        busy.get();
      },
      one_worker());
}

TEST(CpuQueue, AFullQueueRefusesNewWork) {
  simulate(
      [] {
        auto busy = busy_worker();
        auto first = spawn_cpu([] { return 1; });
        auto second = spawn_cpu([] { return 2; });
        auto third = spawn_cpu({.priority = cpu_priority::high}, [] { return 3; });
        EXPECT_TRUE(third.ready());
        EXPECT_THROW(third.get(), overloaded);
        EXPECT_EQ(get_statistics().cpu.refused, 1U);
        EXPECT_EQ(first.get() + second.get(), 3);
        EXPECT_EQ(spawn_cpu([] { return 4; }).get(), 4) << "there is room again";
        busy.get();
      },
      one_worker({.cpu_queue = 2}));
}

// A refused child is a failed child, also of a group, and also when it was spawned off the loops.
TEST(CpuQueue, ARefusedChildFailsItsGroup) {
  simulate(
      [] {
        auto busy = busy_worker();
        auto queued = spawn_cpu([] {});
        EXPECT_THROW(with_group([](task_group& g) { g.spawn_cpu([] {}); }), overloaded);
        EXPECT_THROW(spawn_blocking([] { spawn_cpu([] {}).get(); }).get(), overloaded);
        queued.get();
        busy.get();
      },
      one_worker({.cpu_queue = 1}));
}

// 5 ms of work comes every 2 ms.
TEST(CpuQueue, AQueueThatStandsRefusesAllButHighWork) {
  simulate(
      [] {
        std::vector<future<void>> all;
        int refused = 0;
        std::chrono::nanoseconds longest{};
        for (int i = 0; i < 1000; ++i) {
          all.push_back(spawn_cpu([&, came = clock::now()] {
            longest = std::max(longest, clock::now() - came);
            compute_for(5ms);
          }));
          refused += all.back().ready();
          const bool refusing = get_statistics().cpu.refusing;
          EXPECT_FALSE(refusing && spawn_cpu({.priority = cpu_priority::high}, [] {}).ready());
          sleep_for(2ms);
        }
        EXPECT_GT(refused, 400);
        EXPECT_LT(longest, 1s) << "it would be 3 s";
        for (auto& f : all) {
          try {
            f.get();
          } catch (const overloaded&) {
          }
        }
        EXPECT_FALSE(get_statistics().cpu.refusing);
        spawn_cpu([] {}).get();
      },
      one_worker({.cpu_target = 20ms}));
}

// A burst is no overload, as long as the queue empties within the interval.
TEST(CpuQueue, ABurstIsLetIn) {
  simulate(
      [] {
        for (int burst = 0; burst < 20; ++burst) {
          std::vector<future<void>> all;
          for (int i = 0; i < 18; ++i) all.push_back(spawn_cpu([] { compute_for(5ms); }));
          for (auto& f : all) EXPECT_NO_THROW(f.get());
        }
        EXPECT_EQ(get_statistics().cpu.refused, 0U);
      },
      one_worker({.cpu_target = 1ms}));
}

TEST(CpuQueue, WithoutATargetNothingIsRefused) {
  simulate(
      [] {
        std::vector<future<void>> all;
        for (int i = 0; i < 300; ++i) all.push_back(spawn_cpu([] { compute_for(5ms); }));
        for (auto& f : all) f.get();
        EXPECT_EQ(get_statistics().cpu.refused, 0U);
      },
      one_worker());
}

TEST(CpuQueue, SimulatedWorkersAreAsManyAsAskedFor) {
  for (unsigned workers : {1U, 2U, 4U})
    simulate(
        [workers] {
          const auto took = time_of([] {
            std::vector<future<void>> all;
            for (int i = 0; i < 8; ++i) all.push_back(spawn_cpu([] { compute_for(10ms); }));
            for (auto& f : all) f.get();
          });
          EXPECT_GE(took, 80ms / static_cast<int>(workers));
          EXPECT_LT(took, 80ms / static_cast<int>(workers) + 1ms);
        },
        {.loops = 2, .cpu_workers = workers});
}

TEST(CpuQueue, OfZeroIsAnError) {
  config c;
  c.cpu_queue = 0;
  EXPECT_THROW(weft::run([] {}, c), std::invalid_argument);
}

// Loops, CPU tasks and blocking calls spawn at once, with all priorities and a bound that is hit.
class CpuQueueStress : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, CpuQueueStress, ::testing::Values(1U, 2U, 4U), ::testing::PrintToStringParamName());

TEST_P(CpuQueueStress, EveryTaskRunsOnceOrIsRefused) {
  weft::run(
      [] {
        std::atomic<int> ran{0};
        std::atomic<int> done{0};
        std::atomic<int> refused{0};
        promise<void> go;
        const auto work = [&](int from) {
          std::vector<future<void>> mine;
          for (int i = 0; i < 60; ++i)
            mine.push_back(spawn_cpu({.priority = static_cast<cpu_priority>((from + i) % 3)}, [&ran, i] {
              ++ran;
              if (i % 5 == 0) yield();
            }));
          for (auto& f : mine) {
            try {
              f.get();
              ++done;
            } catch (const overloaded&) {
              ++refused;
            }
          }
        };
        with_group([&](task_group& g) {
          // While there is room; they begin when all are there.
          for (int i = 0; i < 4; ++i)
            g.spawn_cpu([&work, i, ready = go.get_future()] {
              ready.get();
              work(i);
            });
          go.set_value();
          for (int i = 0; i < 4; ++i) {
            g.spawn(anywhere, [&work, i] { work(i); });
            g.spawn_blocking([&work, i] { work(i); });
          }
        });
        EXPECT_EQ(done.load() + refused.load(), 12 * 60);
        EXPECT_EQ(ran.load(), done.load());
        const auto seen = get_statistics().cpu;
        EXPECT_EQ(seen.refused, static_cast<unsigned>(refused.load()));
        EXPECT_EQ(seen.queued, 0U);
      },
      {.loops = 2, .cpu_workers = GetParam(), .stall_after = 0ns, .cpu_queue = 40});
}

// One of them keeps its worker until all others have ended, so one that waits behind it, for want of a worker that
// comes, would wait for ever.
TEST_P(CpuQueueStress, NoTaskWaitsBehindOneThatTakesLong) {
  const unsigned workers = GetParam();
  if (workers == 1) GTEST_SKIP() << "there is no other worker";
  weft::run(
      [] {
        for (unsigned round = 0; round < 200; ++round) {
          const unsigned count = 1 + round % 40;
          std::atomic<unsigned> ended{0};
          std::vector<future<void>> all;
          for (unsigned i = 0; i < count; ++i) {
            all.push_back(spawn_cpu([&, i] {
              while (i == round % count && ended < count - 1) std::this_thread::yield();
              if (i % 7 == 3) yield();
              ++ended;
            }));
            if (round % 3 == 0) yield();
          }
          gather(std::move(all)).get();
        }
      },
      {.loops = 2, .cpu_workers = workers, .stall_after = 0ns});
}

}  // namespace
}  // namespace weft::testing::cpu_queue_test
