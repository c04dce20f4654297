// A wake-up from a thread that the library does not know: from its call until the woken one runs. An operation is one
// wake-up. The loop sleeps in the kernel, or is busy with other fibers.

#include <asio.hpp>
#include <atomic>
#include <boost/fiber/all.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "support.hpp"

namespace {

// The foreign thread, on the second core (the loop is on the first): each time it is asked it lets the loop come to
// rest, notes the time, and calls what wakes. The loop's side asks, waits in its own way, and takes the time when it
// runs.
class foreign_thread {
 public:
  template <class Wake>
  explicit foreign_thread(Wake wake)
      : thread_([this, wake] {
          bench::pin(1);
          for (;;) {
            int order = none;
            while ((order = order_.exchange(none, std::memory_order_acquire)) == none) std::this_thread::yield();
            if (order == end) return;
            bench::stay_busy();
            called_ = bench::clock::now();
            wake();
          }
        }) {}
  ~foreign_thread() {
    order_.store(end, std::memory_order_release);
    thread_.join();
  }
  foreign_thread(const foreign_thread&) = delete;
  foreign_thread& operator=(const foreign_thread&) = delete;

  void ask() { order_.store(wake_me, std::memory_order_release); }
  /// After it woke us.
  [[nodiscard]] double seconds_taken() const { return bench::seconds_since(called_); }

 private:
  enum { none, wake_me, end };
  std::atomic<int> order_{none};
  bench::clock::time_point called_;
  std::thread thread_;
};

template <class Wait>
void wake_ups(benchmark::State& state, foreign_thread& other, Wait wait) {
  const bench::pinned core(0);
  std::size_t woken = 0;
  for (auto _ : state) {
    other.ask();
    wait();
    state.SetIterationTime(other.seconds_taken());
    ++woken;
  }
  bench::check(state, woken == bench::iterations(state), "a wake-up was lost");
  bench::each(state);
}

enum class loop { idle, busy };

// --- weft ---

void wake_weft(benchmark::State& state, loop how) {
  bench::on_loops(1, [&] {
    weft::event woken;
    bool stop = false;
    auto busy = weft::spawn([&] {
      while (how == loop::busy && !stop) weft::yield();
    });
    {
      foreign_thread other([&] { woken.set(); });
      wake_ups(state, other, [&] {
        woken.wait();
        woken.clear();
      });
    }
    stop = true;
    busy.get();
  });
}
WEFT_BENCH_MANUAL("wake_idle/weft", wake_weft, loop::idle);
WEFT_BENCH_MANUAL("wake_busy/weft", wake_weft, loop::busy);

// --- Asio: a handler is posted ---

struct spin {
  asio::io_context& where;
  const bool& stop;
  void operator()() const {
    if (!stop) asio::post(where, *this);
  }
};
void wake_asio(benchmark::State& state, loop how) {
  asio::io_context loop_of_asio(1);
  const auto work = asio::make_work_guard(loop_of_asio);
  bool stop = false;
  bool woken = false;
  if (how == loop::busy) asio::post(loop_of_asio, spin{loop_of_asio, stop});
  {
    foreign_thread other([&] { asio::post(loop_of_asio, [&] { woken = true; }); });
    wake_ups(state, other, [&] {
      while (!woken) loop_of_asio.run_one();
      woken = false;
    });
  }
  stop = true;
  loop_of_asio.poll();
}
WEFT_BENCH_MANUAL("wake_idle/asio", wake_asio, loop::idle);
WEFT_BENCH_MANUAL("wake_busy/asio", wake_asio, loop::busy);

// --- Boost.Fiber ---

void wake_boost_fiber(benchmark::State& state, loop how) {
  boost::fibers::mutex m;
  boost::fibers::condition_variable changed;
  bool woken = false;
  bool stop = false;
  boost::fibers::fiber busy([&] {
    while (how == loop::busy && !stop) boost::this_fiber::yield();
  });
  {
    foreign_thread other([&] {
      {
        const std::lock_guard lock(m);
        woken = true;
      }
      changed.notify_one();
    });
    wake_ups(state, other, [&] {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return woken; });
      woken = false;
    });
  }
  stop = true;
  busy.join();
}
WEFT_BENCH_MANUAL("wake_idle/boost_fiber", wake_boost_fiber, loop::idle);
WEFT_BENCH_MANUAL("wake_busy/boost_fiber", wake_boost_fiber, loop::busy);

// --- a thread asleep in a condition variable; one that is busy has nothing to be woken from ---

void wake_std_thread(benchmark::State& state) {
  std::mutex m;
  std::condition_variable changed;
  bool woken = false;
  foreign_thread other([&] {
    {
      const std::lock_guard lock(m);
      woken = true;
    }
    changed.notify_one();
  });
  wake_ups(state, other, [&] {
    std::unique_lock lock(m);
    changed.wait(lock, [&] { return woken; });
    woken = false;
  });
}
WEFT_BENCH_MANUAL("wake_idle/std_thread", wake_std_thread);

}  // namespace
