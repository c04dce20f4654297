// Every primitive and combinator, cancelled at each place where it can be.

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::sync_cancel_test {
namespace {

/// The lock is free.
template <class M>
bool is_free(M& m) {
  if (!m.try_lock()) return false;
  m.unlock();
  return true;
}

TEST(CancelEverywhere, Mutex) {
  expect_cancel_safe([](cancel_probe& probe) {
    mutex m;
    auto other = spawn([&] {
      for (int i = 0; i < 3; ++i) {
        const std::lock_guard lock(m);
        sleep_for(1ms);
      }
    });
    probe.cancelled_task([&] {
      for (int i = 0; i < 3; ++i) {
        const std::lock_guard lock(m);
        sleep_for(1ms);
      }
    });
    probe.check([&] { return is_free(m); });
    other.get();
  });
}

TEST(CancelEverywhere, SharedMutex) {
  expect_cancel_safe([](cancel_probe& probe) {
    shared_mutex m;
    auto other = spawn(on_loop(1), [&] {
      for (int i = 0; i < 3; ++i) {
        const std::lock_guard lock(m);
        yield();
      }
    });
    probe.cancelled_task([&] {
      {
        const std::shared_lock lock(m);
        sleep_for(1ms);
      }
      const std::lock_guard lock(m);
      sleep_for(1ms);
    });
    probe.check([&] { return is_free(m); });
    other.get();
  });
}

TEST(CancelEverywhere, ConditionVariable) {
  expect_cancel_safe([](cancel_probe& probe) {
    mutex m;
    condition_variable c;
    int turns = 0;
    int taken = 0;
    const auto take = [&] {
      std::unique_lock lock(m);
      c.wait(lock, [&] { return turns > 0; });
      --turns;
      ++taken;
    };
    auto other = spawn(on_loop(1), take);
    auto giver = spawn([&] {
      for (int i = 0; i < 2; ++i) {
        sleep_for(1ms);
        const std::lock_guard lock(m);
        ++turns;
        c.notify_one();
      }
    });
    probe.cancelled_task(take);
    probe.check([&] { return is_free(m) && other.ready() && turns + taken == 2; });
    giver.get();
    other.get();
  });
}

TEST(CancelEverywhere, Semaphore) {
  expect_cancel_safe([](cancel_probe& probe) {
    semaphore s(1);
    auto other = spawn(on_loop(1), [&] {
      s.acquire();
      sleep_for(1ms);
      s.release();
    });
    probe.cancelled_task([&] {
      s.acquire();
      s.release();
    });
    probe.check([&] { return s.try_acquire() && !s.try_acquire(); });
    other.get();
  });
}

TEST(CancelEverywhere, EventLatchAndBarrier) {
  expect_cancel_safe([](cancel_probe& probe) {
    event e;
    latch l(1);
    barrier b(2);
    auto setter = spawn(on_loop(1), [&] {
      sleep_for(1ms);
      e.set();
      l.count_down();
    });
    auto other = spawn([&] { b.arrive_and_wait(); });
    bool met = false;
    probe.cancelled_task([&] {
      e.wait();
      l.wait();
      b.arrive_and_wait();
      met = true;
    });
    probe.check([&] {
      if (!met && !other.ready()) b.arrive_and_wait();  // it has not arrived
      return true;
    });
    setter.get();
    other.get();
  });
}

template <class Channel>
void channel_is_cancel_safe(std::size_t capacity) {
  expect_cancel_safe([capacity](cancel_probe& probe) {
    Channel ch(capacity);
    int sent = 0;
    int received = 0;
    auto source = spawn(on_loop(1), [&] {
      for (int i = 0; i < 3; ++i) {
        ch.send(std::make_unique<int>(i));
        ++sent;
      }
    });
    probe.cancelled_task([&] {
      for (int i = 0; i < 3; ++i) {
        (void)ch.recv();
        ++received;
      }
      auto mine = std::make_unique<int>(9);
      try {
        for (int i = 0; i < 2; ++i) {
          ch.send(std::move(mine));
          ++sent;
          mine = std::make_unique<int>(10);
        }
      } catch (const cancelled&) {
        if (!mine) throw std::runtime_error("the value is lost");
        throw;
      }
    });
    probe.check([&] {
      while (ch.recv_for(1ms)) ++received;
      source.get();
      return sent == received;
    });
  });
}
TEST(CancelEverywhere, Channel) {
  // The task under test may fill the channel and wait for ever: room for what it sends.
  for (const std::size_t capacity : {2U, 5U}) {
    channel_is_cancel_safe<channel<std::unique_ptr<int>>>(capacity);
    channel_is_cancel_safe<channel<std::unique_ptr<int>, lifo>>(capacity);
  }
}

TEST(CancelEverywhere, ChannelJoinAndRange) {
  expect_cancel_safe([](cancel_probe& probe) {
    channel<std::string> ch(1);
    auto source = spawn([&] {
      for (int i = 0; i < 3; ++i) ch.send(std::string(100, 'x'));
      ch.close();
    });
    int seen = 0;
    probe.cancelled_task([&] {
      for (const std::string& s : ch) {
        seen += s.size() == 100;
        ch.task_done();
      }
      ch.join();
    });
    probe.check([&] {
      for (const std::string& s : ch) seen += s.size() == 100;
      return seen == 3;
    });
    source.get();
  });
}

TEST(CancelEverywhere, Select) {
  expect_cancel_safe([](cancel_probe& probe) {
    channel<std::unique_ptr<int>> in(0);
    channel<int> out(0);
    promise<int> p;
    auto later = p.get_future();
    int sent = 0;
    int received = 0;
    auto source = spawn(on_loop(1), [&] {
      for (int i = 0; i < 2; ++i) {
        in.send(std::make_unique<int>(i));
        ++sent;
      }
      (void)out.recv();
      p.set_value(1);
    });
    probe.cancelled_task([&] {
      for (bool done = false; !done;)
        select(on_recv(in, [&](std::unique_ptr<int>) { ++received; }), on_send(out, 1, [] {}),
               on_ready(later, [&] { done = true; }), after(1h, [] {}));
    });
    probe.check([&] {
      while (!source.ready())
        select(on_recv(in, [&](std::unique_ptr<int>) { ++received; }), on_send(out, 1, [] {}), after(1ms, [] {}));
      return sent == received;
    });
    source.get();
  });
}

TEST(CancelEverywhere, WatchAndBroadcast) {
  expect_cancel_safe([](cancel_probe& probe) {
    watch<int> w(0);
    broadcast<int> b(4);
    watch<int>::receiver wr(w);
    auto br = b.subscribe();
    int sum = 0;
    auto source = spawn(on_loop(1), [&] {
      sleep_for(1ms);
      b.send(1);
      w.send(5);
      sleep_for(1ms);
      b.send(2);
    });
    probe.cancelled_task([&] {
      for (int i = 0; i < 2; ++i) sum += *br.recv();
      while (*wr.recv() != 5) {
      }
    });
    probe.check([&] {
      while (const auto v = br.recv_for(1ms)) sum += *v;
      return sum == 3 && *w.get() == 5;
    });
    source.get();
  });
}

TEST(CancelEverywhere, RaceWaitAnyAndAsCompleted) {
  expect_cancel_safe([](cancel_probe& probe) {
    int running = 0;
    const auto work = [&](int ms) {
      return spawn([&, ms] {
        struct count {
          int& n;
          explicit count(int& c) : n(c) { ++n; }
          ~count() { --n; }
        } const here(running);
        sleep_for(std::chrono::milliseconds(ms));
        return ms;
      });
    };
    auto shared = work(4);
    probe.cancelled_task([&] {
      EXPECT_EQ(race(work(2), work(1), shared).get(), 1);
      const auto a = work(1);
      const auto b = work(2);
      EXPECT_EQ(wait_any(a, b), 0U);
      std::vector<future<int>> all;
      for (int i = 3; i > 0; --i) all.push_back(work(i));
      int last = 0;
      for (auto& f : as_completed(std::move(all))) {
        const int v = f.get();
        EXPECT_GT(v, last);
        last = v;
      }
      EXPECT_EQ(map_bounded(std::vector{1, 2, 3}, 2,
                            [&](int i) {
                              sleep_for(1ms);
                              return i * i;
                            })
                    .get(),
                (std::vector{1, 4, 9}));
    });
    probe.check([&] { return running == 0 && shared.get() == 4; });
  });
}

TEST(CancelEverywhere, TaskGroup) {
  expect_cancel_safe([](cancel_probe& probe) {
    int running = 0;
    const auto work = [&] {
      ++running;
      try {
        sleep_for(1ms);
      } catch (...) {
        --running;
        throw;
      }
      --running;
    };
    probe.cancelled_task([&] {
      with_group([&](task_group& g) {
        g.spawn(work);
        g.spawn(on_loop(1), work);
        g.spawn_cpu(work);
        g.start([&](started<>& ready) {
          yield();
          ready();
          work();
        });
        g.spawn([&] { g.spawn(work); });
      });
    });
    probe.check([&] { return running == 0; });
  });
}

}  // namespace
}  // namespace weft::testing::sync_cancel_test
