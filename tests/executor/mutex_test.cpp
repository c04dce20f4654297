#include "weft/mutex.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "weft/shared_mutex.hpp"
#include "weft/testing/locks.hpp"
#include "weft_test.hpp"

namespace weft::testing::mutex_test {
namespace {

effort tried(unsigned loops) { return {.seeds = seeds(), .loops = loops, .rounds = 300}; }

TEST(Mutex, MeetsTheContractOfLocks) {
  for (const unsigned loops : {1U, 2U, 4U}) check_lock<mutex>(tried(loops));
}
TEST(SharedMutex, MeetsTheContractOfSharedLocks) {
  for (const unsigned loops : {1U, 2U, 4U}) check_shared_lock<shared_mutex>(tried(loops));
}

// --- the suite finds what is broken ---

class never_excludes {
 public:
  void lock() {}
  bool try_lock() { return true; }
  bool try_lock_for(std::chrono::nanoseconds) { return true; }
  void unlock() {}
};
class last_come_first_served {  // and forgets no one, but has no order
 public:
  void lock() {
    while (held_) sleep_for(1us);
    held_ = true;
  }
  bool try_lock() { return held_ ? false : (held_ = true); }
  bool try_lock_for(std::chrono::nanoseconds t) {
    const auto end = clock::now() + t;
    while (!try_lock()) {
      if (clock::now() >= end) return false;
      sleep_for(1us);
    }
    return true;
  }
  void unlock() { held_ = false; }

 private:
  bool held_ = false;
};
TEST(LockContract, FindsALockThatDoesNotExclude) {
  EXPECT_THROW(check_lock<never_excludes>({.seeds = 5}), contract_broken);
}
TEST(LockContract, FindsALockThatIsACancellationPointAndUnfair) {
  EXPECT_THROW(check_lock<last_come_first_served>({.seeds = 5}), contract_broken);
}

// --- misuse ---

TEST(Mutex, LockingTwiceIsAnErrorThatNamesTheTask) {
  sim::run(1, [] {
    mutex m;
    const std::lock_guard lock(m);
    try {
      m.lock();
      FAIL();
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::resource_deadlock_would_occur);
      EXPECT_NE(std::string(e.what()).find("holds already"), std::string::npos) << e.what();
    }
  });
}

TEST(Mutex, ATaskThatEndsHoldingOneIsReported) {
  ::testing::internal::CaptureStderr();
  sim::run(1, [] {
    mutex m;
    spawn({.name = "forgetful"}, [&] { m.lock(); }).get();
    EXPECT_FALSE(m.try_lock());
    std::thread([&] { m.unlock(); }).join();  // not a task's, so it may
  });
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("\"forgetful\""), std::string::npos) << text;
  EXPECT_NE(text.find("has ended while it holds the mutex"), std::string::npos) << text;
}

std::size_t noted_as_held(const detail::agent& a) {
  return static_cast<std::size_t>(
      std::ranges::count_if(a.held, [](const auto& lock) { return lock.load() != nullptr; }));
}
// More than are noted by name, and often enough for them to become the loop's own.
TEST(Mutex, WhatATaskHoldsIsNotedInWhateverOrderItIsGivenUp) {
  simulate([] {
    std::array<mutex, 5> all;
    std::array<std::size_t, 5> order{0, 1, 2, 3, 4};
    const detail::agent& me = detail::waiting_agent();
    for (int i = 0; i < 200; ++i) {
      for (mutex& m : all) m.lock();
      EXPECT_EQ(me.locks, all.size());
      for (std::size_t k = order.size(); k > 1; --k) std::swap(order[k - 1], order[sim::draw(k)]);
      for (const std::size_t which : order) all[which].unlock();
      ASSERT_EQ(me.locks, 0U);
      ASSERT_EQ(noted_as_held(me), 0U);
    }
  });
}

#ifdef NDEBUG  // a debug build ends the program
TEST(Mutex, OneThatAnEndedTaskHeldIsNotOfTheNextTaskOnItsStack) {
  ::testing::internal::CaptureStderr();
  sim::run(1, [] {
    mutex m;
    for (int i = 0; i < 200; ++i) {
      m.lock();
      m.unlock();
    }
    const detail::agent* first = nullptr;
    spawn([&] {
      first = &detail::waiting_agent();
      m.lock();
    }).get();
    spawn([&] {
      const detail::agent& me = detail::waiting_agent();
      EXPECT_EQ(&me, first);
      mutex other;
      other.lock();
      m.unlock();
      EXPECT_EQ(me.locks, 1U);
      EXPECT_EQ(noted_as_held(me), 1U);
      other.unlock();
    }).get();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("has ended while it holds"), std::string::npos);
}
#endif

TEST(MutexDeathTest, DestroyingOneThatIsHeldEndsTheProgram) {
  EXPECT_DEATH(
      {
        auto* m = new mutex;
        m->lock();
        delete m;
      },
      "a mutex .* is destroyed while somebody holds it");
}

TEST(SharedMutexDeathTest, UnlockingWhatNobodyHoldsSoEndsTheProgram) {
  EXPECT_DEATH(shared_mutex().unlock(), "shared_mutex::unlock\\(\\) of the one at .*, which nobody holds so");
  EXPECT_DEATH(shared_mutex().unlock_shared(), "shared_mutex::unlock_shared\\(\\) of the one at .*, which nobody");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock_shared();
        m.unlock();
      },
      "shared_mutex::unlock\\(\\) of the one at .*, which nobody holds so");
}

#ifndef NDEBUG
TEST(MutexDeathTest, UnlockingAnothersEndsADebugBuild) {
  EXPECT_DEATH(sim::run(1,
                        [] {
                          mutex m;
                          m.lock();
                          spawn([&] { m.unlock(); }).get();
                        }),
               "unlocks the mutex .* which task #[0-9]+ holds");
}
#endif

TEST(Mutex, ExcludesThreadsThatAreNoneOfWefts) {
  mutex m;
  int count = 0;
  constexpr int each = 20'000;
  std::vector<std::thread> all;
  for (int t = 0; t < 4; ++t)
    all.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const std::lock_guard lock(m);
        ++count;
      }
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(count, 4 * each);
}

TEST(Mutex, ACircleOfLocksIsListedWithItsHolders) {
  sim::run(1, [] {
    mutex a;
    mutex b;
    auto first = spawn({.name = "first"}, [&] {
      const std::lock_guard one(a);
      sleep_for(1ms);
      return b.try_lock_for(1s) ? (b.unlock(), true) : false;
    });
    auto second = spawn({.name = "second"}, [&] {
      const std::lock_guard one(b);
      sleep_for(1ms);
      return a.try_lock_for(2s) ? (a.unlock(), true) : false;
    });
    sleep_for(10ms);
    std::uint64_t waits_for[2] = {};
    std::uint64_t ids[2] = {};
    for (const auto& t : inspect()) {
      if (t.task.name != "first" && t.task.name != "second") continue;
      const int i = t.task.name == "second";
      EXPECT_EQ(t.waits_for, wait_kind::lock);
      ids[i] = t.task.id;
      waits_for[i] = t.target_task;
    }
    EXPECT_EQ(waits_for[0], ids[1]);
    EXPECT_EQ(waits_for[1], ids[0]);
    EXPECT_FALSE(first.get());
    EXPECT_TRUE(second.get());
  });
}

// --- hand-off ---

class MutexOnLoops : public OnLoops {};
WEFT_ON_LOOPS(MutexOnLoops);

TEST_P(MutexOnLoops, AWaiterOfAnotherLoopIsNotOvertakenForEver) {
  run([] {
    mutex m;
    std::atomic<bool> stop{false};
    auto greedy = spawn_blocking([&] {  // takes it again and again, with no pause
      while (!stop) {
        const std::lock_guard lock(m);
      }
    });
    for (int i = 0; i < 50; ++i) {
      const std::lock_guard lock(m);
    }
    stop = true;
    greedy.get();
  });
}

TEST_P(MutexOnLoops, TheLastHolderMayDestroyIt) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto m = std::make_shared<mutex>();
      int left = 3;
      auto use = [m, &left] {
        m->lock();
        --left;
        m->unlock();
      };
      auto a = spawn(anywhere, use);
      auto b = spawn_cpu(use);
      m->lock();
      --left;
      m->unlock();
      m.reset();
      a.get();
      b.get();
      EXPECT_EQ(left, 0);
    }
  });
}

// One that was woken comes when it can, which may be long: its CPU task waits for a worker.
TEST(Mutex, NoFiberWaitsUntilACpuTaskHasAWorker) {
  weft::run(
      [] {
        mutex m;
        m.lock();
        auto slow = spawn_cpu([&] { const std::lock_guard lock(m); });
        const auto waits = [] {
          const auto now = get_statistics().cpu;
          return now.served == 1 && now.busy == 0;
        };
        while (!waits()) yield();
        std::atomic<bool> stop{false};
        auto busy = spawn_cpu([&] {
          while (!stop) std::this_thread::yield();
        });
        while (get_statistics().cpu.busy == 0) yield();
        std::vector<future<void>> others;
        for (int i = 0; i < 3; ++i) others.push_back(spawn(on_loop(1), [&] { const std::lock_guard lock(m); }));
        const auto wait_for_lock = [] {
          const auto all = inspect();
          return std::count_if(all.begin(), all.end(), [](const auto& t) { return t.waits_for == wait_kind::lock; });
        };
        while (wait_for_lock() < 4) yield();
        m.unlock();
        for (auto& f : others) EXPECT_TRUE(f.wait_for(20s)) << "nobody has it";
        stop = true;
        gather(slow, busy, gather(others)).get();
        EXPECT_TRUE(m.try_lock());
        m.unlock();
      },
      {.loops = 2, .cpu_workers = 1, .stall_after = 0ns, .cpu_threads = cpu_scheduling::normal});
}

TEST(Mutex, WorksOutsideARuntime) {
  mutex m;
  int n = 0;
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const std::lock_guard lock(m);
      ++n;
    }
  };
  std::thread a(work);
  std::thread b(work);
  a.join();
  b.join();
  EXPECT_EQ(n, 4000);
}

}  // namespace
}  // namespace weft::testing::mutex_test
