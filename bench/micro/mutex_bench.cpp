// A mutex locked and unlocked. An operation is one lock and its unlock.

#include <boost/fiber/all.hpp>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "state_threads.hpp"
#include "support.hpp"

namespace {

// How many at once, and what they do while they hold the mutex.
enum class hold { shortly, over_a_wait };

// Each contender adds 1 to `sum` in each of its rounds. Held shortly, it yields now and then when it does not hold it.
template <class Mutex>
void contend(Mutex& m, long& sum, std::size_t rounds, hold how, const std::function<void()>& yield) {
  for (std::size_t i = 0; i < rounds; ++i) {
    {
      const std::lock_guard lock(m);
      ++sum;
      if (how == hold::over_a_wait) yield();
    }
    if (how == hold::shortly && yield && i % 16 == 0) yield();
  }
}

// An iteration is so many rounds of each contender; more where threads have to find together.
constexpr std::size_t few = 2000;
constexpr std::size_t many = 20'000;

// `run(n, f)` runs n of f at once and joins them.
template <class Mutex, class Run>
void contended(benchmark::State& state, std::size_t rounds, std::size_t contenders, hold how,
               const std::function<void()>& yield, Run run) {
  Mutex m;
  long sum = 0;
  for (auto _ : state) run(contenders, [&](std::size_t) { contend(m, sum, rounds, how, yield); });
  bench::check(state, sum == static_cast<long>(bench::iterations(state) * contenders * rounds),
               "the lock does not exclude");
  bench::each(state, contenders * rounds);
}

// --- alone ---

template <class Mutex>
void alone(benchmark::State& state) {
  Mutex m;
  std::size_t sum = 0;
  for (auto _ : state) {
    m.lock();
    benchmark::DoNotOptimize(++sum);
    m.unlock();
  }
  bench::check(state, sum == bench::iterations(state), "a round was lost");
  bench::each(state);
}
void alone_weft(benchmark::State& state) {
  bench::on_loops(1, [&] { alone<weft::mutex>(state); });
}
WEFT_BENCH("mutex_uncontended/weft", alone_weft);
WEFT_BENCH("mutex_uncontended/boost_fiber", alone<boost::fibers::mutex>);
WEFT_BENCH("mutex_uncontended/std_mutex", alone<std::mutex>);

// --- on one loop ---

void one_loop_weft(benchmark::State& state, std::size_t contenders, hold how) {
  bench::on_loops(1, [&] {
    contended<weft::mutex>(state, few, contenders, how, weft::yield, [](std::size_t n, auto f) {
      std::vector<weft::future<void>> all;
      for (std::size_t i = 0; i < n; ++i) all.push_back(weft::spawn([&f, i] { f(i); }));
      weft::gather(std::move(all)).get();
    });
  });
}
template <class Fibers>
void run_boost_fibers(std::size_t n, Fibers f) {
  std::vector<boost::fibers::fiber> all;
  for (std::size_t i = 0; i < n; ++i) all.emplace_back([&f, i] { f(i); });
  for (auto& fiber : all) fiber.join();
}
void one_loop_boost(benchmark::State& state, std::size_t contenders, hold how) {
  contended<boost::fibers::mutex>(state, few, contenders, how, boost::this_fiber::yield,
                                  [](std::size_t n, auto f) { run_boost_fibers(n, f); });
}
// Threads need nobody to yield to them; held over a wait, that is a system call.
void threads_std(benchmark::State& state, std::size_t rounds, std::size_t contenders, hold how) {
  const std::function<void()> yield = [] { std::this_thread::yield(); };
  contended<std::mutex>(state, rounds, contenders, how, how == hold::over_a_wait ? yield : nullptr,
                        [](std::size_t n, auto f) {
                          std::vector<std::thread> all;
                          for (std::size_t i = 0; i < n; ++i)
                            all.emplace_back([&f, i] {
                              bench::pin(i % 2);
                              f(i);
                            });
                          for (auto& t : all) t.join();
                        });
}
WEFT_BENCH("mutex_1_on_one_loop/weft", one_loop_weft, 1U, hold::shortly);
WEFT_BENCH("mutex_1_on_one_loop/boost_fiber", one_loop_boost, 1U, hold::shortly);
WEFT_BENCH("mutex_1_on_one_loop/std_thread", threads_std, few, 1U, hold::shortly);
WEFT_BENCH("mutex_4_on_one_loop/weft", one_loop_weft, 4U, hold::shortly);
WEFT_BENCH("mutex_4_on_one_loop/boost_fiber", one_loop_boost, 4U, hold::shortly);
WEFT_BENCH("mutex_4_on_one_loop/std_thread", threads_std, few, 4U, hold::shortly);
WEFT_BENCH("mutex_8_on_one_loop/weft", one_loop_weft, 8U, hold::shortly);
WEFT_BENCH("mutex_8_on_one_loop/boost_fiber", one_loop_boost, 8U, hold::shortly);
WEFT_BENCH("mutex_8_on_one_loop/std_thread", threads_std, few, 8U, hold::shortly);

WEFT_BENCH("mutex_handed_on_4/weft", one_loop_weft, 4U, hold::over_a_wait);
WEFT_BENCH("mutex_handed_on_4/boost_fiber", one_loop_boost, 4U, hold::over_a_wait);
WEFT_BENCH("mutex_handed_on_4/std_thread", threads_std, few, 4U, hold::over_a_wait);
WEFT_BENCH("mutex_handed_on_8/weft", one_loop_weft, 8U, hold::over_a_wait);
WEFT_BENCH("mutex_handed_on_8/boost_fiber", one_loop_boost, 8U, hold::over_a_wait);
WEFT_BENCH("mutex_handed_on_8/std_thread", threads_std, few, 8U, hold::over_a_wait);

// --- eight on two loops, or threads, of two cores; nobody yields ---

void two_loops_weft(benchmark::State& state) {
  bench::on_two_cores([&] {
    contended<weft::mutex>(state, many, 8, hold::shortly, nullptr, [](std::size_t n, auto f) {
      std::vector<weft::future<void>> all;
      for (std::size_t i = 0; i < n; ++i)
        all.push_back(weft::spawn(weft::on_loop(static_cast<unsigned>(i % 2)), [&f, i] { f(i); }));
      weft::gather(std::move(all)).get();
    });
  });
}
void two_loops_boost(benchmark::State& state) {
  contended<boost::fibers::mutex>(state, many, 8, hold::shortly, nullptr, [](std::size_t n, auto f) {
    std::thread other([&] {
      bench::pin(1);
      run_boost_fibers(n / 2, f);
    });
    const bench::pinned here(0);
    run_boost_fibers(n - n / 2, f);
    other.join();
  });
}
WEFT_BENCH("mutex_8_on_two_loops/weft", two_loops_weft);
WEFT_BENCH("mutex_8_on_two_loops/boost_fiber", two_loops_boost);
WEFT_BENCH("mutex_8_on_two_loops/std_thread", threads_std, many, 8U, hold::shortly);
// Two that do as much as eight.
WEFT_BENCH("mutex_8_on_two_loops/std_thread/2_threads", threads_std, 4 * many, 2U, hold::shortly);

#if defined(WEFT_BENCH_STATE_THREADS)
class st_lock {
 public:
  st_lock() : m_(st_mutex_new()) {}
  ~st_lock() { st_mutex_destroy(m_); }
  st_lock(const st_lock&) = delete;
  st_lock& operator=(const st_lock&) = delete;
  void lock() { st_mutex_lock(m_); }
  void unlock() { st_mutex_unlock(m_); }

 private:
  st_mutex_t m_;
};
void alone_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  alone<st_lock>(state);
}
// It has no yield but a sleep of no time, which asks the system.
void one_loop_state_threads(benchmark::State& state, std::size_t contenders, hold how) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  contended<st_lock>(
      state, few, contenders, how, [] { st_usleep(0); },
      [](std::size_t n, auto f) {
        std::vector<st_thread_t> all;
        auto body = [&f] { f(0); };
        for (std::size_t i = 0; i < n; ++i) all.push_back(bench::st::start(body));
        for (st_thread_t const t : all) st_thread_join(t, nullptr);
      });
}
WEFT_BENCH("mutex_uncontended/state_threads", alone_state_threads);
WEFT_BENCH("mutex_handed_on_4/state_threads", one_loop_state_threads, 4U, hold::over_a_wait);
WEFT_BENCH("mutex_handed_on_8/state_threads", one_loop_state_threads, 8U, hold::over_a_wait);
#endif

}  // namespace
