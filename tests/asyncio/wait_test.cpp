// What asyncio promises of wait(), and what weft makes of it.
//
// Where weft differs on purpose:
//   - return_when is the choice of a function: FIRST_COMPLETED is wait_any(), which gives a place; ALL_COMPLETED is
//     wait_all(), which gives whether all are done. FIRST_EXCEPTION is what a gather() of lvalues waits for.
//   - There are no sets of done and pending: each future says itself whether it is ready().
//   - wait_all() of none is done at once; asyncio refuses an empty set for all three.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::wait_test {
namespace {

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

TEST(AsyncioWait, ForAllReturnsWhenAllAreDone) {
  simulate([] {
    std::vector<future<int>> all{after(1s, 1), fails_after(2s, "no"), after(3s, 3)};
    EXPECT_EQ(time_of([&] { wait_all(all); }), 3s);
    for (const auto& f : all) EXPECT_TRUE(f.ready());
    EXPECT_THROW(all[1].get(), std::runtime_error) << "an error is not thrown by the wait, but by its future";
  });
}

TEST(AsyncioWait, ForTheFirstReturnsWhenAnyIsDoneOrFailed) {
  simulate([] {
    std::vector<future<int>> all{after(3s, 1), fails_after(1s, "no")};
    EXPECT_EQ(time_of([&] { EXPECT_EQ(wait_any(all), 1U); }), 1s);
    EXPECT_FALSE(all[0].ready());
    EXPECT_EQ(all[0].get(), 1);
    EXPECT_THROW(all[1].get(), std::runtime_error);
  });
}

TEST(AsyncioWait, ForTheFirstErrorReturnsAtAnErrorElseWhenAllAreDone) {
  simulate([] {
    std::vector<future<int>> bad{after(3s, 1), fails_after(1s, "no")};
    EXPECT_EQ(time_of([&] { EXPECT_THROW(gather(bad).get(), std::runtime_error); }), 1s);
    std::vector<future<int>> good{after(3s, 1), after(1s, 2)};
    EXPECT_EQ(time_of([&] { gather(good).wait(); }), 3s);
    EXPECT_THROW(bad[1].get(), std::runtime_error);
  });
}

TEST(AsyncioWait, RaisesNoTimeoutErrorAndCancelsNothingWhenTimeIsUp) {
  simulate([] {
    std::vector<future<int>> all{after(1s, 1), after(5s, 2)};
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(wait_all_for(2s, all)); }), 2s);
    EXPECT_TRUE(all[0].ready());
    EXPECT_FALSE(all[1].ready());
    EXPECT_EQ(wait_any_for(1s, all[1]), std::nullopt);
    EXPECT_EQ(all[1].get(), 2);
  });
}

TEST(AsyncioWait, ForTheFirstOfNoneIsAnError) {
  simulate([] { EXPECT_THROW(wait_any(std::vector<future<int>>()), std::invalid_argument); });
}

}  // namespace
}  // namespace weft::testing::wait_test
