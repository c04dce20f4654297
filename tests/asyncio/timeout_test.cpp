// What asyncio promises of timeout(), and what weft makes of it.
//
// Where weft differs on purpose:
//   - The block is a function. expired() is the difference between timeout() and move_on_after(), when() is
//     current_deadline(); a block without a limit needs no timeout(). A deadline that moves while the block runs
//     (reschedule) is not for timeout(): that takes a scope that is an object.
//   - Work that finishes although its time is up keeps its result.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::timeout_test {
namespace {

TEST(AsyncioTimeout, TurnsTheCancellationOfTheBlockIntoATimeoutErrorOutsideOfIt) {
  simulate([] {
    bool saw_cancelled = false;
    bool saw_timed_out = false;
    try {
      timeout(1s, [&] {
        try {
          sleep_for(100s);
        } catch (const timed_out&) {
          ADD_FAILURE() << "it can only be caught outside";
        } catch (const cancelled&) {
          saw_cancelled = true;
          throw;
        }
      });
    } catch (const timed_out&) {
      saw_timed_out = true;
    }
    EXPECT_TRUE(saw_cancelled && saw_timed_out);
    sleep_for(1s);  // the task itself was not cancelled
  });
}

TEST(AsyncioTimeout, NestsSafely) {
  simulate([] {
    EXPECT_EQ(time_of([] {
                timeout(5s, [] {
                  EXPECT_THROW(timeout(1s, [] { sleep_for(100s); }), timed_out);
                  sleep_for(1s);
                });
              }),
              2s);
    EXPECT_THROW(timeout(1s, [] { timeout(5s, [] { sleep_for(100s); }); }), timed_out);
  });
}

TEST(AsyncioTimeout, LetsACancellationFromOutsideThrough) {
  simulate([] {
    auto f = spawn([] { timeout(10s, [] { sleep_for(100s); }); });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
  });
}

TEST(AsyncioTimeout, SaysWhenAndWhetherItExpired) {
  simulate([] {
    const auto start = clock::now();
    EXPECT_FALSE(move_on_after(2s, [&] {
      EXPECT_EQ(current_deadline().when(), start + 2s);
      sleep_for(100s);
    })) << "false: it expired";
    EXPECT_TRUE(move_on_after(2s, [] {}));
    EXPECT_TRUE(current_deadline().is_never());
  });
}

TEST(AsyncioTimeout, IsGoneWhenTheBlockIsLeftInTime) {
  simulate([] {
    timeout(1s, [] {});
    sleep_for(5s);
  });
}

}  // namespace
}  // namespace weft::testing::timeout_test
