// A timer for an hour from now, made and cancelled: what every request with a deadline costs. An operation is one
// timer; alone, and among ten thousand others that stay.

#include <array>
#include <asio.hpp>
#include <boost/fiber/all.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "state_threads.hpp"
#include "support.hpp"

namespace {

using std::chrono::hours;
constexpr std::size_t many = 10'000;

void report(benchmark::State& state, std::size_t cancelled) {
  bench::check(state, cancelled == bench::iterations(state), "a timer was not cancelled");
  bench::each(state);
}

// --- weft ---

template <class Body>
void among_sleepers(benchmark::State& state, std::size_t others, Body body) {
  bench::on_loops(1, [&] {
    std::vector<weft::future<void>> sleepers;
    for (std::size_t i = 0; i < others; ++i)
      sleepers.push_back(weft::spawn([i] { weft::sleep_for(hours(2) + std::chrono::microseconds(i * 7919 % many)); }));
    weft::yield();
    body(state);
    for (auto& s : sleepers) s.cancel();
    for (auto& s : sleepers) s.wait();
  });
}

// timeout() around work that is done at once.
void timer_weft(benchmark::State& state, std::size_t others) {
  among_sleepers(state, others, [](benchmark::State& s) {
    std::size_t in_time = 0;
    for (auto _ : s) weft::timeout(hours(1), [&] { ++in_time; });
    report(s, in_time);
  });
}
// A fiber that sleeps and is cancelled in its sleep; to be compared with spawn_join, which is most of it.
void sleep_cancelled_weft(benchmark::State& state) {
  among_sleepers(state, 0, [](benchmark::State& s) {
    std::size_t cancelled = 0;
    for (auto _ : s) {
      bool slept = false;
      auto sleeper = weft::spawn([&] {
        weft::sleep_for(hours(1));
        slept = true;
      });
      weft::yield();
      sleeper.cancel();
      sleeper.wait();
      cancelled += !slept;
    }
    report(s, cancelled);
  });
}
// A wait with a time limit, for an event that comes before.
void timed_wait_weft(benchmark::State& state) {
  bench::on_loops(1, [&] {
    weft::event to;
    weft::event from;
    bool stop = false;
    auto other = weft::spawn([&] {
      for (;;) {
        to.wait();
        to.clear();
        if (stop) return;
        from.set();
      }
    });
    std::size_t in_time = 0;
    for (auto _ : state) {
      to.set();
      in_time += from.wait_for(hours(1));
      from.clear();
    }
    stop = true;
    to.set();
    other.get();
    report(state, in_time);
  });
}
// No rival but a floor: a deadline from now begins with a look at the clock.
void timer_clock(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(std::chrono::steady_clock::now());
  bench::each(state);
}

WEFT_BENCH("timer_cancelled/clock", timer_clock);
WEFT_BENCH("timer_cancelled/weft", timer_weft, 0U);
WEFT_BENCH("timer_cancelled_among_10000/weft", timer_weft, many);
WEFT_BENCH("sleep_cancelled/weft", sleep_cancelled_weft);
WEFT_BENCH("timed_wait/weft", timed_wait_weft);

// --- Asio ---

void timer_asio(benchmark::State& state, std::size_t others) {
  asio::io_context loop(1);
  std::deque<asio::steady_timer> sleepers;
  for (std::size_t i = 0; i < others; ++i) {
    sleepers.emplace_back(loop, hours(2) + std::chrono::microseconds(i * 7919 % many));
    sleepers.back().async_wait([](const asio::error_code&) {});
  }
  asio::steady_timer timer(loop);
  std::size_t cancelled = 0;
  for (auto _ : state) {
    timer.expires_after(hours(1));
    timer.async_wait([&](const asio::error_code& error) { cancelled += error == asio::error::operation_aborted; });
    timer.cancel();
    loop.poll();  // the handler is told
    loop.restart();
  }
  report(state, cancelled);
}
WEFT_BENCH("timer_cancelled/asio", timer_asio, 0U);
WEFT_BENCH("timer_cancelled_among_10000/asio", timer_asio, many);

asio::awaitable<void> sleep_asio(asio::steady_timer& timer, std::size_t& cancelled) {
  asio::error_code error;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  cancelled += error == asio::error::operation_aborted;
}
asio::awaitable<void> cancel_sleeps_asio(benchmark::State& state, std::size_t& cancelled) {
  const auto executor = co_await asio::this_coro::executor;
  for (auto _ : state) {
    asio::steady_timer timer(executor, hours(1));
    const std::size_t before = cancelled;
    asio::co_spawn(executor, sleep_asio(timer, cancelled), asio::detached);
    co_await asio::post(executor, asio::use_awaitable);
    timer.cancel();
    while (cancelled == before) co_await asio::post(executor, asio::use_awaitable);
  }
  report(state, cancelled);
}
void sleep_cancelled_asio(benchmark::State& state) {
  asio::io_context loop(1);
  std::size_t cancelled = 0;
  asio::co_spawn(loop, cancel_sleeps_asio(state, cancelled), asio::detached);
  loop.run();
}
WEFT_BENCH("sleep_cancelled/asio_awaitable", sleep_cancelled_asio);

// --- Boost.Fiber has timers only as time limits of waits ---

void timed_wait_boost_fiber(benchmark::State& state) {
  boost::fibers::mutex m;
  boost::fibers::condition_variable to;
  boost::fibers::condition_variable from;
  bool asked = false;
  bool answered = false;
  bool stop = false;
  boost::fibers::fiber other([&] {
    for (std::unique_lock lock(m);;) {
      to.wait(lock, [&] { return asked; });
      if (stop) return;
      asked = false;
      answered = true;
      from.notify_one();
    }
  });
  std::size_t in_time = 0;
  {
    std::unique_lock lock(m);
    for (auto _ : state) {
      asked = true;
      to.notify_one();
      in_time += from.wait_for(lock, hours(1), [&] { return answered; });
      answered = false;
    }
    asked = stop = true;
  }
  to.notify_one();
  other.join();
  report(state, in_time);
}
WEFT_BENCH("timed_wait/boost_fiber", timed_wait_boost_fiber);

#if defined(WEFT_BENCH_STATE_THREADS)
void timed_wait_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  bench::st::signal to;
  bench::st::signal from;
  bool stop = false;
  auto answer = [&] {
    for (;;) {
      to.wait();
      if (stop) return;
      from.set();
    }
  };
  st_thread_t const other = bench::st::start(answer);
  std::size_t in_time = 0;
  for (auto _ : state) {
    to.set();
    in_time += from.wait_for(3'600'000'000);
  }
  stop = true;
  to.set();
  st_thread_join(other, nullptr);
  report(state, in_time);
}
void sleep_cancelled_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  bench::st::signal begun;
  std::size_t cancelled = 0;
  auto sleep = [&] {
    begun.set();
    cancelled += st_usleep(3'600'000'000) != 0;
  };
  for (auto _ : state) {
    st_thread_t const sleeper = bench::st::start(sleep);
    begun.wait();
    st_thread_interrupt(sleeper);
    st_thread_join(sleeper, nullptr);
  }
  report(state, cancelled);
}
WEFT_BENCH("timed_wait/state_threads", timed_wait_state_threads);
WEFT_BENCH("sleep_cancelled/state_threads", sleep_cancelled_state_threads);
#endif

}  // namespace
