// Who has the cores: event loops before the threads of the CPU pool (executor/notes/cpu_and_io.md).

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "weft_test.hpp"

namespace weft::testing::cpu_scheduling_test {
namespace {

struct seen {
  int policy = -1;
  int nice = -1;
  std::uint64_t slice = 0;  // ns; 0 where the kernel does not say
  bool operator==(const seen&) const = default;
};

seen of_this_thread() {
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } a{};
  EXPECT_EQ(::syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0U), 0);
  return {static_cast<int>(a.policy), a.nice, a.runtime};
}

// What a test starts from: it may itself be run at some niceness. In a thread of its own, for each would be what the
// last test left.
template <class F>
void in_fresh_thread(F f) {
  std::thread(f).join();
}

config settings(cpu_scheduling how) { return {.loops = 2, .cpu_workers = 2, .stall_after = 0ns, .cpu_threads = how}; }

TEST(CpuScheduling, WorkersHaveWhatLoopsLeave) {
  in_fresh_thread([] {
    const seen before = of_this_thread();
    weft::run(
        [&] {
          EXPECT_EQ(of_this_thread(), before) << "loop 0";
          EXPECT_EQ(spawn(on_loop(1), [] { return of_this_thread(); }).get(), before);
          for (int i = 0; i < 20; ++i) EXPECT_EQ(spawn_cpu([] { return of_this_thread().policy; }).get(), SCHED_IDLE);
          EXPECT_EQ(spawn_blocking([] { return of_this_thread(); }).get(), before);
        },
        settings(cpu_scheduling::background));
    EXPECT_EQ(of_this_thread(), before);
  });
}

TEST(CpuScheduling, LoopsGiveTheirShortSlicesBack) {
  in_fresh_thread([] {
    const seen before = of_this_thread();
    weft::run(
        [&] {
          const bool has_slices = before.slice != 0;  // Linux 6.12
          for (unsigned i = 0; i < 2; ++i) {
            const seen loop = spawn(on_loop(i), [] { return of_this_thread(); }).get();
            EXPECT_EQ(loop.policy, before.policy);
            EXPECT_EQ(loop.nice, before.nice);
            EXPECT_EQ(loop.slice, has_slices ? 100'000U : 0U);
          }
          for (int i = 0; i < 20; ++i) {
            const seen worker = spawn_cpu([] { return of_this_thread(); }).get();
            if (worker.policy == SCHED_IDLE) continue;  // oneTBB's, of an earlier runtime: it may not be raised
            EXPECT_EQ(worker.policy, SCHED_BATCH);
            EXPECT_EQ(worker.nice, 19);
            EXPECT_EQ(worker.slice, before.slice) << "not the loop's that made the thread";
          }
        },
        settings(cpu_scheduling::low));
    EXPECT_EQ(of_this_thread(), before);
  });
}

// A thread is scheduled as the one that made it. So a CPU task must not make those of the blocking pool.
TEST(CpuScheduling, BlockingCallsOfCpuTasksAreNotHeldBack) {
  for (const auto how : {cpu_scheduling::background, cpu_scheduling::low})
    in_fresh_thread([how] {
      const seen before = of_this_thread();
      weft::run(
          [&] {
            auto call = spawn_cpu([] { return spawn_blocking([] { return of_this_thread(); }).get(); });
            const seen there = call.get();
            EXPECT_EQ(there.policy, before.policy);
            EXPECT_EQ(there.nice, before.nice);
          },
          settings(how));
    });
}

TEST(CpuScheduling, ManyCpuTasksCallTheBlockingPoolAtOnce) {
  weft::run(
      [] {
        std::vector<future<int>> all;
        for (int i = 0; i < 200; ++i) all.push_back(spawn_cpu([i] { return spawn_blocking([i] { return i; }).get(); }));
        int sum = 0;
        for (auto& f : all) sum += f.get();
        EXPECT_EQ(sum, 199 * 200 / 2);
      },
      settings(cpu_scheduling::background));
}

}  // namespace
}  // namespace weft::testing::cpu_scheduling_test
