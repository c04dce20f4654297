#include "timer_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace weft::detail::timer_queue_test {
namespace {

using namespace std::chrono_literals;

struct noted : timer {
  noted(std::vector<int>& l, int i) : log(l), id(i) {
    expired = [](timer& t) noexcept {
      auto& self = static_cast<noted&>(t);
      self.log.push_back(self.id);
    };
  }
  std::vector<int>& log;
  int id;
};

TEST(TimerQueue, FiresInOrderOfTimeAndThenOfArming) {
  timer_queue q;
  std::vector<int> log;
  noted a(log, 1), b(log, 2), c(log, 3), d(log, 4);
  const clock::time_point t0{};
  q.add(a, t0 + 5s);
  q.add(b, t0 + 3s);
  q.add(c, t0 + 5s);
  q.add(d, t0 + 1s);
  EXPECT_EQ(q.earliest(), t0 + 1s);
  q.fire(t0 + 4s);
  EXPECT_EQ(log, (std::vector{4, 2}));
  EXPECT_FALSE(d.armed());
  q.fire(t0 + 5s);
  EXPECT_EQ(log, (std::vector{4, 2, 1, 3}));
  EXPECT_EQ(q.earliest(), clock::time_point::max());
}

TEST(TimerQueue, AgreesWithASortedListUnderRandomAddsAndRemoves) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    timer_queue q;
    std::vector<int> log;
    std::vector<std::unique_ptr<noted>> timers;
    std::vector<std::pair<clock::time_point, int>> expected;
    for (int i = 0; i < 200; ++i) {
      timers.push_back(std::make_unique<noted>(log, i));
      const clock::time_point when(std::chrono::nanoseconds(random() % 100));
      q.add(*timers.back(), when);
      expected.emplace_back(when, i);
      if (random() % 3 == 0) {
        const auto victim = random() % timers.size();
        q.remove(*timers[victim]);
        EXPECT_FALSE(timers[victim]->armed());
        std::erase_if(expected, [&](const auto& e) { return e.second == static_cast<int>(victim); });
      }
    }
    std::stable_sort(expected.begin(), expected.end());
    EXPECT_EQ(q.size(), expected.size());
    q.fire(clock::time_point(1s));
    ASSERT_EQ(log.size(), expected.size());
    for (std::size_t i = 0; i < log.size(); ++i) EXPECT_EQ(log[i], expected[i].second);
    EXPECT_TRUE(q.empty());
  }
}

}  // namespace
}  // namespace weft::detail::timer_queue_test
