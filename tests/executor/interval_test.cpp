#include "weft/interval.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::interval_test {
namespace {

class Ticks : public OnLoops {};
WEFT_ON_LOOPS(Ticks);

using times = std::vector<std::chrono::milliseconds>;

// When each tick was taken, in ms from the start; after tick i the work takes work[i].
times taken(interval& ticks, const times& work) {
  const auto start = clock::now();
  times all;
  for (const auto w : work) {
    ticks.tick();
    all.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - start));
    sleep_for(w);
  }
  return all;
}

TEST(Interval, TicksAtOnceAndThenAPeriodApartHoweverLongTheWorkTakes) {
  simulate([] {
    for (const auto missed : {missed_tick::burst, missed_tick::delay, missed_tick::skip}) {
      interval ticks(100ms, missed);
      EXPECT_EQ(ticks.period(), 100ms);
      EXPECT_EQ(taken(ticks, {30ms, 99ms, 0ms, 100ms, 50ms}), (times{0ms, 100ms, 200ms, 300ms, 400ms}));
    }
  });
}

TEST(Interval, WorksInEveryKindOfTask) {
  simulate([] {
    const auto body = [] {
      interval ticks(100ms);
      EXPECT_EQ(taken(ticks, {30ms, 99ms, 0ms}), (times{0ms, 100ms, 200ms}));
    };
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

TEST(Interval, ThatBurstsCatchesUp) {
  simulate([] {
    interval ticks(100ms);
    EXPECT_EQ(taken(ticks, {350ms, 0ms, 0ms, 0ms, 0ms, 0ms}), (times{0ms, 350ms, 350ms, 350ms, 400ms, 500ms}));
  });
}

TEST(Interval, ThatDelaysStartsAnewFromTheLateTick) {
  simulate([] {
    interval ticks(100ms, missed_tick::delay);
    EXPECT_EQ(taken(ticks, {350ms, 0ms, 0ms, 20ms}), (times{0ms, 350ms, 450ms, 550ms}));
  });
}

TEST(Interval, ThatDelaysDoesNotAddUpWhatATimerIsLate) {
  simulate([] {
    interval ticks(100ms, missed_tick::delay);
    EXPECT_EQ(taken(ticks, {103ms, 99ms, 0ms}), (times{0ms, 103ms, 202ms}));
  });
  simulate([] {
    interval ticks(1ms, missed_tick::delay);
    EXPECT_EQ(taken(ticks, {4ms, 0ms, 0ms}), (times{0ms, 4ms, 5ms})) << "it does not burst for short periods either";
  });
}

TEST(Interval, ThatSkipsKeepsToTheMultiplesOfItsPeriod) {
  simulate([] {
    interval ticks(100ms, missed_tick::skip);
    EXPECT_EQ(taken(ticks, {350ms, 0ms, 0ms}), (times{0ms, 350ms, 400ms}));
    interval exact(100ms, missed_tick::skip);
    EXPECT_EQ(taken(exact, {300ms, 0ms, 0ms}), (times{0ms, 300ms, 400ms}));
  });
}

TEST(Interval, SaysWhenTheTickWasDue) {
  simulate([] {
    const auto start = clock::now();
    interval ticks(100ms);
    EXPECT_EQ(ticks.tick(), start);
    sleep_for(350ms);
    EXPECT_EQ(ticks.tick(), start + 100ms);
    EXPECT_EQ(ticks.tick(), start + 200ms);
  });
}

TEST(Interval, IsResetToAPeriodFromNow) {
  simulate([] {
    interval ticks(100ms);
    ticks.reset();
    EXPECT_EQ(taken(ticks, {250ms}), times{100ms});
    ticks.reset();
    EXPECT_EQ(taken(ticks, {0ms, 0ms}), (times{100ms, 200ms})) << "what was missed is forgotten";
  });
}

TEST(Interval, RefusesAPeriodThatIsNotPositive) {
  EXPECT_THROW(interval(0ms), std::invalid_argument);
  EXPECT_THROW(interval(-1ns), std::invalid_argument);
}

TEST(Interval, MayHaveAPeriodThatNeverEnds) {
  simulate([] {
    interval ticks(clock::duration::max(), missed_tick::skip);
    ticks.tick();
    EXPECT_FALSE(move_on_after(std::chrono::hours(24 * 365), [&] { ticks.tick(); }));
  });
}

TEST(Interval, LosesNoTickWhenItIsCancelled) {
  expect_cancel_safe([](cancel_probe& probe) {
    const auto start = clock::now();
    interval ticks(100ms);
    int taken = 0;
    probe.cancelled_task([&] {
      for (int i = 0; i < 3; ++i) {
        ticks.tick();
        ++taken;
      }
    });
    probe.check([&] { return ticks.tick() == start + taken * 100ms; });
  });
}

TEST_P(Ticks, ComeForReal) {
  run([] {
    std::atomic<int> all{0};
    const auto body = [&] {
      interval ticks(1ms);
      const auto first = ticks.tick();
      for (int i = 1; i <= 5; ++i) {
        EXPECT_EQ(ticks.tick(), first + i * 1ms);
        EXPECT_GE(clock::now(), first + i * 1ms);
        ++all;
      }
    };
    gather(spawn(body), spawn(anywhere, body), spawn_cpu(body), spawn_blocking(body)).get();
    EXPECT_EQ(all, 20);
  });
}

}  // namespace
}  // namespace weft::testing::interval_test
