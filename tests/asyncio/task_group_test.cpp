// What asyncio promises of TaskGroup, and what weft makes of it.
//
// Where weft differs on purpose:
//   - One error comes out as it is; only several come as an exception_group.
//   - A task may be spawned into a group that was cancelled: it never starts, instead of an error at the spawn.
//   - A group can be ended without an error: cancel().
//   - The block is a function, with_group(f), whose result comes out.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::task_group_test {
namespace {

TEST(AsyncioTaskGroup, AwaitsAllTasksWhenTheBlockIsLeft) {
  simulate([] {
    future<int> one;
    future<int> two;
    EXPECT_EQ(time_of([&] {
                with_group([&](task_group& g) {
                  one = g.spawn([] {
                    sleep_for(1s);
                    return 1;
                  });
                  two = g.spawn([] {
                    sleep_for(2s);
                    return 2;
                  });
                });
              }),
              2s);
    EXPECT_TRUE(one.ready() && two.ready());
    EXPECT_EQ(one.get() + two.get(), 3);
  });
}

TEST(AsyncioTaskGroup, TakesNewTasksWhileItWaitsAndNoneAfterwards) {
  simulate([] {
    bool late = false;
    task_group g;
    g.spawn([&] {
      sleep_for(1s);
      g.spawn([&] {
        sleep_for(1s);
        late = true;
      });
    });
    g.join();
    EXPECT_TRUE(late);
    EXPECT_THROW(g.spawn([] {}), std::logic_error);
  });
}

TEST(AsyncioTaskGroup, CancelsTheOthersAndTheBlockWhenATaskFails) {
  simulate([] {
    bool sibling_unwound = false;
    bool block_unwound = false;
    try {
      with_group([&](task_group& g) {
        g.spawn([&] {
          try {
            sleep_for(100s);
          } catch (const cancelled&) {
            sibling_unwound = true;
            throw;
          }
        });
        g.spawn([] {
          sleep_for(1s);
          throw std::runtime_error("no");
        });
        try {
          sleep_for(100s);
        } catch (const cancelled&) {
          block_unwound = true;
          throw;
        }
      });
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "no") << "the cancellation of the block does not come out";
    }
    EXPECT_TRUE(sibling_unwound && block_unwound);
    sleep_for(1s);
  });
}

TEST(AsyncioTaskGroup, StartsNoTaskAfterAFailure) {
  simulate([] {
    bool ran = false;
    EXPECT_THROW(with_group([&](task_group& g) {
                   g.spawn([] { throw std::runtime_error("no"); });
                   try {
                     sleep_for(1s);
                   } catch (const cancelled&) {
                     g.spawn([&] { ran = true; });
                     throw;
                   }
                 }),
                 std::runtime_error);
    EXPECT_FALSE(ran);
  });
}

TEST(AsyncioTaskGroup, CombinesSeveralErrorsWithoutCancellations) {
  simulate([] {
    const auto fails = [] {
      sleep_for(1s);
      throw std::runtime_error("task");
    };
    try {
      with_group([&](task_group& g) {
        g.spawn(fails);
        g.spawn([] {
          try {
            sleep_for(100s);
          } catch (const cancelled&) {
            throw std::logic_error("cleanup");
          }
        });
        g.spawn([] { sleep_for(100s); });
      });
      ADD_FAILURE();
    } catch (const exception_group& e) {
      EXPECT_EQ(e.exceptions().size(), 2U);
    }
  });
}

TEST(AsyncioTaskGroup, TakesAnErrorOfTheBlockAsThatOfATask) {
  simulate([] {
    bool unwound = false;
    EXPECT_THROW(with_group([&](task_group& g) {
                   g.spawn([&] {
                     try {
                       sleep_for(100s);
                     } catch (const cancelled&) {
                       unwound = true;
                       throw;
                     }
                   });
                   sleep_for(1s);
                   throw std::runtime_error("block");
                 }),
                 std::runtime_error);
    EXPECT_TRUE(unwound);
  });
}

TEST(AsyncioTaskGroup, IsNotEndedByATaskThatIsCancelledAlone) {
  simulate([] {
    bool done = false;
    with_group([&](task_group& g) {
      auto quits = g.spawn([] { sleep_for(100s); });
      g.spawn([&] {
        sleep_for(2s);
        done = true;
      });
      sleep_for(1s);
      quits.cancel();
    });
    EXPECT_TRUE(done);
  });
}

TEST(AsyncioTaskGroup, PassesACancellationFromOutsideOnWhenNoTaskFailed) {
  simulate([] {
    auto f = spawn([] { with_group([](task_group& g) { g.spawn([] { sleep_for(100s); }); }); });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
  });
}

TEST(AsyncioTaskGroup, IsNotLostByErrorsWhenACancellationFromOutsideComesToo) {
  simulate([] {
    auto f = spawn([] {
      EXPECT_THROW(with_group([](task_group& g) {
                     g.spawn([] {
                       try {
                         sleep_for(100s);
                       } catch (const cancelled&) {
                         throw std::runtime_error("cleanup");
                       }
                     });
                   }),
                   std::runtime_error);
      sleep_for(1s);  // the cancellation is still there
      ADD_FAILURE();
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
  });
}

TEST(AsyncioTaskGroup, NestsAndAnInnerFailureReachesTheOuterGroupAsAnError) {
  simulate([] {
    EXPECT_THROW(with_group([](task_group& outer) {
                   outer.spawn([] { sleep_for(100s); });
                   with_group([](task_group& inner) { inner.spawn([] { throw std::runtime_error("inner"); }); });
                 }),
                 std::runtime_error);
  });
}

}  // namespace
}  // namespace weft::testing::task_group_test
