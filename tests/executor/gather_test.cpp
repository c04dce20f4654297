#include "weft/gather.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "weft_test.hpp"

namespace weft::testing::gather_test {
namespace {

class Gather : public OnLoops {};
WEFT_ON_LOOPS(Gather);

auto after(std::chrono::seconds delay, int value) {
  return spawn([=] {
    sleep_for(delay);
    return value;
  });
}

TEST(GatherOrder, IsThatOfTheArgumentsWhateverFinishesFirst) {
  simulate([] {
    const auto took = time_of([] {
      auto [a, b, c] = gather(after(3s, 1), after(1s, 2), lazy([] {
                                sleep_for(2s);
                                return std::string("three");
                              }))
                           .get();
      EXPECT_EQ(a, 1);
      EXPECT_EQ(b, 2);
      EXPECT_EQ(c, "three");
    });
    EXPECT_EQ(took, 3s);
    std::vector<future<int>> range;
    for (int i = 0; i < 10; ++i) range.push_back(after(std::chrono::seconds(10 - i), i));
    const auto all = gather(range).get();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(gather(std::move(range)).get(), all);
  });
}

TEST_P(Gather, TakesAnyMixOfKinds) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      promise<int> p;
      auto from_promise = p.get_future();
      std::thread outside([&] { p.set_value(5); });
      auto [a, b, c, d, e, f] =
          gather(spawn([] { return 1; }), spawn_cpu([] { return 2; }), spawn_blocking([] { return 3; }),
                 lazy([] { return 4; }), from_promise, spawn(anywhere, [] {}))
              .get();
      static_assert(std::is_same_v<decltype(f), std::monostate>);
      EXPECT_EQ(a + b + c + d + e, 15);
      (void)f;
      outside.join();
    }
  });
}

TEST(GatherVoid, IsMonostateInATupleAndVoidForARange) {
  simulate([] {
    static_assert(std::is_same_v<decltype(gather(spawn([] {}), spawn([] { return 1; }))),
                                 future<std::tuple<std::monostate, int>>>);
    std::vector<future<void>> range;
    for (int i = 0; i < 5; ++i) range.push_back(spawn([] { sleep_for(1s); }));
    static_assert(std::is_same_v<decltype(gather(range)), future<void>>);
    EXPECT_EQ(time_of([&] { gather(range).get(); }), 1s);
    gather().get();
    EXPECT_TRUE(gather(std::vector<future<int>>()).get().empty());
    gather(std::vector<future<void>>()).get();
  });
}

TEST(GatherMoveOnly, MovesOutOfOwnedAndRefusesToCopyFromShared) {
  simulate([] {
    const auto make = [] { return spawn([] { return std::make_unique<int>(7); }); };
    auto [a, b] = gather(make(), make()).get();
    EXPECT_EQ(*a + *b, 14);
    auto shared = make();
    EXPECT_THROW(gather(make(), shared).get(), future_shared);
    EXPECT_EQ(*shared.get(), 7);
  });
}

TEST(GatherFailure, CancelsTheOwnedSiblingsWaitsForThemAndLeavesSharedOnesAlone) {
  simulate([] {
    bool unwound = false;
    auto shared = after(10s, 1);
    promise<int> never;
    auto forever = never.get_future();
    const auto took = time_of([&] {
      EXPECT_THROW(gather(spawn([&] {
                            try {
                              sleep_for(100s);
                            } catch (const cancelled& c) {
                              EXPECT_EQ(c.reason(), cancel_reason::sibling_failed);
                              shield([] { sleep_for(2s); });
                              unwound = true;
                              throw;
                            }
                          }),
                          spawn([]() -> int {
                            sleep_for(1s);
                            throw std::runtime_error("first");
                          }),
                          shared, forever)
                       .get(),
                   std::runtime_error);
    });
    EXPECT_EQ(took, 3s) << "it did not wait for what is shared";
    EXPECT_TRUE(unwound);
    EXPECT_EQ(shared.get(), 1);
    never.set_value(1);
  });
}

TEST(GatherFailure, GivesTheFirstErrorInTime) {
  simulate([] {
    const auto fails = [](std::chrono::seconds delay, const char* what) {
      return lazy([=] {
        sleep_for(delay);
        throw std::runtime_error(what);
      });
    };
    try {
      gather(fails(3s, "late"), fails(1s, "early"), fails(2s, "middle")).get();
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "early");
    }
    EXPECT_THROW(gather(spawn([] { throw 1; })).get(), int) << "one that had failed before";
  });
}

TEST(GatherCancel, ReachesTheOwnedInputs) {
  simulate([] {
    int unwound = 0;
    const auto input = [&] {
      return spawn([&] {
        try {
          sleep_for(100s);
        } catch (const cancelled&) {
          ++unwound;
          throw;
        }
      });
    };
    auto shared = after(10s, 1);
    auto g = gather(input(), input(), shared);
    sleep_for(1s);
    g.cancel();
    EXPECT_THROW(g.get(), cancelled);
    EXPECT_EQ(unwound, 2);
    auto waits = spawn([&] { gather(input(), input()).get(); });
    sleep_for(1s);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_EQ(unwound, 4) << "a gather owned by a wait is cancelled with it";
    EXPECT_EQ(shared.get(), 1);
  });
}

TEST(GatherResults, GivesEveryOutcomeAndNeverFails) {
  simulate([] {
    auto [a, b, c] =
        gather_results(after(1s, 1), spawn([]() -> int { throw std::runtime_error("b"); }), spawn([] {})).get();
    EXPECT_EQ(a.value(), 1);
    EXPECT_FALSE(b);
    EXPECT_THROW((void)b.value(), std::runtime_error);
    EXPECT_NE(b.error(), nullptr);
    EXPECT_TRUE(c.has_value());
    std::vector<future<int>> range{after(2s, 5), spawn([]() -> int { throw 1; }), after(1s, 6)};
    const auto all = gather_results(std::move(range)).get();
    EXPECT_EQ(all[0].value(), 5);
    EXPECT_FALSE(all[1]);
    EXPECT_EQ(all[2].value(), 6);
  });
}

TEST(GatherLazies, SpawnsThemAndTakesEachOnce) {
  simulate([] {
    const auto say = [](int n) {
      return [n] {
        sleep_for(1s);
        return n;
      };
    };
    std::vector<lazy<decltype(say(1))>> range;
    for (int i = 0; i < 3; ++i) range.emplace_back(say(i));
    EXPECT_EQ(time_of([&] { EXPECT_EQ(gather(range).get(), (std::vector{0, 1, 2})); }), 1s);
    EXPECT_THROW(gather(range), already_awaited);
  });
}

TEST_P(Gather, OfThousandsFromManyThreads) {
  run([] {
    std::vector<future<int>> all;
    for (int i = 0; i < 1000; ++i)
      all.push_back(i % 3 == 0   ? spawn(anywhere, [i] { return i; })
                    : i % 3 == 1 ? spawn_cpu([i] { return i; })
                                 : spawn([i] {
                                     yield();
                                     return i;
                                   }));
    const auto results = gather(std::move(all)).get();
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i);
  });
}

// The number of a wait is in the agent's word: it counts how often the caller has been parked.
TEST_P(Gather, WakesItsWaiterOnceForAThousandInputs) {
  run([] {
    std::vector<future<int>> all;
    for (int i = 0; i < 500; ++i)
      all.push_back(spawn([i] {
        yield();
        return i;
      }));
    for (int i = 0; i < 500; ++i) all.push_back(spawn_cpu([i] { return i; }));
    auto together = gather(std::move(all));
    const auto waits = [] { return detail::current_agent()->word.load() / detail::agent::one_wait; };
    const auto before = waits();
    EXPECT_EQ(together.get().size(), 1000U);
    EXPECT_EQ(waits() - before, 1U);
  });
}

}  // namespace
}  // namespace weft::testing::gather_test
