// What asyncio promises of gather(), and what weft makes of it.
//
// Where weft differs on purpose:
//   - The first error cancels the awaitables that the gather owns (rvalues that are last handles, lazies) and waits for
//     them; asyncio lets all run on unattended. Those passed as lvalues run on in weft, too.
//   - So does an input that was cancelled by somebody: to a gather that is a failure like any other.
//   - return_exceptions=True is a function of its own, gather_results(), for the type of the result differs.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::gather_test {
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

TEST(AsyncioGather, RunsAwaitablesConcurrentlyAndStartsCoroutines) {
  simulate([] {
    EXPECT_EQ(time_of([] { gather(lazy([] { sleep_for(2s); }), lazy([] { sleep_for(2s); }), after(1s, 1)).get(); }),
              2s);
  });
}

TEST(AsyncioGather, GivesTheResultsInTheOrderOfTheAwaitables) {
  simulate([] { EXPECT_EQ(gather(after(3s, 1), after(1s, 2), after(2s, 3)).get(), std::tuple(1, 2, 3)); });
}

TEST(AsyncioGather, OfNothingIsDone) {
  simulate([] { EXPECT_TRUE(gather(std::vector<future<int>>()).get().empty()); });
}

TEST(AsyncioGather, ThrowsTheFirstErrorAtOnceAndSharedAwaitablesRunOn) {
  simulate([] {
    auto slow = after(5s, 1);
    auto bad = fails_after(1s, "first");
    auto worse = fails_after(2s, "second");
    EXPECT_EQ(time_of([&] { EXPECT_THROW(gather(slow, bad, worse).get(), std::runtime_error); }), 1s);
    EXPECT_EQ(slow.get(), 1);
    EXPECT_THROW(worse.get(), std::runtime_error);
  });
}

TEST(AsyncioGather, WithReturnExceptionsTreatsThemAsResults) {
  simulate([] {
    const auto [a, b] = gather_results(after(2s, 1), fails_after(1s, "no")).get();
    EXPECT_EQ(a.value(), 1);
    EXPECT_NE(b.error(), nullptr);
  });
}

TEST(AsyncioGather, ThatIsCancelledCancelsAllThatHaveNotEnded) {
  simulate([] {
    auto done = after(0s, 1);
    done.wait();
    int unwound = 0;
    const auto work = [&] {
      try {
        sleep_for(100s);
      } catch (const cancelled&) {
        ++unwound;
        throw;
      }
    };
    auto all = gather(done, spawn(work), spawn(work));
    sleep_for(1s);
    all.cancel();
    EXPECT_THROW(all.get(), cancelled);
    EXPECT_EQ(unwound, 2);
    EXPECT_EQ(done.get(), 1);
  });
}

TEST(AsyncioGather, TakesACancelledAwaitableForAFailureAndIsNotCancelledItself) {
  simulate([] {
    auto quits = after(100s, 1);
    auto other = after(2s, 2);
    auto all = gather(quits, other);
    sleep_for(1s);
    quits.cancel();
    EXPECT_THROW(all.get(), cancelled);
    EXPECT_EQ(other.get(), 2) << "cancelling one does not cancel the others";
    const auto [a, b] = gather_results(quits, other).get();
    EXPECT_FALSE(a);
    EXPECT_EQ(b.value(), 2);
  });
}

TEST(AsyncioGather, GivesTheSameResultForAnAwaitableThatComesTwice) {
  simulate([] {
    int calls = 0;
    auto once = spawn([&] { return ++calls; });
    EXPECT_EQ(gather(once, once).get(), std::tuple(1, 1));
  });
}

}  // namespace
}  // namespace weft::testing::gather_test
