// What asyncio promises of wait_for(), and what weft makes of it: timeout(duration, future).
//
// Where weft differs on purpose:
//   - Only what the wait owns is cancelled: a future passed as an rvalue that is the last handle, a lazy, a function.
//     An lvalue is left alone, which in asyncio takes shield().
//   - There is no timeout of None; a wait without one is get().

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::wait_for_test {
namespace {

auto after(std::chrono::seconds delay, int value) {
  return spawn([=] {
    sleep_for(delay);
    return value;
  });
}

TEST(AsyncioWaitFor, GivesTheResultOfWorkThatIsInTime) {
  simulate([] { EXPECT_EQ(timeout(2s, after(1s, 5)), 5); });
}

TEST(AsyncioWaitFor, CancelsTheTaskAndThrowsWhenTimeIsUp) {
  simulate([] {
    bool unwound = false;
    EXPECT_EQ(time_of([&] {
                EXPECT_THROW(timeout(1s, spawn([&] {
                                       try {
                                         sleep_for(3600s);
                                       } catch (const cancelled&) {
                                         unwound = true;
                                         throw;
                                       }
                                     })),
                             timed_out);
              }),
              1s);
    EXPECT_TRUE(unwound);
  });
}

TEST(AsyncioWaitFor, WaitsUntilTheTaskIsReallyCancelledThoughThatTakesLonger) {
  simulate([] {
    EXPECT_EQ(time_of([] {
                EXPECT_THROW(timeout(1s, spawn([] {
                                       try {
                                         sleep_for(100s);
                                       } catch (const cancelled&) {
                                         shield([] { sleep_for(2s); });
                                         throw;
                                       }
                                     })),
                             timed_out);
              }),
              3s);
  });
}

TEST(AsyncioWaitFor, LeavesASharedTaskAlone) {
  simulate([] {
    auto shared = after(5s, 5);
    EXPECT_THROW(timeout(1s, shared), timed_out);
    EXPECT_EQ(shared.get(), 5);
  });
}

TEST(AsyncioWaitFor, ThatIsCancelledCancelsTheTask) {
  simulate([] {
    bool unwound = false;
    auto waits = spawn([&] {
      timeout(100s, spawn([&] {
                try {
                  sleep_for(50s);
                } catch (const cancelled&) {
                  unwound = true;
                  throw;
                }
              }));
    });
    sleep_for(1s);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_TRUE(unwound);
  });
}

}  // namespace
}  // namespace weft::testing::wait_for_test
