// Who has the cores: event loops before the threads of the CPU pool (executor/notes/cpu_and_io.md).

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "weft_test.hpp"

namespace weft::testing::cpu_scheduling_test {
namespace {

struct seen {
  int policy = -1;
  int nice = -1;
  std::uint64_t slice = 0;  // ns; 0 where the kernel does not say
  bool passed_on = true;    // to threads that it makes
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
  constexpr std::uint64_t reset_on_fork = 1;  // SCHED_FLAG_RESET_ON_FORK
  return {static_cast<int>(a.policy), a.nice, a.runtime, (a.flags & reset_on_fork) == 0};
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

// --- real-time loops ---

config realtime() {
  return {.loops = 2, .cpu_workers = 2, .stall_after = 0ns, .loop_threads = loop_scheduling::realtime};
}

bool may_be_realtime() {
  bool may = false;
  in_fresh_thread([&] {
    const sched_param second{.sched_priority = 2};
    may = ::sched_setscheduler(0, SCHED_FIFO, &second) == 0;
  });
  return may;
}

class RealtimeLoops : public ::testing::Test {
  void SetUp() override {
    if (!may_be_realtime()) GTEST_SKIP() << "needs CAP_SYS_NICE, or an RLIMIT_RTPRIO of 2";
  }
};

// Of the calling thread, for good.
void give_up_realtime() {
  __user_cap_header_struct of_this_thread{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct has[2]{};
  ASSERT_EQ(::syscall(SYS_capget, &of_this_thread, has), 0);
  has[0].effective &= ~(1U << CAP_SYS_NICE);
  ASSERT_EQ(::syscall(SYS_capset, &of_this_thread, has), 0);
}

TEST_F(RealtimeLoops, ComeFirstAndWhatTheyMakeDoesNot) {
  in_fresh_thread([] {
    const seen before = of_this_thread();
    weft::run(
        [&] {
          for (unsigned i = 0; i < 2; ++i) {
            const seen loop = spawn(on_loop(i), [] { return of_this_thread(); }).get();
            EXPECT_EQ(loop.policy, SCHED_FIFO) << "loop " << i;
            EXPECT_FALSE(loop.passed_on);
            spawn(on_loop(i), [&] {
              in_fresh_thread([&] { EXPECT_EQ(of_this_thread().policy, SCHED_OTHER); });
              EXPECT_EQ(spawn_blocking([] { return of_this_thread().policy; }).get(), SCHED_OTHER);
            }).get();
          }
          for (int i = 0; i < 20; ++i) EXPECT_EQ(spawn_cpu([] { return of_this_thread().policy; }).get(), SCHED_IDLE);
        },
        realtime());
    EXPECT_EQ(of_this_thread().policy, before.policy);
    EXPECT_EQ(of_this_thread().nice, before.nice);
  });
}

// Without a wait; but not for ever.
void compute_until(const std::function<bool()>& done) {
  const auto start = std::chrono::steady_clock::now();
  while (!done()) {
    if (std::chrono::steady_clock::now() - start < 30s) continue;
    ADD_FAILURE() << "nothing happened for 30 s";
    return;
  }
}

void wait_until(const std::function<bool()>& done) {
  for (int i = 0; i < 30'000 && !done(); ++i) sleep_for(1ms);
  EXPECT_TRUE(done()) << "not within 30 s";
}

TEST_F(RealtimeLoops, OneThatComputesIsNoneUntilItWaits) {
  in_fresh_thread([] {
    const seen before = of_this_thread();
    weft::run(
        [&] {
          for (int i = 0; i < 3; ++i) {
            // Both loops, so that every core is taken on a small machine, and the other's is no help.
            auto other = spawn(on_loop(1), [] {
              compute_until([] { return of_this_thread().policy == SCHED_OTHER; });
              return of_this_thread();
            });
            compute_until([] { return of_this_thread().policy == SCHED_OTHER; });
            EXPECT_EQ(of_this_thread().nice, before.nice);
            EXPECT_EQ(other.get().nice, before.nice);
            wait_until([] { return of_this_thread().policy == SCHED_FIFO; });
            wait_until([] { return spawn(on_loop(1), [] { return of_this_thread().policy; }).get() == SCHED_FIFO; });
          }
          compute_until([] { return of_this_thread().policy == SCHED_OTHER; });
        },
        realtime());
    EXPECT_EQ(of_this_thread().policy, before.policy) << "it ended while it was none";
    EXPECT_EQ(of_this_thread().nice, before.nice);
  });
}

TEST(RealtimeLoopsUnprivileged, AreNormalAndSaySo) {
  in_fresh_thread([] {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_RTPRIO, &limit), 0);
    const rlimit lower{.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_RTPRIO, &lower), 0);
    give_up_realtime();
    const seen before = of_this_thread();
    ::testing::internal::CaptureStderr();
    weft::run(
        [&] {
          for (unsigned i = 0; i < 2; ++i) EXPECT_EQ(spawn(on_loop(i), [] { return of_this_thread(); }).get(), before);
        },
        realtime());
    EXPECT_EQ(::testing::internal::GetCapturedStderr(),
              "weft: the event loops are not real-time: Operation not permitted (it takes CAP_SYS_NICE, or an "
              "RLIMIT_RTPRIO of 2)\n");
    EXPECT_EQ(of_this_thread(), before);
    ASSERT_EQ(::setrlimit(RLIMIT_RTPRIO, &limit), 0);
  });
}

// The watchdog may have gone to rest.
TEST_F(RealtimeLoops, OneThatComputesAtOnceIsSeen) {
  in_fresh_thread([] {
    runtime r(realtime());
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(200ms);  // for it to come to rest: without it the test tests less
      r.run([] { compute_until([] { return of_this_thread().policy == SCHED_OTHER; }); });
    }
  });
}

TEST_F(RealtimeLoops, AHandlerThatComputesIsSeen) {
  in_fresh_thread([] {
    weft::run(
        [] {
          promise<void> computed;
          asio::post(this_io_context(), [&] {
            compute_until([] { return of_this_thread().policy == SCHED_OTHER; });
            computed.set_value();
          });
          computed.get_future().get();
          wait_until([] { return of_this_thread().policy == SCHED_FIFO; });
        },
        realtime());
  });
}

TEST_F(RealtimeLoops, ReportsAreMadeByAThreadThatIsNot) {
  in_fresh_thread([] {
    std::atomic<int> stall{-1};
    std::atomic<int> deadlock{-1};
    config c = realtime();
    c.stall_after = 30ms;
    c.on_stall = [&](const stall_info& s) {
      EXPECT_FALSE(s.where.empty());
      stall = of_this_thread().policy;
    };
    c.on_deadlock = [&](const std::string&) { deadlock = of_this_thread().policy; };
    weft::run(
        [&] {
          compute_until([&] { return stall != -1; });
          // Beside a loop that is busy, so that the search is not made at rest.
          std::atomic<bool> over{false};
          auto busy = spawn(on_loop(1), [&] {
            while (!over) yield();
          });
          future<void> a;
          future<void> b;
          a = spawn([&] {
            yield();
            b.get();
          });
          b = spawn([&] { a.get(); });
          wait_until([&] { return deadlock != -1; });
          a.cancel();
          b.cancel();
          a.wait();
          b.wait();
          over = true;
          busy.get();
        },
        c);
    EXPECT_EQ(stall, SCHED_OTHER);
    EXPECT_EQ(deadlock, SCHED_OTHER);
  });
}

// With an RLIMIT_RTPRIO alone a thread cannot take back that it is not passed on; nor when the program has given the
// capability up.
TEST_F(RealtimeLoops, WhatMayNotBeTakenBackStays) {
  in_fresh_thread([] {
    seen after = of_this_thread();
    after.passed_on = false;
    weft::run(
        [] {
          EXPECT_EQ(of_this_thread().policy, SCHED_FIFO);
          give_up_realtime();
        },
        realtime());
    EXPECT_EQ(of_this_thread(), after);
  });
}

// A program that has made its thread real-time itself knows why.
TEST_F(RealtimeLoops, AThreadThatIsRealtimeAlreadyIsLeftAsItIs) {
  in_fresh_thread([] {
    const sched_param lowest{.sched_priority = 1};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_RR, &lowest), 0);
    const seen before = of_this_thread();
    weft::run([&] { EXPECT_EQ(of_this_thread(), before); }, realtime());
    EXPECT_EQ(of_this_thread(), before);
  });
}

}  // namespace
}  // namespace weft::testing::cpu_scheduling_test
