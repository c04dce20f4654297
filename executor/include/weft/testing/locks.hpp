#pragma once
// The contract of a lock. check_lock<M>() runs any type that meets the standard's TimedLockable through it;
// check_shared_lock<M>() one that readers can share.

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "weft/cancel.hpp"
#include "weft/future.hpp"
#include "weft/gather.hpp"
#include "weft/spawn.hpp"
#include "weft/task_group.hpp"
#include "weft/testing/contract.hpp"
#include "weft/this_fiber.hpp"
#include "weft/timeout.hpp"

namespace weft::testing {

namespace rules {

using namespace std::chrono_literals;

/// Counts who is inside.
class occupancy {
 public:
  void enter() { require(inside_.fetch_add(1) == 0, "a lock excludes others"); }
  void leave() { inside_.fetch_sub(1); }

 private:
  std::atomic<int> inside_{0};
};

template <class M>
void lock_excludes() {
  M m;
  occupancy inside;
  task_group g;
  for (unsigned i = 0; i < 6; ++i)
    g.spawn(on_loop(i % loop_count()), [&] {
      for (int k = 0; k < 4; ++k) {
        const std::lock_guard lock(m);
        inside.enter();
        if (k % 2 == 0) yield();
        if (k % 3 == 0) sleep_for(1ms);
        inside.leave();
      }
    });
  g.join();
}

template <class M>
void lock_suspends_only_its_waiter() {
  M m;
  bool locked = false;
  task_group g;
  std::unique_lock lock(m);
  auto waits = g.spawn([&] {
    const std::lock_guard mine(m);
    locked = true;
  });
  auto runs = g.spawn([] { sleep_for(1ms); });
  runs.get();
  require(!locked, "a lock that is held is not given to another");
  lock.unlock();
  waits.get();
  require(locked, "who waits gets the lock when it is given up");
}

template <class M>
void lock_is_fifo_on_a_loop() {
  M m;
  std::vector<int> order;
  task_group g;
  {
    const std::lock_guard lock(m);
    for (int i = 0; i < 5; ++i) {
      g.spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i));
        const std::lock_guard mine(m);
        order.push_back(i);
      });
    }
    sleep_for(10ms);
  }
  g.join();
  require(order == std::vector<int>{0, 1, 2, 3, 4}, "waiters of one loop get the lock in the order they came");
}

template <class M>
void lock_can_be_tried() {
  M m;
  task_group g;
  require(m.try_lock(), "try_lock() takes a free lock");
  auto other = g.spawn([&] { return m.try_lock(); });
  require(!other.get(), "try_lock() gives false when another holds the lock");
  auto timed = g.spawn([&] {
    const auto begin = clock::now();
    const bool got = m.try_lock_for(5ms);
    return std::pair(got, clock::now() - begin);
  });
  const auto [got, took] = timed.get();
  require(!got, "try_lock_for() gives false when the time is up");
  require(took >= 5ms && took < 6ms, "try_lock_for() waits for as long as it was told");
  auto late = g.spawn([&] {
    const bool mine = m.try_lock_for(20ms);
    if (mine) m.unlock();
    return mine;
  });
  sleep_for(5ms);
  m.unlock();
  require(late.get(), "try_lock_for() takes the lock when it is given up in time");
  require(m.try_lock(), "a wait that timed out leaves nothing behind");
  m.unlock();
}

template <class M>
void lock_is_no_cancellation_point() {
  M m;
  bool locked = false;
  bool then_cancelled = false;
  task_group g;
  std::unique_lock lock(m);
  auto waits = g.spawn([&] {
    m.lock();
    locked = true;
    m.unlock();
    try {
      sleep_for(1ms);
    } catch (const cancelled&) {
      then_cancelled = true;
      throw;
    }
  });
  sleep_for(1ms);
  waits.cancel();
  sleep_for(1ms);
  require(!locked, "a cancelled waiter does not get a lock that is held");
  lock.unlock();
  waits.wait();
  require(locked && then_cancelled, "lock() is deaf to cancellation, which is seen at the next wait");
}

template <class M>
void lock_is_given_up_by_unwinding() {
  M m;
  auto fails = spawn([&] {
    const std::lock_guard lock(m);
    sleep_for(1ms);
    throw std::runtime_error("planted");
  });
  auto is_cancelled = spawn([&] {
    const std::lock_guard lock(m);
    sleep_for(1h);
  });
  sleep_for(5ms);
  is_cancelled.cancel();
  is_cancelled.wait();
  try {
    fails.get();
  } catch (const std::runtime_error&) {
  }
  require(m.try_lock(), "unwinding gives the lock up");
  m.unlock();
}

template <class M>
void two_locks_at_once() {
  M a;
  M b;
  int sum = 0;
  task_group g;
  for (unsigned i = 0; i < 4; ++i)
    g.spawn(on_loop(i % loop_count()), [&, i] {
      for (int k = 0; k < 3; ++k) {
        if (i % 2 == 0) {
          const std::scoped_lock both(a, b);
          yield();
          ++sum;
        } else {
          const std::scoped_lock both(b, a);
          yield();
          ++sum;
        }
      }
    });
  g.join();
  require(sum == 12, "std::scoped_lock takes two locks in any order");
}

/// All kinds of agents at once, on real loops.
template <class M>
void lock_serves_all_agents(unsigned rounds) {
  M m;
  occupancy inside;
  long sum = 0;
  const auto work = [&] {
    for (unsigned k = 0; k < rounds; ++k) {
      if (k % 7 == 3) {
        if (!m.try_lock_for(50us)) continue;
      } else if (k % 5 == 2) {
        if (!m.try_lock()) continue;
      } else {
        m.lock();
      }
      inside.enter();
      ++sum;
      if (k % 16 == 0) std::this_thread::yield();
      inside.leave();
      m.unlock();
    }
  };
  task_group g;
  for (unsigned i = 0; i < 4; ++i) g.spawn(on_loop(i % loop_count()), work);
  for (int i = 0; i < 2; ++i) g.spawn_cpu(work);
  g.spawn_blocking(work);
  std::jthread foreign(work);
  g.join();
  foreign.join();
  require(sum > 0, "work was done");
}

template <class M>
void readers_share() {
  M m;
  int reading = 0;
  int most = 0;
  task_group g;
  for (int i = 0; i < 4; ++i)
    g.spawn([&] {
      const std::shared_lock lock(m);
      most = std::max(most, ++reading);
      sleep_for(1ms);
      --reading;
    });
  g.join();
  require(most == 4, "readers share the lock");
}

template <class M>
void writers_exclude_readers() {
  M m;
  int readers = 0;
  bool writing = false;
  task_group g;
  for (unsigned i = 0; i < 6; ++i)
    g.spawn(on_loop(i % loop_count()), [&, i] {
      for (int k = 0; k < 3; ++k) {
        if (i % 3 == 0) {
          const std::lock_guard lock(m);
          require(readers == 0 && !writing, "a writer is alone");
          writing = true;
          sleep_for(1ms);
          writing = false;
        } else {
          const std::shared_lock lock(m);
          require(!writing, "nobody writes while somebody reads");
          ++readers;
          yield();
          --readers;
        }
      }
    });
  g.join();
}

template <class M>
void a_waiting_writer_goes_before_later_readers() {
  M m;
  std::vector<char> order;
  task_group g;
  std::shared_lock first(m);
  g.spawn([&] {
    const std::lock_guard lock(m);
    order.push_back('w');
  });
  sleep_for(1ms);
  g.spawn([&] {
    const std::shared_lock lock(m);
    order.push_back('r');
  });
  sleep_for(1ms);
  require(order.empty(), "a reader waits behind a writer that came before it");
  first.unlock();
  g.join();
  require(order == std::vector<char>{'w', 'r'}, "the writer goes first");
}

template <class M>
void readers_pass_when_a_waiting_writer_gives_up() {
  M m;
  task_group g;
  std::shared_lock first(m);
  auto writer = g.spawn([&] { return m.try_lock_for(5ms); });
  sleep_for(1ms);
  auto reader = g.spawn([&] {
    const std::shared_lock lock(m);
    return true;
  });
  require(!writer.get(), "the writer's time is up");
  require(reader.wait_for(1ms), "readers pass when the writer before them gives up");
}

}  // namespace rules

/// Runs M through the contract of locks. M is made by its default constructor; every lock is free at the end.
///
/// Suspends: the calling thread; call it outside a runtime.
/// Cancel:   not a cancellation point.
/// Threads:  a plain thread.
/// Ordering: none.
/// Throws:   contract_broken, with the rule and the seed.
template <class M>
void check_lock(const effort& e = {}) {
  using namespace rules;
  in_simulation(e, lock_excludes<M>);
  in_simulation(e, lock_suspends_only_its_waiter<M>);
  in_simulation(e, lock_is_fifo_on_a_loop<M>);
  in_simulation(e, lock_can_be_tried<M>);
  in_simulation(e, lock_is_no_cancellation_point<M>);
  in_simulation(e, lock_is_given_up_by_unwinding<M>);
  in_simulation(e, two_locks_at_once<M>);
  for_real(e, [&] { lock_serves_all_agents<M>(e.rounds); });
}

/// The same for one that readers can share, which is a lock too.
template <class M>
void check_shared_lock(const effort& e = {}) {
  using namespace rules;
  check_lock<M>(e);
  in_simulation(e, readers_share<M>);
  in_simulation(e, writers_exclude_readers<M>);
  in_simulation(e, a_waiting_writer_goes_before_later_readers<M>);
  in_simulation(e, readers_pass_when_a_waiting_writer_gives_up<M>);
}

}  // namespace weft::testing
