#include "weft/await.hpp"

#if !defined(WEFT_CPU_POOL_STANDIN)
#include <oneapi/tbb/parallel_for.h>
#endif

#include <atomic>
#include <coroutine>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::await_test {
namespace {

// A lazy task as other libraries have it: knows nothing of weft, goes on by symmetric transfer.
template <class T>
class foreign_task {
 public:
  struct promise_type {
    foreign_task get_return_object() { return foreign_task(*this); }
    std::suspend_always initial_suspend() { return {}; }
    auto final_suspend() noexcept {
      struct back {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
          return h.promise().caller;
        }
        void await_resume() noexcept {}
      };
      return back{};
    }
    void return_value(T v) { value = std::move(v); }
    void unhandled_exception() { error = std::current_exception(); }

    std::coroutine_handle<> caller = std::noop_coroutine();
    T value{};
    std::exception_ptr error;
  };

  foreign_task(foreign_task&& other) noexcept : promise_(std::exchange(other.promise_, nullptr)) {}
  ~foreign_task() {
    if (promise_) handle().destroy();
  }

  auto operator co_await() && {
    struct awaiter {
      foreign_task& task;
      bool await_ready() { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
        task.promise_->caller = h;
        return task.handle();
      }
      T await_resume() {
        if (task.promise_->error) std::rethrow_exception(task.promise_->error);
        return std::move(task.promise_->value);
      }
    };
    return awaiter{*this};
  }

 private:
  explicit foreign_task(promise_type& p) : promise_(&p) {}
  std::coroutine_handle<promise_type> handle() { return std::coroutine_handle<promise_type>::from_promise(*promise_); }
  promise_type* promise_;
};

// Resumes who awaits it when told to; an awaiter without an operator.
struct gate {
  std::coroutine_handle<> who;
  int value = 0;
  bool begun = false;

  bool await_ready() const { return value != 0; }
  void await_suspend(std::coroutine_handle<> h) {
    who = h;
    begun = true;
  }
  int await_resume() const {
    if (value < 0) throw std::runtime_error("negative");
    return value;
  }
  void open(int v) {
    value = v;
    std::exchange(who, {}).resume();
  }
};

// Awaited through a free operator; each way await_suspend can answer.
struct odd {
  int how;
};
struct odd_awaiter {
  int how;
  bool await_ready() const { return how == 0; }
  bool await_suspend(std::coroutine_handle<> h) const {
    if (how == 1) return false;
    if (how == 3) throw std::runtime_error("cannot suspend");
    h.resume();  // before it has come back
    return true;
  }
  std::string await_resume() const { return "odd " + std::to_string(how); }
};
odd_awaiter operator co_await(odd o) { return {o.how}; }

// Resumes on a thread of its own.
struct elsewhere {
  std::vector<std::jthread>& threads;
  std::mutex& mutex;
  std::thread::id where;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    const std::lock_guard lock(mutex);
    threads.emplace_back([this, h] {
      where = std::this_thread::get_id();
      h.resume();
    });
  }
  std::thread::id await_resume() const { return where; }
};

class Await : public OnLoops {};
WEFT_ON_LOOPS(Await);

foreign_task<int> add(int a, int b) { co_return a + b; }
foreign_task<int> twice(int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await add(i, i);
  co_return sum;
}
foreign_task<int> fails() {
  throw std::runtime_error("foreign");
  co_return 1;
}

void await_everything() {
  EXPECT_EQ(await(twice(10)), 90);
  EXPECT_THROW(await(fails()), std::runtime_error);
  for (int how : {0, 1, 2}) EXPECT_EQ(await(odd{how}), "odd " + std::to_string(how));
  EXPECT_THROW(await(odd{3}), std::runtime_error);
  gate g;
  g.value = 4;
  EXPECT_EQ(await(g), 4) << "a ready one is not waited for";
  static_assert(std::is_void_v<decltype(await(std::suspend_never()))>);
  await(std::suspend_never());
}

TEST(AwaitAnything, GivesWhatCoAwaitWouldGiveInEveryKindOfTask) {
  simulate([] {
    await_everything();
    spawn_cpu(await_everything).get();
    spawn_blocking(await_everything).get();
  });
  await_everything();  // a plain thread needs no runtime
}

TEST_P(Await, GivesWhatCoAwaitWouldGiveForReal) {
  run([] {
    await_everything();
    spawn_cpu(await_everything).get();
    spawn_blocking(await_everything).get();
  });
}

TEST(AwaitAnything, IsGetForWhatIsWefts) {
  simulate([] {
    const auto f = spawn([] { return 5; });
    static_assert(std::is_same_v<decltype(await(f)), const int&>);
    EXPECT_EQ(&await(f), &f.get());
    EXPECT_EQ(*await(spawn([] { return std::make_unique<int>(6); })), 6);
    EXPECT_EQ(await(lazy([] { return 7; })), 7);
    EXPECT_THROW(await(future<int>()), no_state);
    EXPECT_EQ(time_of([] { EXPECT_FALSE(move_on_after(1s, [] { await(spawn([] { sleep_for(9s); })); })); }), 1s)
        << "an owned future is cancelled with the wait";
  });
}

TEST(AwaitAnything, WaitsUntilSomebodyResumes) {
  simulate([] {
    const auto body = [] {
      gate a;
      gate b;
      auto opener = spawn(anywhere, [&] {
        sleep_for(1s);
        spawn_cpu([&] { a.open(2); }).get();
        sleep_for(1s);
        b.open(-1);
      });
      EXPECT_EQ(time_of([&] { EXPECT_EQ(await(a), 2); }) / 1s, 1);
      EXPECT_THROW(await(b), std::runtime_error);
      opener.get();
    };
    body();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

TEST(AwaitAnything, RunsWhatBeginsAtOnceInTheCallerWhereItMayWait) {
  simulate([] {
    const auto sleeps = []() -> foreign_task<int> {
      sleep_for(1s);
      co_return spawn([] {
        sleep_for(1s);
        return 3;
      }).get();
    };
    EXPECT_EQ(time_of([&] { EXPECT_EQ(await(sleeps()), 3); }), 2s);
  });
}

TEST(AwaitAnything, DoesNotBeginWhenCancelled) {
  simulate([] {
    gate g;
    auto f = spawn([&] {
      try {
        sleep_for(10s);
      } catch (const cancelled&) {
      }
      await(g);
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    EXPECT_FALSE(g.begun);
  });
}

TEST(AwaitAnything, OfAStrangerIsDeafUntilItHasEndedAndThenThrows) {
  simulate([] {
    for (const bool cpu : {false, true}) {
      gate g;
      bool gave = false;
      const auto body = [&] {
        await(g);
        gave = true;
      };
      auto f = cpu ? spawn_cpu(body) : spawn(body);
      sleep_for(1s);
      f.cancel();
      EXPECT_FALSE(f.wait_for(10s)) << "what has begun is not abandoned";
      g.open(1);
      EXPECT_THROW(f.get(), cancelled);
      EXPECT_FALSE(gave);
    }
  });
}

TEST(AwaitAnything, InAShieldKeepsWhatAStrangerGave) {
  simulate([] {
    gate g;
    int got = 0;
    auto f = spawn([&] {
      got = shield([&] { return await(g); });
      checkpoint();
    });
    sleep_for(1s);
    f.cancel();
    sleep_for(1s);
    g.open(5);
    EXPECT_THROW(f.get(), cancelled);
    EXPECT_EQ(got, 5);
  });
}

TEST(AwaitAnything, IsCancelledOnlyWhereNothingIsLost) {
  expect_cancel_safe([](cancel_probe& probe) {
    gate g;
    auto work = spawn([] {
      sleep_for(1ms);
      return 7;
    });
    auto opener = spawn([&] {
      while (!g.begun) {
        if (g.value != 0) return;
        sleep_for(1ms);
      }
      g.open(1);
    });
    probe.cancelled_task([&] {
      EXPECT_EQ(await(work), 7);
      EXPECT_EQ(await(twice(3)), 6);
      await(g);
    });
    g.value = 1;  // if the task did not come so far
    probe.check([&] { return opener.ready() && await(work) == 7; });
  });
}

#if !defined(WEFT_CPU_POOL_STANDIN)
TEST_P(Await, OfAStrangerInTheBodyOfAnAlgorithmIsAnErrorBeforeItBegins) {
  run([] {
    spawn_cpu([] {
      std::atomic<int> refused{0};
      tbb::parallel_for(0, 10, [&](int) {
        gate g;
        try {
          await(g);
        } catch (const wait_in_algorithm&) {
          if (!g.begun) ++refused;
        }
      });
      EXPECT_EQ(refused, 10);
    }).get();
  });
}
#endif

TEST_P(Await, IsResumedByForeignThreads) {
  run([] {
    std::mutex mutex;
    std::vector<std::jthread> threads;
    const auto body = [&] {
      for (int i = 0; i < 5; ++i) EXPECT_NE(await(elsewhere{threads, mutex, {}}), std::thread::id());
    };
    std::vector<future<void>> all;
    for (int i = 0; i < 4; ++i) {
      all.push_back(spawn(anywhere, body));
      all.push_back(spawn_cpu(body));
      all.push_back(spawn_blocking(body));
    }
    gather(std::move(all)).get();
  });
}

}  // namespace
}  // namespace weft::testing::await_test
