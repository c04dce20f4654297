// A value through a channel and another one back, between two agents. An operation is the round trip.
//
// channel_two_loops_asleep/futex and /eventfd are the floor: two threads that do nothing but sleep in the kernel and
// wake each other, in the two ways there are. What a system takes beyond that is its own.
//
// channel_two_loops_awake/cache_lines is that for loops that are awake: what five cache lines take that go from one
// core to the other with each value, for a read-modify-write each. weft's are the channel's word and its lists, the
// receiver's place, its control block and its loop's inbox. Neither side runs anything else; a loop that runs fibers
// also takes what the same round trip takes on one loop, and is in the middle of a turn when a value comes.

#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <asio.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/experimental/concurrent_channel.hpp>
#include <atomic>
#include <boost/fiber/all.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "state_threads.hpp"
#include "support.hpp"

namespace {

// What each system measures: `ask` sends a number and gives what comes back, which is greater by one.
template <class Ask>
void round_trips(benchmark::State& state, Ask ask) {
  int value = 0;
  for (auto _ : state) value = ask(value);
  bench::check(state, value == static_cast<int>(state.iterations()), "a value was lost");
  bench::each(state);
}

// Each of two loops is on a core of its own. They are awake because other fibers of theirs yield all the time; or both
// sides sleep in the kernel when a value comes: each keeps its core busy for a while before it sends, so that the
// other one has run out of work, and only what follows is measured, in both directions.
class one_way {
 public:
  void about_to_send() {
    bench::stay_busy();
    sent_ = bench::clock::now();
  }
  void received() { total_ += bench::clock::now() - sent_; }
  double take_seconds() { return std::chrono::duration<double>(std::exchange(total_, {})).count(); }

 private:
  bench::clock::time_point sent_;
  bench::clock::duration total_{};
};

template <class Ask>
void sleeping_round_trips(benchmark::State& state, one_way& timer, Ask ask) {
  int value = 0;
  for (auto _ : state) {
    timer.about_to_send();
    value = ask(value);
    timer.received();
    state.SetIterationTime(timer.take_seconds());
  }
  bench::check(state, value == static_cast<int>(state.iterations()), "a value was lost");
  bench::each(state);
}

// Where the two sides are, and what else goes on there.
enum class sides { one_loop, awake, asleep };

// --- weft ---

void channel_weft(benchmark::State& state, sides where, std::size_t capacity) {
  const auto body = [&] {
    weft::channel<int> to(capacity);
    weft::channel<int> from(capacity);
    one_way timer;
    std::atomic<bool> stop{false};
    const unsigned there = weft::loop_count() - 1;
    auto other = weft::spawn(weft::on_loop(there), [&] {
      for (const int v : to) {
        if (where == sides::asleep) {
          timer.received();
          timer.about_to_send();
        }
        from.send(v + 1);
      }
    });
    std::vector<weft::future<void>> busy;
    if (where == sides::awake)
      for (unsigned loop = 0; loop < 2; ++loop)
        busy.push_back(weft::spawn(weft::on_loop(loop), [&] {
          while (!stop.load(std::memory_order_relaxed)) weft::yield();
        }));

    const auto ask = [&](int v) {
      to.send(v);
      return from.recv();
    };
    if (where == sides::asleep)
      sleeping_round_trips(state, timer, ask);
    else
      round_trips(state, ask);
    stop = true;
    to.close();
    other.get();
    weft::gather(std::move(busy)).get();
  };
  if (where == sides::one_loop)
    bench::on_loops(1, body);
  else
    bench::on_two_cores(body);
}
WEFT_BENCH("channel_one_loop/weft/rendezvous", channel_weft, sides::one_loop, 0U);
WEFT_BENCH("channel_one_loop/weft", channel_weft, sides::one_loop, 1U);
WEFT_BENCH("channel_two_loops_awake/weft", channel_weft, sides::awake, 1U);
WEFT_BENCH_MANUAL("channel_two_loops_asleep/weft", channel_weft, sides::asleep, 1U);

// Nobody waits: the channel itself.
void channel_send_recv(benchmark::State& state) {
  bench::on_loops(1, [&] {
    weft::channel<int> ch(1);
    round_trips(state, [&](int v) {
      ch.send(v + 1);
      return ch.recv();
    });
  });
}
WEFT_BENCH("channel_without_wait/weft", channel_send_recv);

// --- Boost.Fiber ---

using boost_channel = boost::fibers::buffered_channel<int>;

void answer_boost(boost_channel& to, boost_channel& from, one_way* timer) {
  for (const int v : to) {
    if (timer) {
      timer->received();
      timer->about_to_send();
    }
    from.push(v + 1);
  }
}
void channel_boost_fiber(benchmark::State& state, sides where) {
  boost_channel to(2);
  boost_channel from(2);
  one_way timer;
  std::atomic<bool> stop{false};
  const auto spin = [&] {
    while (!stop.load(std::memory_order_relaxed)) boost::this_fiber::yield();
  };
  const auto ask = [&](int v) {
    to.push(v);
    return from.value_pop();
  };
  if (where == sides::one_loop) {
    boost::fibers::fiber other([&] { answer_boost(to, from, nullptr); });
    round_trips(state, ask);
    to.close();
    other.join();
    return;
  }
  std::thread other([&] {
    bench::pin(1);
    if (where == sides::awake) {
      boost::fibers::fiber busy(spin);
      answer_boost(to, from, nullptr);
      busy.join();
    } else {
      answer_boost(to, from, &timer);
    }
  });
  const bench::pinned here(0);
  if (where == sides::awake) {
    boost::fibers::fiber busy(spin);
    round_trips(state, ask);
    stop = true;
    busy.join();
  } else {
    sleeping_round_trips(state, timer, ask);
  }
  to.close();
  other.join();
}
WEFT_BENCH("channel_one_loop/boost_fiber", channel_boost_fiber, sides::one_loop);
WEFT_BENCH("channel_two_loops_awake/boost_fiber", channel_boost_fiber, sides::awake);
WEFT_BENCH_MANUAL("channel_two_loops_asleep/boost_fiber", channel_boost_fiber, sides::asleep);

void channel_without_wait_boost_fiber(benchmark::State& state) {
  boost_channel ch(2);
  round_trips(state, [&](int v) {
    ch.push(v + 1);
    return ch.value_pop();
  });
}
WEFT_BENCH("channel_without_wait/boost_fiber", channel_without_wait_boost_fiber);

// --- Asio's coroutines; the channel between threads is the one with a mutex ---

using asio_channel = asio::experimental::channel<void(asio::error_code, int)>;
using asio_shared_channel = asio::experimental::concurrent_channel<void(asio::error_code, int)>;

template <class Channel>
asio::awaitable<void> answer_asio(Channel& to, Channel& from, one_way* timer) {
  for (;;) {
    const int v = co_await to.async_receive(asio::use_awaitable);
    if (v < 0) co_return;
    if (timer) {
      timer->received();
      timer->about_to_send();
    }
    co_await from.async_send(asio::error_code(), v + 1, asio::use_awaitable);
  }
}
template <class Channel>
asio::awaitable<void> ask_asio(benchmark::State& state, Channel& to, Channel& from, one_way* timer,
                               std::atomic<bool>& stop) {
  int value = 0;
  for (auto _ : state) {
    if (timer) timer->about_to_send();
    co_await to.async_send(asio::error_code(), value, asio::use_awaitable);
    value = co_await from.async_receive(asio::use_awaitable);
    if (timer) {
      timer->received();
      state.SetIterationTime(timer->take_seconds());
    }
  }
  bench::check(state, value == static_cast<int>(state.iterations()), "a value was lost");
  bench::each(state);
  stop = true;
  co_await to.async_send(asio::error_code(), -1, asio::use_awaitable);
}
asio::awaitable<void> spin_asio(const std::atomic<bool>& stop) {
  const auto executor = co_await asio::this_coro::executor;
  while (!stop.load(std::memory_order_relaxed)) co_await asio::post(executor, asio::use_awaitable);
}

void channel_one_loop_asio(benchmark::State& state) {
  asio::io_context loop(1);
  asio_channel to(loop, 1);
  asio_channel from(loop, 1);
  std::atomic<bool> stop{false};
  asio::co_spawn(loop, answer_asio(to, from, nullptr), asio::detached);
  asio::co_spawn(loop, ask_asio(state, to, from, nullptr, stop), asio::detached);
  loop.run();
}
void channel_two_loops_asio(benchmark::State& state, sides where) {
  asio::io_context here(1);
  asio::io_context there(1);
  asio_shared_channel to(there, 1);
  asio_shared_channel from(here, 1);
  one_way timer;
  one_way* const measured = where == sides::asleep ? &timer : nullptr;
  std::atomic<bool> stop{false};
  asio::co_spawn(there, answer_asio(to, from, measured), asio::detached);
  asio::co_spawn(here, ask_asio(state, to, from, measured, stop), asio::detached);
  if (where == sides::awake) {
    asio::co_spawn(there, spin_asio(stop), asio::detached);
    asio::co_spawn(here, spin_asio(stop), asio::detached);
  }
  std::thread other([&] {
    bench::pin(1);
    there.run();
  });
  {
    const bench::pinned core(0);
    here.run();
  }
  other.join();
}
WEFT_BENCH("channel_one_loop/asio_awaitable", channel_one_loop_asio);
WEFT_BENCH("channel_two_loops_awake/asio_awaitable", channel_two_loops_asio, sides::awake);
WEFT_BENCH_MANUAL("channel_two_loops_asleep/asio_awaitable", channel_two_loops_asio, sides::asleep);

// --- threads: a slot, a mutex and a condition variable; awake, an atomic to spin on ---

class thread_slot {
 public:
  void send(int v) {
    {
      const std::lock_guard lock(mutex_);
      value_ = v;
    }
    filled_.notify_one();
  }
  int recv() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return value_.has_value(); });
    const int v = *value_;
    value_.reset();
    return v;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::optional<int> value_;
};

// The kernel alone: a word to sleep on.
class futex_slot {
 public:
  void send(int v) {
    value_.store(v, std::memory_order_release);
    ::syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  int recv() {
    for (;;) {
      const int v = value_.exchange(none, std::memory_order_acquire);
      if (v != none) return v;
      ::syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, none, nullptr, nullptr, 0);
    }
  }

 private:
  static constexpr int none = -2;
  alignas(64) std::atomic<int> value_{none};
};
// The same with what an event loop sleeps in.
class eventfd_slot {
 public:
  eventfd_slot() {
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &event);
  }
  ~eventfd_slot() {
    ::close(event_);
    ::close(epoll_);
  }
  eventfd_slot(const eventfd_slot&) = delete;
  eventfd_slot& operator=(const eventfd_slot&) = delete;

  void send(int v) {
    value_ = v;  // the system calls order it
    ::eventfd_write(event_, 1);
  }
  int recv() {
    epoll_event event{};
    while (::epoll_wait(epoll_, &event, 1, -1) != 1) {
    }
    eventfd_t count = 0;
    ::eventfd_read(event_, &count);
    return value_;
  }

 private:
  const int event_ = ::eventfd(0, EFD_CLOEXEC);
  const int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::atomic<int> value_{0};
};

template <class Slot>
void channel_asleep_threads(benchmark::State& state) {
  Slot to;
  Slot from;
  one_way timer;
  std::thread other([&] {
    bench::pin(1);
    for (int v; (v = to.recv()) >= 0;) {
      timer.received();
      timer.about_to_send();
      from.send(v + 1);
    }
  });
  {
    const bench::pinned core(0);
    sleeping_round_trips(state, timer, [&](int v) {
      to.send(v);
      return from.recv();
    });
  }
  to.send(-1);
  other.join();
}
WEFT_BENCH_MANUAL("channel_two_loops_asleep/std_thread", channel_asleep_threads<thread_slot>);
WEFT_BENCH_MANUAL("channel_two_loops_asleep/futex", channel_asleep_threads<futex_slot>);
WEFT_BENCH_MANUAL("channel_two_loops_asleep/eventfd", channel_asleep_threads<eventfd_slot>);

// So many cache lines change hands with a value; the last tells that the others have.
template <int Lines>
class spinning_slot {
 public:
  void send(int v) {
    for (int i = Lines - 1; i >= 0; --i) change(i, v);
  }
  int recv() {
    // With fewer cores than threads the other one must be let in.
    for (unsigned spins = 1;; ++spins) {
      const int v = lines_[0].value.load(std::memory_order_acquire);
      if (v != none) {
        for (int i = 0; i < Lines; ++i) change(i, none);
        return v;
      }
      if (spins % 4096 == 0) std::this_thread::yield();
    }
  }

 private:
  static constexpr int none = -2;
  struct alignas(128) line {  // a core fetches them in pairs
    std::atomic<int> value{none};
  };
  void change(int i, int v) {
    if (Lines == 1)
      lines_[static_cast<std::size_t>(i)].value.store(v, std::memory_order_release);
    else
      lines_[static_cast<std::size_t>(i)].value.exchange(v, std::memory_order_acq_rel);
  }
  std::array<line, Lines> lines_;
};
template <int Lines>
void channel_awake_threads(benchmark::State& state) {
  spinning_slot<Lines> to;
  spinning_slot<Lines> from;
  std::thread other([&] {
    bench::pin(1);
    for (int v; (v = to.recv()) >= 0;) from.send(v + 1);
  });
  const bench::pinned here(0);
  round_trips(state, [&](int v) {
    to.send(v);
    return from.recv();
  });
  to.send(-1);
  other.join();
}
WEFT_BENCH("channel_two_loops_awake/std_thread", channel_awake_threads<1>);
WEFT_BENCH("channel_two_loops_awake/cache_lines", channel_awake_threads<5>);

#if defined(WEFT_BENCH_STATE_THREADS)
// It has no channel: a slot and a condition variable.
class st_slot {
 public:
  void send(int v) {
    value_ = v;
    filled_.set();
  }
  int recv() {
    filled_.wait();
    return value_;
  }

 private:
  bench::st::signal filled_;
  int value_ = 0;
};
void channel_one_loop_state_threads(benchmark::State& state) {
  bench::check(state, bench::st::init(), "State Threads does not start");
  st_slot to;
  st_slot from;
  auto answer = [&] {
    for (int v; (v = to.recv()) >= 0;) from.send(v + 1);
  };
  st_thread_t const other = bench::st::start(answer);
  round_trips(state, [&](int v) {
    to.send(v);
    return from.recv();
  });
  to.send(-1);
  st_thread_join(other, nullptr);
}
WEFT_BENCH("channel_one_loop/state_threads", channel_one_loop_state_threads);
#endif

}  // namespace
