// Locks, channels and select, beside Boost.Fiber and the standard library.

#include <benchmark/benchmark.h>

#include <boost/fiber/all.hpp>
#include <mutex>
#include <semaphore>
#include <thread>
#include <vector>

#include "weft/executor.hpp"

namespace {

void count(benchmark::State& state, std::int64_t each = 1) {
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * each);
}

template <class Body>
void on_loops(unsigned loops, Body body) {
  weft::config c{.loops = loops};
  c.stall_after = std::chrono::nanoseconds(0);  // a benchmark never waits
  weft::run(body, c);
}

// --- uncontended ---

template <class Mutex>
void lock_unlock(benchmark::State& state) {
  Mutex m;
  for (auto _ : state) {
    m.lock();
    benchmark::ClobberMemory();
    m.unlock();
  }
  count(state);
}
void mutex_uncontended(benchmark::State& state) {
  on_loops(1, [&] { lock_unlock<weft::mutex>(state); });
}
void mutex_uncontended_boost(benchmark::State& state) { lock_unlock<boost::fibers::mutex>(state); }
void mutex_uncontended_std(benchmark::State& state) { lock_unlock<std::mutex>(state); }
BENCHMARK(mutex_uncontended);
BENCHMARK(mutex_uncontended_boost);
BENCHMARK(mutex_uncontended_std);

void shared_mutex_uncontended(benchmark::State& state) {
  on_loops(1, [&] {
    weft::shared_mutex m;
    for (auto _ : state) {
      m.lock_shared();
      m.unlock_shared();
    }
  });
  count(state);
}
BENCHMARK(shared_mutex_uncontended);

void semaphore_uncontended(benchmark::State& state) {
  on_loops(1, [&] {
    weft::semaphore s(1);
    for (auto _ : state) {
      s.acquire();
      s.release();
    }
  });
  count(state);
}
void semaphore_uncontended_std(benchmark::State& state) {
  std::counting_semaphore<> s(1);
  for (auto _ : state) {
    s.acquire();
    s.release();
  }
  count(state);
}
BENCHMARK(semaphore_uncontended);
BENCHMARK(semaphore_uncontended_std);

// --- contended: four fibers, the lock held over a switch, so that it is handed on each time ---

void mutex_handed_on(benchmark::State& state) {
  on_loops(1, [&] {
    weft::mutex m;
    bool stop = false;
    std::vector<weft::future<void>> others;
    for (int i = 0; i < 3; ++i)
      others.push_back(weft::spawn([&] {
        while (!stop) {
          const std::lock_guard lock(m);
          weft::yield();
        }
      }));
    for (auto _ : state) {
      const std::lock_guard lock(m);
      weft::yield();
    }
    stop = true;
    weft::gather(std::move(others)).get();
  });
  count(state, 4);
}
void mutex_handed_on_boost(benchmark::State& state) {
  boost::fibers::mutex m;
  bool stop = false;
  std::vector<boost::fibers::fiber> others;
  for (int i = 0; i < 3; ++i)
    others.emplace_back([&] {
      while (!stop) {
        const std::lock_guard lock(m);
        boost::this_fiber::yield();
      }
    });
  for (auto _ : state) {
    const std::lock_guard lock(m);
    boost::this_fiber::yield();
  }
  stop = true;
  for (auto& f : others) f.join();
  count(state, 4);
}
BENCHMARK(mutex_handed_on);
BENCHMARK(mutex_handed_on_boost);

// --- contended: eight at once on two loops, or two threads; real time for all of them ---

constexpr int rounds = 20'000;

void mutex_on_two_loops(benchmark::State& state) {
  on_loops(2, [&] {
    weft::mutex m;
    long sum = 0;
    for (auto _ : state) {
      std::vector<weft::future<void>> all;
      for (unsigned i = 0; i < 8; ++i)
        all.push_back(weft::spawn(weft::on_loop(i % 2), [&] {
          for (int k = 0; k < rounds; ++k) {
            const std::lock_guard lock(m);
            ++sum;
          }
        }));
      weft::gather(std::move(all)).get();
    }
    if (sum != static_cast<long>(state.iterations()) * 8 * rounds) state.SkipWithError("the lock does not exclude");
  });
  count(state, std::int64_t{8} * rounds);
}
void mutex_on_two_threads_std(benchmark::State& state) {
  std::mutex m;
  long sum = 0;
  for (auto _ : state) {
    std::vector<std::thread> all;
    for (int i = 0; i < 2; ++i)
      all.emplace_back([&] {
        for (int k = 0; k < 4 * rounds; ++k) {
          const std::lock_guard lock(m);
          ++sum;
        }
      });
    for (auto& t : all) t.join();
  }
  if (sum != static_cast<long>(state.iterations()) * 8 * rounds) state.SkipWithError("the lock does not exclude");
  count(state, std::int64_t{8} * rounds);
}
BENCHMARK(mutex_on_two_loops)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(mutex_on_two_threads_std)->UseRealTime()->Unit(benchmark::kMillisecond);

// --- channels: a round trip over two, by two agents ---

template <class Place>
void ping_pong(benchmark::State& state, unsigned loops, std::size_t capacity, Place where) {
  on_loops(loops, [&] {
    weft::channel<int> to(capacity);
    weft::channel<int> from(capacity);
    auto other = weft::spawn(where, [&] {
      for (const int v : to) from.send(v + 1);
    });
    int value = 0;
    for (auto _ : state) {
      to.send(value);
      value = from.recv();
    }
    to.close();
    other.get();
    if (value != static_cast<int>(state.iterations())) state.SkipWithError("a message was lost");
  });
  count(state);
}
void channel_round_trip(benchmark::State& state) {
  ping_pong(state, 1, static_cast<std::size_t>(state.range(0)), weft::detached);
}
void channel_round_trip_two_loops(benchmark::State& state) { ping_pong(state, 2, 1, weft::on_loop(1)); }
void channel_round_trip_boost(benchmark::State& state) {
  boost::fibers::buffered_channel<int> to(2);
  boost::fibers::buffered_channel<int> from(2);
  boost::fibers::fiber other([&] {
    for (const int v : to) from.push(v + 1);
  });
  int value = 0;
  for (auto _ : state) {
    to.push(value);
    value = from.value_pop();
  }
  to.close();
  other.join();
  count(state);
}
BENCHMARK(channel_round_trip)->Arg(0)->Arg(1);
BENCHMARK(channel_round_trip_boost);
BENCHMARK(channel_round_trip_two_loops)->UseRealTime();

void channel_send_recv(benchmark::State& state) {
  on_loops(1, [&] {
    weft::channel<int> ch(1);
    for (auto _ : state) {
      ch.send(1);
      benchmark::DoNotOptimize(ch.recv());
    }
  });
  count(state);
}
BENCHMARK(channel_send_recv);

void select_of_4(benchmark::State& state) {
  on_loops(1, [&] {
    weft::channel<int> a(1);
    weft::channel<int> b(1);
    weft::channel<int> c(1);
    weft::channel<int> d(1);
    const auto take = [](int v) { benchmark::DoNotOptimize(v); };
    for (auto _ : state) {
      c.send(1);
      weft::select(weft::on_recv(a, take), weft::on_recv(b, take), weft::on_recv(c, take), weft::on_recv(d, take));
    }
  });
  count(state);
}
void select_of_4_that_waits(benchmark::State& state) {
  on_loops(1, [&] {
    weft::channel<int> a(0);
    weft::channel<int> b(0);
    weft::channel<int> c(0);
    weft::channel<int> d(0);
    const auto take = [](int v) { benchmark::DoNotOptimize(v); };
    bool stop = false;
    auto other = weft::spawn([&] {
      while (!stop) c.send(1);
    });
    for (auto _ : state)
      weft::select(weft::on_recv(a, take), weft::on_recv(b, take), weft::on_recv(c, take), weft::on_recv(d, take));
    stop = true;
    (void)c.try_recv();
    (void)c.recv_for(std::chrono::milliseconds(1));
    other.get();
  });
  count(state);
}
BENCHMARK(select_of_4);
BENCHMARK(select_of_4_that_waits);

}  // namespace
