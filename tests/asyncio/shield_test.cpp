// What asyncio promises of shield(), and what weft makes of it.
//
// Where weft differs on purpose:
//   - asyncio shields an awaitable: the caller is cancelled at once, the work goes on. In weft that is a wait on an
//     lvalue, or on a future with other handles. weft's shield(f) shields the caller: it stays in f until that is done,
//     and sees the cancellation at its next wait.
//   - No reference need be kept to keep the work alive.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::shield_test {
namespace {

TEST(AsyncioShield, TheWorkGoesOnWhenItsCallerIsCancelled) {
  simulate([] {
    bool done = false;
    auto inner = spawn([&] {
      sleep_for(5s);
      done = true;
    });
    auto caller = spawn([inner] { inner.get(); });
    sleep_for(1s);
    EXPECT_EQ(time_of([&] {
                caller.cancel();
                EXPECT_THROW(caller.get(), cancelled);
              }),
              0s);
    inner.get();
    EXPECT_TRUE(done);
  });
}

TEST(AsyncioShield, WorkThatIsCancelledItselfIsCancelledForItsCaller) {
  simulate([] {
    auto inner = spawn([] { sleep_for(100s); });
    auto caller = spawn([inner] { inner.get(); });
    sleep_for(1s);
    inner.cancel();
    EXPECT_THROW(caller.get(), cancelled);
  });
}

TEST(AsyncioShield, WithATryBlockIgnoresCancellation) {
  simulate([] {
    auto inner = spawn([] {
      sleep_for(3s);
      return 7;
    });
    auto caller = spawn([inner] {
      try {
        inner.wait();
      } catch (const cancelled&) {
      }
      return shield([&] { return inner.get(); });
    });
    sleep_for(1s);
    caller.cancel();
    EXPECT_EQ(caller.get(), 7);
  });
}

TEST(AsyncioShield, OfAFunctionHoldsTheCancellationBackUntilItIsDone) {
  simulate([] {
    bool done = false;
    auto caller = spawn([&] {
      shield([&] {
        sleep_for(3s);
        done = true;
      });
      sleep_for(100s);
    });
    sleep_for(1s);
    caller.cancel();
    EXPECT_EQ(time_of([&] { EXPECT_THROW(caller.get(), cancelled); }), 2s);
    EXPECT_TRUE(done);
  });
}

}  // namespace
}  // namespace weft::testing::shield_test
