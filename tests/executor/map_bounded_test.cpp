#include "weft/map_bounded.hpp"

#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::map_bounded_test {
namespace {

class MapBoundedOnLoops : public OnLoops {};
WEFT_ON_LOOPS(MapBoundedOnLoops);

TEST(MapBounded, GivesTheResultsInOrderWithNAtOnceAtMost) {
  simulate([] {
    int running = 0;
    int most = 0;
    const auto took = time_of([&] {
      const auto squares = map_bounded(std::views::iota(0, 10), 3, [&](int i) {
                             most = std::max(most, ++running);
                             sleep_for(i % 2 == 0 ? 1s : 2s);
                             --running;
                             return i * i;
                           }).get();
      ASSERT_EQ(squares.size(), 10U);
      for (int i = 0; i < 10; ++i) EXPECT_EQ(squares[static_cast<std::size_t>(i)], i * i);
    });
    EXPECT_EQ(most, 3);
    EXPECT_LE(took, 7s);
  });
}

TEST(MapBounded, OfAFunctionThatGivesNothingIsAFutureOfVoid) {
  simulate([] {
    int sum = 0;
    auto f = map_bounded(std::vector{1, 2, 3}, 2, [&](int i) { sum += i; });
    static_assert(std::is_same_v<decltype(f), future<void>>);
    f.get();
    EXPECT_EQ(sum, 6);
    EXPECT_TRUE(map_bounded(std::vector<int>(), 2, [](int i) { return i; }).get().empty());
    EXPECT_EQ(map_bounded(std::vector{true, false}, 5, [](bool b) { return !b; }).get(), (std::vector{false, true}));
  });
}

TEST(MapBounded, OwnsTheElements) {
  simulate([] {
    future<std::vector<std::string>> f;
    {
      std::vector<std::string> words{"one", "two"};
      f = map_bounded(words, 1, [](const std::string& word) {
        yield();
        return word + "!";
      });
      EXPECT_EQ(words[0], "one");
      words.assign(2, "gone");
    }
    EXPECT_EQ(f.get(), (std::vector<std::string>{"one!", "two!"}));
    std::vector<std::unique_ptr<int>> given;
    given.push_back(std::make_unique<int>(5));
    EXPECT_EQ(map_bounded(std::move(given), 1, [](std::unique_ptr<int> p) { return *p; }).get(), std::vector{5});
    std::vector<std::string> kept{"kept"};
    (void)map_bounded(std::ranges::ref_view(kept), 1, [](std::string word) { return word; }).get();
    EXPECT_EQ(kept[0], "kept") << "a view gives nothing up";
  });
}

TEST(MapBounded, FailsWithTheFirstErrorAndCancelsTheOthers) {
  simulate([] {
    int begun = 0;
    int unwound = 0;
    EXPECT_EQ(time_of([&] {
                EXPECT_THROW(map_bounded(std::views::iota(0, 100), 4,
                                         [&](int i) {
                                           ++begun;
                                           if (i == 2) {
                                             sleep_for(1s);
                                             throw std::runtime_error("no");
                                           }
                                           try {
                                             sleep_for(100s);
                                           } catch (const cancelled&) {
                                             ++unwound;  // and goes on as if nothing had been
                                           }
                                         })
                                 .get(),
                             std::runtime_error);
              }),
              1s);
    EXPECT_EQ(begun, 4);
    EXPECT_EQ(unwound, 3);
  });
}

TEST(MapBounded, ThatIsCancelledEndsItsCalls) {
  simulate([] {
    int alive = 0;
    EXPECT_THROW(timeout(1s, map_bounded(std::views::iota(0, 100), 4,
                                         [&](int) {
                                           struct count {
                                             int& n;
                                             explicit count(int& c) : n(c) { ++n; }
                                             ~count() { --n; }
                                           } const here(alive);
                                           sleep_for(100s);
                                         })),
                 timed_out);
    EXPECT_EQ(alive, 0);
  });
}

TEST(MapBounded, WithRoomForNoneIsAnError) {
  simulate([] { EXPECT_THROW(map_bounded(std::vector{1}, 0, [](int i) { return i; }), std::invalid_argument); });
}

TEST_P(MapBoundedOnLoops, RunsOnOneLoopWhoeverCalls) {
  run([] {
    const auto body = [] {
      return map_bounded(std::views::iota(0, 200), 8,
                         [loop = std::optional<unsigned>()](int i) mutable {
                           if (!loop) loop = this_loop();
                           EXPECT_EQ(this_loop(), *loop);
                           return spawn_cpu([i] { return i; }).get();
                         })
          .get();
    };
    const auto here = body();
    EXPECT_EQ(spawn_cpu(body).get(), here);
    EXPECT_EQ(spawn_blocking(body).get(), here);
    EXPECT_EQ(spawn(anywhere, body).get(), here);
  });
}

}  // namespace
}  // namespace weft::testing::map_bounded_test
