#include "late_clock.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <utility>

#include "weft/deadline.hpp"
#include "weft_test.hpp"

namespace weft::testing::late_clock_test {
namespace {

using detail::late_clock;
using nanoseconds = std::chrono::nanoseconds;

// A machine whose counter and clock do what a test says. A look at either takes its time.
struct machine {
  double counts = 1e12;   // of the counter, which is 2.6 GHz by the true time
  double clock_ns = 5e9;  // what the clock shows
  double clock_runs = 1;  // how fast that is
  double preempted_ns = 0;
  std::uint64_t looks = 0;
  late_clock late;

  void pass(double ns) {
    counts += ns * 2.6;
    clock_ns += ns * clock_runs;
  }
  [[nodiscard]] clock::time_point time() const {
    return clock::time_point(nanoseconds(static_cast<std::int64_t>(clock_ns)));
  }
  clock::time_point read() {
    return late.now(
        [&] {
          pass(8);
          return static_cast<std::uint64_t>(counts);
        },
        [&] {
          ++looks;
          pass(std::exchange(preempted_ns, 0));
          pass(20);
          return time();
        });
  }
  // How much later than the clock it says it is.
  double late_ns() {
    const auto said = read();
    return static_cast<double>(said.time_since_epoch().count()) - clock_ns;
  }
  void expect_late() {
    const double by = late_ns();
    EXPECT_GE(by, -30);  // the look at the clock came before the end of the call
    EXPECT_LE(by, static_cast<double>(late_clock::most_late.count()));
  }
  void learn() {
    for (int i = 0; i < 200; ++i) {
      pass(1e6);
      expect_late();
    }
  }
};

TEST(LateClock, IsNeverEarlierThanTheClockThoughThatRunsFasterOrSlower) {
  for (const double runs : {1.0, 1.0005, 0.9995}) {
    machine m;
    m.learn();
    m.clock_runs = runs;  // from now on
    std::mt19937 random(7);
    for (int i = 0; i < 20'000; ++i) {
      m.pass(std::exponential_distribution<double>(1e-5)(random));
      m.expect_late();
    }
  }
}

TEST(LateClock, AsksTheClockOnceAMillisecondOnceItKnowsTheCounter) {
  machine m;
  m.learn();
  m.looks = 0;
  for (int i = 0; i < 10'000; ++i) {
    m.pass(1000);
    m.expect_late();
  }
  EXPECT_GE(m.looks, 9U);
  EXPECT_LE(m.looks, 12U);
}

TEST(LateClock, IsNotMisledByBeingPreemptedBetweenTheTwo) {
  machine m;
  for (int i = 0; i < 50; ++i) m.learn();  // so long that the rate does not show it
  m.pass(2e6);
  m.preempted_ns = 5e5;
  m.expect_late();
  for (int i = 0; i < 100; ++i) {
    m.pass(1e4);
    m.expect_late();
  }
}

// By more than a window. (By less, the kernel's clock would have gone back with it.)
TEST(LateClock, LearnsAnewWhenTheCounterGoesBack) {
  machine m;
  m.learn();
  for (const double by : {1e8, 1e12}) {
    m.counts -= by;
    for (int i = 0; i < 300; ++i) {
      m.pass(5e5);
      m.expect_late();
    }
  }
}

TEST(LateClock, LearnsAnewWhenTheCounterWentOnWithoutTheClock) {
  machine m;
  m.learn();
  m.counts += 2.6e9 * 60;
  for (int i = 0; i < 300; ++i) {
    m.pass(5e5);
    m.expect_late();
  }
}

TEST(LateClock, OfThisMachineIsNeverEarlierThanItsClock) {
  if (!detail::core_counter_is_the_clock()) GTEST_SKIP() << "the kernel's clock is made of something else";
  late_clock late;
  const auto read = [&] { return late.now([] { return detail::core_counter(); }, [] { return clock::now(); }); };
  for (const auto end = clock::now() + std::chrono::milliseconds(200); clock::now() < end;) {
    const auto before = clock::now();
    const auto said = read();
    const auto after = clock::now();
    ASSERT_GE(said, before);
    ASSERT_LE(said, after + late_clock::most_late);
  }
}

TEST(LateClock, DeadlinesOfARuntimeAreNotEarly) {
  run([] {
    for (const auto end = clock::now() + std::chrono::milliseconds(200); clock::now() < end;) {
      const auto before = clock::now();
      const deadline until = deadline::after(std::chrono::seconds(1));
      ASSERT_GE(until.when(), before + std::chrono::seconds(1));
      ASSERT_TRUE(deadline::after(std::chrono::seconds(0)).passed());
      yield();
    }
  });
}

TEST(Deadline, AfterANegativeDurationHasPassedHoweverLongThatIs) {
  EXPECT_TRUE(deadline::after(-1ns).passed());
  EXPECT_TRUE(deadline::after(-10'000'000'000s).passed());
  EXPECT_TRUE(deadline::after(std::chrono::hours::min()).passed());
  EXPECT_TRUE(deadline::after(std::chrono::duration<double>(-1e300)).passed());
}

}  // namespace
}  // namespace weft::testing::late_clock_test
