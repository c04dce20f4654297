// Exceptions over switches, stacks, and what a fiber keeps over a wait.

#include "fiber.hpp"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cfenv>
#include <csignal>
#include <cstring>
#include <exception>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::fiber_test {
namespace {

class Fiber : public OnLoops {};
WEFT_ON_LOOPS(Fiber);

// Each kind of agent runs the same body.
template <class F>
void everywhere(F body) {
  std::vector<future<void>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(spawn(body));
    all.push_back(spawn(anywhere, body));
    all.push_back(spawn_cpu(body));
    all.push_back(spawn_blocking(body));
  }
  for (auto& f : all) f.get();
}

TEST_P(Fiber, WaitsInsideACatchBlockAndRethrowsWhatItCaught) {
  run([] {
    everywhere([] {
      const std::string mine = "mine " + std::to_string(reinterpret_cast<std::uintptr_t>(&mine));
      try {
        try {
          throw std::runtime_error(mine);
        } catch (const std::runtime_error& e) {
          yield();
          sleep_for(1ms);
          spawn([] {
            try {
              throw std::logic_error("somebody else's");
            } catch (...) {
              yield();
            }
          }).get();
          EXPECT_EQ(e.what(), mine);
          throw;
        }
      } catch (const std::runtime_error& e) {
        EXPECT_EQ(e.what(), mine);
      }
    });
  });
}

TEST_P(Fiber, KeepsNestedExceptionsApart) {
  run([] {
    everywhere([] {
      try {
        throw 1;
      } catch (int outer) {
        yield();
        try {
          throw 2;
        } catch (int inner) {
          sleep_for(100us);
          EXPECT_EQ(inner, 2);
          try {
            throw;
          } catch (int again) {
            EXPECT_EQ(again, 2);
          }
        }
        yield();
        try {
          throw;
        } catch (int again) {
          EXPECT_EQ(again, outer);
        }
      }
      EXPECT_EQ(std::current_exception(), nullptr);
    });
  });
}

TEST_P(Fiber, CountsItsOwnExceptionsInFlight) {
  struct waits_in_destructor {
    int expected;
    ~waits_in_destructor() {
      EXPECT_EQ(std::uncaught_exceptions(), expected);
      yield();
      sleep_for(100us);
      EXPECT_EQ(std::uncaught_exceptions(), expected);
    }
  };
  run([] {
    everywhere([] {
      EXPECT_EQ(std::uncaught_exceptions(), 0);
      try {
        const waits_in_destructor w{1};
        throw 1;
      } catch (int) {
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        const waits_in_destructor w{0};
      }
    });
  });
}

TEST_P(Fiber, TakesAnExceptionFromACpuTaskAndABlockingCall) {
  run([] {
    std::exception_ptr a;
    std::exception_ptr b;
    try {
      spawn_cpu([] { throw std::out_of_range("cpu"); }).get();
    } catch (...) {
      a = std::current_exception();
      yield();
    }
    try {
      spawn_blocking([] { throw std::length_error("blocking"); }).get();
    } catch (...) {
      b = std::current_exception();
      yield();
    }
    EXPECT_THROW(std::rethrow_exception(a), std::out_of_range);
    EXPECT_THROW(std::rethrow_exception(b), std::length_error);
  });
}

// Waits that jump from within the program's own code, each from a place of its own, with as much in registers as there
// is room for.
template <int Place>
double computes(channel<int>& from, channel<int>& to, int rounds) {
  double a = Place + 1, b = 2, c = 3, d = 4, e = 5, f = 6;
  std::uint64_t u = Place + 7, v = 8, w = 9, x = 10, y = 11;
  for (int i = 0; i < rounds; ++i) {
    const int got = from.recv();
    a += got * 0.5, b += a, c -= b, d += c * 0.25, e -= d, f += e * 0.125;
    u = u * 31 + static_cast<std::uint64_t>(got), v ^= u, w += v, x = x * 7 + w, y ^= x;
    if (Place % 2 == 0) yield();
    a += static_cast<double>(y % 3), u ^= static_cast<std::uint64_t>(Place);
    to.send(got + 1);
    if (Place % 3 == 0) checkpoint();
  }
  return a + b + c + d + e + f + static_cast<double>((u ^ v ^ w ^ x ^ y) % 1000);
}

template <int... Place>
std::array<double, sizeof...(Place)> side_by_side(std::integer_sequence<int, Place...>) {
  constexpr std::size_t n = sizeof...(Place);
  constexpr int rounds = 200;
  std::array<std::optional<channel<int>>, n> ring;
  for (auto& c : ring) c.emplace(1);
  std::array<future<double>, n> all{
      spawn([&ring] { return computes<Place>(*ring[Place], *ring[(Place + 1) % n], rounds); })...};
  ring[0]->send(0);
  std::array<double, n> results;
  for (std::size_t i = 0; i < n; ++i) results[i] = all[i].get();
  return results;
}

// The same values come, and nobody else runs in between.
template <int... Place>
std::array<double, sizeof...(Place)> one_by_one(std::integer_sequence<int, Place...>) {
  constexpr int n = sizeof...(Place);
  constexpr int rounds = 200;
  const auto alone = [](auto body, int place) {
    channel<int> from(rounds);
    channel<int> to(rounds);
    for (int i = 0; i < rounds; ++i) from.send(place + i * n);
    return body(from, to, rounds);
  };
  return {alone(&computes<Place>, Place)...};
}

TEST_P(Fiber, KeepsWhatIsInRegistersWhereverItWaits) {
  run([] {
    constexpr auto places = std::make_integer_sequence<int, 6>();
    EXPECT_EQ(side_by_side(places), one_by_one(places));
  });
}

TEST_P(Fiber, StaysOnItsThreadForLife) {
  run([] {
    std::vector<future<void>> all;
    for (int i = 0; i < 200; ++i)
      all.push_back(spawn(anywhere, [] {
        const auto thread = std::this_thread::get_id();
        const auto loop = this_loop();
        thread_local int mine = 0;
        const int* address = &mine;
        errno = static_cast<int>(loop) + 1;
        for (int k = 0; k < 10; ++k) {
          yield();
          EXPECT_EQ(std::this_thread::get_id(), thread);
          EXPECT_EQ(this_loop(), loop);
          EXPECT_EQ(&mine, address);
        }
        sleep_for(100us);
        EXPECT_EQ(std::this_thread::get_id(), thread);
      }));
    for (auto& f : all) f.get();
  });
}

TEST_P(Fiber, OfOneLoopRunOneAtATime) {
  run([] {
    int counter = 0;  // no lock: the fibers of one loop share a thread
    std::vector<future<void>> all;
    for (int i = 0; i < 100; ++i)
      all.push_back(spawn([&] {
        for (int k = 0; k < 100; ++k) {
          ++counter;
          yield();
        }
      }));
    for (auto& f : all) f.get();
    EXPECT_EQ(counter, 10'000);
  });
}

TEST_P(Fiber, GetsTheStackItAsksFor) {
  run([] {
    const auto use = [](std::size_t bytes) {
      return [bytes] {
        auto* const memory = static_cast<volatile char*>(__builtin_alloca(bytes));
        for (std::size_t i = 0; i < bytes; i += 1024) memory[i] = 1;
        yield();
        return memory[0] == 1;
      };
    };
    std::vector<future<bool>> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(spawn({.stack_size = 4 << 20}, use(3 << 20)));
      all.push_back(spawn({.stack_size = min_stack_size * 2}, use(4096)));
      all.push_back(spawn(use(100 << 10)));
    }
    for (auto& f : all) EXPECT_TRUE(f.get());
    EXPECT_THROW((void)spawn({.stack_size = 1000}, [] {}), std::invalid_argument);
    EXPECT_THROW((void)spawn({.stack_size = max_stack_size + 1}, [] {}), std::invalid_argument);
  });
}

// All of it: the memory that malloc gave for the record, malloc's header, and the handle.
template <class F>
std::size_t memory_of_a_task(F body) {
  std::vector<future<std::invoke_result_t<F>>> all;
  std::size_t least = std::numeric_limits<std::size_t>::max();  // what was left of a free block may be more
  for (int i = 0; i < 100; ++i) {
    all.push_back(spawn(body));
    void* const record = dynamic_cast<void*>(detail::future_access::state(all.back()));
    least = std::min(least, malloc_usable_size(record) + sizeof(void*) + sizeof(all.back()));
  }
  for (auto& f : all) f.get();
  return least;
}

TEST_P(Fiber, HasARecordOfAtMost256BytesUntilItStarts) {
  run([] {
    int ran = 0;
    EXPECT_LE(memory_of_a_task([] {}), 256U);
    EXPECT_LE(memory_of_a_task([&ran] { ++ran; }), 256U);
    EXPECT_LE(memory_of_a_task([&ran] { return ++ran; }), 256U);
    EXPECT_EQ(ran, 200);
  });
}

TEST(FiberStacks, AreReusedByTasksThatComeLater) {
  weft::run(
      [] {
        for (int i = 0; i < 10'000; ++i) spawn([] { yield(); }).get();
        EXPECT_LT(get_statistics().loops[0].stacks, 10U);
        std::vector<future<void>> all;
        for (int i = 0; i < 10'000; ++i) all.push_back(spawn([] {}));
        for (auto& f : all) f.get();
        EXPECT_LT(get_statistics().loops[0].stacks, 10U) << "a task that does not wait hands its stack on";
      },
      {.loops = 1});
}

TEST(FiberStacks, ThatRunOutFailTheTaskAndSayWhy) {
  weft::run(
      [] {
        promise<void> go;
        std::vector<future<void>> all;
        for (int i = 0; i < 20; ++i) all.push_back(spawn([f = go.get_future()] { f.get(); }));
        yield();
        go.set_value();
        int failed = 0;
        for (auto& f : all) try {
            f.get();
          } catch (const out_of_stacks& e) {
            EXPECT_NE(std::string(e.what()).find("max_stacks"), std::string::npos);
            ++failed;
          }
        EXPECT_EQ(failed, 11) << "main and nine others have the ten stacks";
      },
      {.loops = 1, .max_stacks = 10});
}

// Tasks are refused on whichever stack was being left. Their closures end there, and must not wait as its fiber.
TEST(FiberStacks, ThatRunOutLeaveADestructorNowhereToWait) {
  struct waits_at_its_end {
    explicit waits_at_its_end(int& h, int& r) : here(&h), refused(&r) {}
    waits_at_its_end(waits_at_its_end&& other) noexcept
        : here(std::exchange(other.here, nullptr)), refused(other.refused) {}
    waits_at_its_end& operator=(waits_at_its_end&&) = delete;
    ~waits_at_its_end() {
      if (!here) return;
      try {
        sleep_for(1ms);
        ++*here;
      } catch (const bad_wait&) {
        ++*refused;
      }
    }
    void operator()() const {}
    int* here;
    int* refused;
  };
  weft::run(
      [] {
        promise<void> go;
        std::vector<future<void>> holders;
        for (int i = 0; i < 9; ++i) holders.push_back(spawn([f = go.get_future()] { f.get(); }));
        yield();
        int waited = 0;
        int refused = 0;
        std::vector<future<void>> all;
        for (int i = 0; i < 5; ++i) all.push_back(spawn(waits_at_its_end(waited, refused)));
        yield();
        go.set_value();
        for (auto& f : holders) f.get();
        for (auto& f : all) EXPECT_THROW(f.get(), out_of_stacks);
        EXPECT_EQ(refused, 5);
        EXPECT_EQ(waited, 0);
        auto last = spawn(waits_at_its_end(waited, refused));
        last.get();
        last = {};
        EXPECT_EQ(waited, 1);
      },
      {.loops = 1, .max_stacks = 10});
}

TEST(FloatingPoint, OfATaskThatWaitsIsThatOfItsThread) {
#ifdef NDEBUG
  GTEST_SKIP() << "a debug build looks for it";
#else
  const auto rounding_up = [](auto f) {
    std::fenv_t before;
    std::fegetenv(&before);
    std::fesetround(FE_UPWARD);
    f();
    std::fesetenv(&before);
  };
  const auto careless = [&] {
    std::string said;
    rounding_up([&] {
      try {
        sleep_for(1ms);
      } catch (const bad_wait& e) {
        said = e.what();
      }
    });
    rounding_up([] {});
    sleep_for(1ms);
    return said;
  };
  weft::run([&] {
    for (auto& task : {spawn({.name = "careless"}, careless), spawn_cpu({.name = "careless"}, careless)}) {
      EXPECT_EQ(task.get().find("task \"careless\""), 0U) << task.get();
      EXPECT_NE(task.get().find("fiber_test.cpp"), std::string::npos) << task.get();
    }
  });
#endif
}

[[gnu::noinline]] int overflow(int n) {
  volatile char fill[1024];
  fill[0] = static_cast<char>(n);
  return n == 0 ? 0 : overflow(n + 1) + fill[0];
}

TEST(FiberStackOverflowDeathTest, NamesTheTaskItsSpawnSiteAndItsStack) {
#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
  GTEST_SKIP() << "the sanitizer reports it first";
#endif
  EXPECT_DEATH(weft::run([] { spawn({.name = "deep"}, [] { overflow(1); }).get(); }),
               "stack overflow in task \"deep\" \\(#[0-9]+\\), spawned at .*fiber_test.cpp:[0-9]+, 256 KiB");
  EXPECT_DEATH(weft::run([] { spawn_cpu({.name = "deep cpu"}, [] { overflow(1); }).get(); }),
               "stack overflow in task \"deep cpu\".*1024 KiB");
  EXPECT_EXIT(weft::run([] { spawn([] { overflow(1); }).get(); }), ::testing::KilledBySignal(SIGSEGV), "");
}

}  // namespace
}  // namespace weft::testing::fiber_test
