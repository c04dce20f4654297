#include "weft/race.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::race_test {
namespace {

class RaceOnLoops : public OnLoops {};
WEFT_ON_LOOPS(RaceOnLoops);

auto after(std::chrono::seconds delay, int value) {
  return spawn([=] {
    sleep_for(delay);
    return value;
  });
}
auto fails_after(std::chrono::seconds delay, const char* what) {
  return spawn([=]() -> int {
    sleep_for(delay);
    throw std::runtime_error(what);
  });
}

TEST(Race, GivesTheFirstResult) {
  simulate([] {
    EXPECT_EQ(time_of([] { EXPECT_EQ(race(after(3s, 1), after(1s, 2), after(2s, 3)).get(), 2); }), 1s);
    std::vector<future<int>> range{after(3s, 1), after(1s, 2)};
    EXPECT_EQ(race(range).get(), 2);
    EXPECT_EQ(race(std::move(range)).get(), 2);
    EXPECT_EQ(race(lazy([] { return 5; })).get(), 5);
  });
}

TEST(Race, GivesAVariantThatSaysWhoWonWhenTheTypesDiffer) {
  simulate([] {
    static_assert(std::is_same_v<decltype(race(spawn([] {}), spawn([] {}))), future<void>>);
    auto r = race(after(2s, 1), spawn([] {
                    sleep_for(1s);
                    return std::string("text");
                  }),
                  spawn([] { sleep_for(3s); }));
    static_assert(std::is_same_v<decltype(r), future<std::variant<int, std::string, std::monostate>>>);
    EXPECT_EQ(std::get<1>(r.get()), "text");
    EXPECT_EQ(race(lazy([] { return std::make_unique<int>(4); }), lazy([] { sleep_for(1s); })).get().index(), 0U);
    int there = 0;
    auto reference = race(spawn([&]() -> int& { return there; }), after(1s, 1)).get();
    EXPECT_EQ(&std::get<0>(reference).get(), &there);
  });
}

TEST(Race, CancelsTheOwnedLosersAndWaitsForThemAndLeavesSharedOnesAlone) {
  simulate([] {
    bool unwound = false;
    auto shared = after(10s, 1);
    EXPECT_EQ(time_of([&] {
                EXPECT_EQ(race(after(1s, 7), spawn([&]() -> int {
                                 try {
                                   sleep_for(100s);
                                 } catch (const cancelled&) {
                                   shield([] { sleep_for(2s); });
                                   unwound = true;
                                   throw;
                                 }
                                 return 0;
                               }),
                               shared)
                              .get(),
                          7);
              }),
              3s);
    EXPECT_TRUE(unwound);
    EXPECT_EQ(shared.get(), 1);
  });
}

TEST(Race, IsNotLostByAnErrorUnlessAllFail) {
  simulate([] {
    EXPECT_EQ(race(fails_after(1s, "a"), after(3s, 1), fails_after(2s, "b")).get(), 1);
    try {
      race(fails_after(2s, "a"), fails_after(1s, "b")).get();
      ADD_FAILURE();
    } catch (const exception_group& g) {
      EXPECT_STREQ(g.what(), "2 errors: a; b");
    }
    EXPECT_THROW(race(fails_after(1s, "a")).get(), std::runtime_error);
  });
}

TEST(Race, CountsACancelledInputAsFailed) {
  simulate([] {
    auto quits = after(100s, 1);
    auto late = after(5s, 2);
    auto r = race(quits, late);
    sleep_for(1s);
    quits.cancel();
    EXPECT_EQ(r.get(), 2);

    auto both = after(100s, 1);
    auto one_error = race(both, fails_after(1s, "only"));
    both.cancel();
    EXPECT_THROW(one_error.get(), std::runtime_error) << "the error of the only one that has one";

    auto a = after(100s, 1);
    auto b = after(100s, 2);
    auto all = race(a, b);
    sleep_for(1s);
    a.cancel();
    b.cancel();
    EXPECT_THROW(all.get(), cancelled);
  });
}

TEST(Race, ThatIsCancelledEndsItsOwnedInputs) {
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
    auto waits = spawn([&] { race(input(), input()).get(); });
    sleep_for(1s);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_EQ(unwound, 2);
    EXPECT_THROW(timeout(1s, race(input(), input())), timed_out);
    EXPECT_EQ(unwound, 4);
  });
}

TEST(Race, OfNobodyIsAnError) {
  simulate([] {
    EXPECT_THROW(race(std::vector<future<int>>()), std::invalid_argument);
    EXPECT_THROW(race(future<int>()), no_state);
  });
}

TEST(Race, OfThoseReadyAlreadyGoesToTheFirst) {
  simulate([] {
    auto a = after(0s, 1);
    auto b = after(0s, 2);
    sleep_for(1s);
    EXPECT_EQ(race(b, a).get(), 2);
    EXPECT_EQ(race(after(1s, 0), a, b).get(), 1);
  });
}

TEST_P(RaceOnLoops, OfAllKindsGivesOneResultAndEndsTheOthers) {
  run([] {
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> running{0};
      const auto contender = [&running](int value) {
        return [&running, value] {
          struct count {
            std::atomic<int>& n;
            explicit count(std::atomic<int>& c) : n(c) { ++n; }
            ~count() { --n; }
          } const here{running};
          sleep_for(std::chrono::microseconds(value * 20));
          return value;
        };
      };
      promise<int> p;
      std::thread outside([&p] { p.set_value(9); });
      const int won = race(spawn(anywhere, contender(1)), spawn_cpu(contender(2)), spawn_blocking(contender(3)),
                           spawn(contender(4)), p.get_future())
                          .get();
      EXPECT_TRUE(won >= 1);
      EXPECT_EQ(running, 0) << "all losers have ended";
      outside.join();
    }
  });
}

}  // namespace
}  // namespace weft::testing::race_test
