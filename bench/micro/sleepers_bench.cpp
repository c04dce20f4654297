// Very many that sleep until the same time: what each keeps resident, and the CPU time to start it, put it to sleep,
// wake it and join it. An operation is one sleeper; `ns` is CPU time here, for the rest is waiting.

#include <sys/mman.h>
#include <sys/resource.h>

#include <asio.hpp>
#include <boost/fiber/all.hpp>
#include <chrono>
#include <vector>

#include "state_threads.hpp"
#include "support.hpp"

namespace {

using std::chrono::steady_clock;

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Passed from where the last one has fallen asleep to where all were joined.
class night {
 public:
  night(benchmark::State& state, std::size_t count) : state_(state), count_(count) {}
  /// When all shall wake: none before the last one sleeps.
  [[nodiscard]] std::chrono::nanoseconds length() const {
    return std::chrono::seconds(1) + count_ * std::chrono::microseconds(20);
  }
  void fell_asleep() {
    memory_.note(count_);
    in_time_ = steady_clock::now() < wake_at_;
  }
  void ended(std::size_t woken) {
    bench::check(state_, in_time_, "the first one woke before the last one slept");
    bench::check(state_, woken == count_, "not every sleeper woke");
    state_.SetIterationTime(cpu_seconds() - cpu_);
    bench::each(state_, count_);
    memory_.report(state_);
    state_.counters["count"] = static_cast<double>(count_);
  }
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  benchmark::State& state_;
  const std::size_t count_;
  bench::memory_growth memory_;
  const double cpu_ = cpu_seconds();
  const steady_clock::time_point wake_at_ = steady_clock::now() + length();
  bool in_time_ = false;
};

void sleepers_weft(benchmark::State& state) {
  for (auto _ : state)
    bench::on_loops(1, [&] {
      night n(state, bench::scaled(1'000'000));
      const auto wake_at = weft::clock::now() + n.length();
      std::size_t woken = 0;
      std::vector<weft::future<void>> all;
      all.reserve(n.count());
      for (std::size_t i = 0; i < n.count(); ++i)
        all.push_back(weft::spawn([&woken, wake_at] {
          weft::sleep_until(wake_at);
          ++woken;
        }));
      weft::yield();
      n.fell_asleep();
      for (auto& f : all) f.get();
      n.ended(woken);
    });
}
WEFT_BENCH_MANUAL("sleepers/weft", sleepers_weft)->Iterations(1);

// No rival but a floor: what the kernel takes for a page of each, apart from the next by the default size of a stack
// and with a guard as weft's. None sleeps.
void sleepers_bare_pages(benchmark::State& state) {
  constexpr std::size_t page = 4096;
  const std::size_t stride = weft::config().stack_size + page;
  for (auto _ : state) {
    night n(state, bench::scaled(1'000'000));
    const std::size_t bytes = n.count() * stride;
    void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench::check(state, at != MAP_FAILED, "no address space");
    if (at == MAP_FAILED) return;
    ::madvise(at, bytes, MADV_NOHUGEPAGE);
    std::size_t touched = 0;
    for (auto* low = static_cast<volatile char*>(at); touched < n.count(); ++touched, low += stride) {
      constexpr int guard_install = 102;  // MADV_GUARD_INSTALL, Linux 6.13; an older kernel refuses
      ::madvise(const_cast<char*>(low), page, guard_install);
      low[stride - 1] = 1;
    }
    n.fell_asleep();
    ::munmap(at, bytes);
    n.ended(touched);
  }
}
WEFT_BENCH_MANUAL("sleepers/bare_pages", sleepers_bare_pages)->Iterations(1);

asio::awaitable<void> sleep_asio(steady_clock::time_point wake_at, std::size_t& woken) {
  asio::steady_timer timer(co_await asio::this_coro::executor, wake_at);
  co_await timer.async_wait(asio::use_awaitable);
  ++woken;
}
void sleepers_asio_awaitable(benchmark::State& state) {
  for (auto _ : state) {
    night n(state, bench::scaled(1'000'000));
    asio::io_context loop(1);
    const auto wake_at = steady_clock::now() + n.length();
    std::size_t woken = 0;
    for (std::size_t i = 0; i < n.count(); ++i) asio::co_spawn(loop, sleep_asio(wake_at, woken), asio::detached);
    loop.poll();
    n.fell_asleep();
    loop.run();
    n.ended(woken);
  }
}
WEFT_BENCH_MANUAL("sleepers/asio_awaitable", sleepers_asio_awaitable)->Iterations(1);

// No coroutine: a timer and its handler.
void sleepers_asio(benchmark::State& state) {
  for (auto _ : state) {
    night n(state, bench::scaled(1'000'000));
    asio::io_context loop(1);
    const auto wake_at = steady_clock::now() + n.length();
    std::size_t woken = 0;
    std::vector<asio::steady_timer> timers;
    timers.reserve(n.count());
    for (std::size_t i = 0; i < n.count(); ++i)
      timers.emplace_back(loop, wake_at).async_wait([&](const asio::error_code& error) { woken += !error; });
    n.fell_asleep();
    loop.run();
    n.ended(woken);
  }
}
WEFT_BENCH_MANUAL("sleepers/asio", sleepers_asio)->Iterations(1);

// A hundred thousand: its list of sleepers and its stacks take them, but not ten times as many in any time.
void sleepers_boost_fiber(benchmark::State& state) {
  for (auto _ : state) {
    night n(state, bench::scaled(100'000));
    const auto wake_at = steady_clock::now() + n.length();
    std::size_t woken = 0;
    std::vector<boost::fibers::fiber> all;
    all.reserve(n.count());
    for (std::size_t i = 0; i < n.count(); ++i)
      all.emplace_back([&woken, wake_at] {
        boost::this_fiber::sleep_until(wake_at);
        ++woken;
      });
    boost::this_fiber::yield();
    n.fell_asleep();
    for (auto& f : all) f.join();
    n.ended(woken);
  }
}
WEFT_BENCH_MANUAL("sleepers/boost_fiber", sleepers_boost_fiber)->Iterations(1);

#if defined(WEFT_BENCH_STATE_THREADS)
void sleepers_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  for (auto _ : state) {
    night n(state, bench::scaled(100'000));
    const auto wake_at = steady_clock::now() + n.length();
    std::size_t asleep = 0;
    std::size_t woken = 0;
    bench::st::signal all_asleep;
    auto sleep = [&] {
      if (++asleep == n.count()) all_asleep.set();
      const auto left = std::chrono::duration_cast<std::chrono::microseconds>(wake_at - steady_clock::now()).count();
      st_usleep(left > 0 ? static_cast<st_utime_t>(left) : 0);
      ++woken;
    };
    std::vector<st_thread_t> all;
    all.reserve(n.count());
    for (std::size_t i = 0; i < n.count(); ++i) all.push_back(bench::st::start(sleep));
    all_asleep.wait();
    n.fell_asleep();
    for (st_thread_t const t : all) st_thread_join(t, nullptr);
    n.ended(woken);
  }
}
WEFT_BENCH_MANUAL("sleepers/state_threads", sleepers_state_threads)->Iterations(1);
#endif

}  // namespace
