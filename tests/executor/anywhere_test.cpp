// spawn(anywhere): who starts such tasks, and when.

#include <atomic>
#include <functional>
#include <numeric>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::anywhere_test {
namespace {

class Anywhere : public OnLoops {};
WEFT_ON_LOOPS(Anywhere);

config one_loop() {
  config c{.loops = 1};
  c.stall_after = std::chrono::nanoseconds(0);
  return c;
}

long sum_of_leaves(long first, long count) {
  if (count == 1) return first;
  std::vector<future<long>> parts;
  for (long part = count / 10, at = first; at < first + count; at += part)
    parts.push_back(spawn(anywhere, [=] { return sum_of_leaves(at, part); }));
  return std::accumulate(parts.begin(), parts.end(), 0L, [](long sum, future<long>& f) { return sum + f.get(); });
}

TEST_P(Anywhere, EachTaskOfATreeRunsOnce) {
  run([] {
    for (int round = 0; round < 5; ++round) EXPECT_EQ(sum_of_leaves(0, 10'000), 10'000L * 9'999 / 2);
  });
}

TEST_P(Anywhere, MoreThanALoopKeepsForItselfAllRun) {
  run([] {
    std::atomic<int> ran{0};
    std::vector<future<void>> all;
    for (int i = 0; i < 20'000; ++i) all.push_back(spawn(anywhere, [&] { ran.fetch_add(1); }));
    gather(std::move(all)).get();
    EXPECT_EQ(ran.load(), 20'000);
  });
}

TEST(Anywhere, OfOneLoopTheNewestStartsFirst) {
  weft::run(
      [] {
        std::vector<int> order;
        std::vector<future<void>> all;
        for (int i = 0; i < 5; ++i) all.push_back(spawn(anywhere, [&, i] { order.push_back(i); }));
        for (auto& f : all) f.get();
        std::erase(order, 0);  // on a slow machine the oldest has had its turn in between
        EXPECT_EQ(order, (std::vector<int>{4, 3, 2, 1}));
      },
      one_loop());
}

// It would wait for ever if only the newest were taken.
TEST(Anywhere, TheOldestGetsATurnAmongNewerOnes) {
  weft::run(
      [] {
        bool old_ran = false;
        promise<void> last;
        auto old = spawn(anywhere, [&] { old_ran = true; });
        std::function<void()> another = [&] {
          if (old_ran)
            last.set_value();
          else
            (void)spawn(anywhere, [&] { another(); });
        };
        another();
        last.get_future().get();
        old.get();
      },
      one_loop());
}

// The same beside fibers that are always ready.
TEST(Anywhere, ATaskGetsATurnBesideFibersThatAreAlwaysReady) {
  weft::run(
      [] {
        bool ran = false;
        auto busy = spawn([&] {
          while (!ran) yield();
        });
        auto task = spawn(anywhere, [&] { ran = true; });
        while (!ran) yield();
        busy.get();
        task.get();
      },
      one_loop());
}

// Without a wait of the spawner, so the others must come and take them.
TEST(Anywhere, TasksLeaveALoopThatComputes) {
  config c = one_loop();
  c.loops = 2;
  weft::run(
      [] {
        const unsigned here = this_loop();
        std::atomic<int> elsewhere{0};
        std::vector<future<void>> all;
        for (int i = 0; i < 64; ++i)
          all.push_back(spawn(anywhere, [&] {
            if (this_loop() != here) elsewhere.fetch_add(1);
          }));
        while (elsewhere.load() < 32) std::this_thread::yield();
        gather(std::move(all)).get();
      },
      c);
}

}  // namespace
}  // namespace weft::testing::anywhere_test
