// What asyncio promises of as_completed(), and what weft makes of it.
//
// Where weft differs on purpose:
//   - The futures that come out are ready; asyncio's plain iterator gives coroutines that are still to be awaited.
//   - A loop that is left early cancels what it owned and waits for it; asyncio leaves the tasks running.
//   - There is no timeout parameter: timeout() around the loop, or next_for() for a single one.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::as_completed_test {
namespace {

auto after(std::chrono::seconds delay, int value) {
  return spawn([=] {
    sleep_for(delay);
    return value;
  });
}

TEST(AsyncioAsCompleted, GivesTheEarliestNextResultEachTime) {
  simulate([] {
    std::vector<int> order;
    EXPECT_EQ(time_of([&] {
                for (auto& f : as_completed(std::vector{after(3s, 3), after(1s, 1), after(2s, 2)}))
                  order.push_back(f.get());
              }),
              3s);
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
  });
}

TEST(AsyncioAsCompleted, GivesEachErrorWithItsFuture) {
  simulate([] {
    std::vector<future<int>> all{after(2s, 1), spawn([]() -> int { throw std::runtime_error("no"); })};
    auto coming = as_completed(std::move(all));
    EXPECT_THROW(coming.next()->get(), std::runtime_error);
    EXPECT_EQ(coming.next()->get(), 1);
  });
}

TEST(AsyncioAsCompleted, ThrowsWhenTimeIsUpBeforeAllAreDone) {
  simulate([] {
    int seen = 0;
    EXPECT_THROW(timeout(2s,
                         [&] {
                           for (auto& f : as_completed(std::vector{after(1s, 1), after(5s, 2)})) {
                             f.get();
                             ++seen;
                           }
                         }),
                 timed_out);
    EXPECT_EQ(seen, 1);
  });
}

}  // namespace
}  // namespace weft::testing::as_completed_test
