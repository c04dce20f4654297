// What Trio promises of cancel scopes (trio.readthedocs.io, reference-core, Cancellation and timeouts), a test each.
// Where weft differs on purpose:
//
//   `with CancelScope() as scope` is scope.run(f), which says itself whether the cancellation was caught
//     (cancelled_caught); scope.cancelled() is cancel_called.
//   Trio's scopes belong to one thread; a weft scope can be cancelled and rescheduled from anywhere, and a copy of the
//     handle may outlive it.
//   Every Trio call that may block is a checkpoint that also yields. A weft checkpoint always checks, and yields when
//     it must, or every 128th time.
//   In Trio `finally` and `except` blocks are cancelled too. A weft wait in a destructor that unwinding runs ignores
//     the scopes around the exception, for a throwing destructor ends the program; in a catch block it does not.
//   Cancelled derives from BaseException; `cancelled` from nothing. Neither is caught by who handles ordinary errors.
//   A shield is chosen when the scope is made, for another loop may be about to cancel; Trio's can be set at any time.
//   fail_after and fail_at raise TooSlowError; timeout() throws timed_out. CancelScope(deadline=) counts from the
//     clock, as cancel_scope_options::until does.
//   Tasks belong to a nursery inside the scope; in weft to the innermost scope of whoever spawned them.

#include <optional>
#include <stdexcept>
#include <vector>

#include "weft/cancel_scope.hpp"
#include "weft/timeout.hpp"
#include "weft_test.hpp"

namespace weft::testing::cancel_scope_test {
namespace {

// Cancels this scope immediately. ... This method is idempotent, i.e., if the scope was already cancelled then this
// method silently does nothing.
TEST(TrioCancelScope, CancelIsIdempotent) {
  simulate([] {
    const cancel_scope scope;
    EXPECT_FALSE(scope.run([&] {
      scope.cancel();
      scope.cancel();
      sleep_for(1s);
    }));
    scope.cancel();
  });
}

// If a cancelled scope contains several operations, each is cancelled: cancellations are level-triggered, once a
// block has been cancelled, all cancellable operations in that block will keep raising Cancelled.
TEST(TrioCancelScope, CancellationIsLevelTriggered) {
  simulate([] {
    const cancel_scope scope;
    int raised = 0;
    EXPECT_TRUE(scope.run([&] {
      scope.cancel();
      for (int i = 0; i < 3; ++i) try {
          sleep_for(1s);
        } catch (const cancelled&) {
          ++raised;
        }
    }));
    EXPECT_EQ(raised, 3);
  });
}

// The `with` block catches the Cancelled exception that belongs to it, and execution goes on behind it.
TEST(TrioCancelScope, CatchesItsOwnAndGoesOn) {
  simulate([] {
    bool behind = false;
    EXPECT_FALSE(cancel_scope({.until = deadline::after(1s)}).run([] { sleep_for(10s); }));
    behind = true;
    EXPECT_TRUE(behind);
  });
}

// The example of the documentation: if the 5 second one expires first, the inner block catches it ... if the outer one
// does, the inner one lets it pass.
TEST(TrioCancelScope, NestedTimeoutsAreCaughtByTheirOwnBlocks) {
  simulate([] {
    bool between = false;
    EXPECT_FALSE(cancel_scope({.until = deadline::after(10s)}).run([&] {
      EXPECT_FALSE(cancel_scope({.until = deadline::after(5s)}).run([] { sleep_for(20s); }));
      between = true;
      cancel_scope({.until = deadline::after(20s)}).run([] { sleep_for(20s); });
      ADD_FAILURE();
    }));
    EXPECT_TRUE(between);
  });
}

// cancelled_caught: Records whether this scope caught a Cancelled exception. This requires two things: (1) the with
// block exited with a Cancelled exception, and (2) this scope is the one that was responsible for triggering it.
TEST(TrioCancelScope, CancelledCaughtNeedsBoth) {
  simulate([] {
    const cancel_scope unused;
    EXPECT_TRUE(unused.run([&] { unused.cancel(); })) << "cancelled, but the block never waited";
    EXPECT_TRUE(unused.cancelled());
    const cancel_scope outer;
    const cancel_scope inner;
    bool inner_caught = false;
    EXPECT_FALSE(outer.run([&] {
      outer.cancel();
      inner_caught = !inner.run([] { sleep_for(1s); });
    }));
    EXPECT_FALSE(inner_caught);
    EXPECT_FALSE(inner.cancelled());
  });
}

// cancel_called ... becomes True if the deadline has passed, even if nobody has noticed yet.
TEST(TrioCancelScope, CancelCalledIsTrueOnceTheDeadlineHasPassed) {
  simulate([] {
    const cancel_scope scope({.until = deadline::after(1s)});
    EXPECT_FALSE(scope.cancelled());
    sleep_for(2s);
    EXPECT_TRUE(scope.cancelled());
  });
}

// deadline ... You can modify this attribute while the scope is in use, e.g. scope.deadline += 30, to extend it.
TEST(TrioCancelScope, TheDeadlineCanBeMovedWhileItRuns) {
  simulate([] {
    const cancel_scope scope({.until = deadline::after(1s)});
    EXPECT_EQ(time_of([&] {
                EXPECT_FALSE(scope.run([&] {
                  for (int i = 0; i < 3; ++i) {
                    scope.reschedule(deadline::after(1s));
                    sleep_for(900ms);
                  }
                  sleep_for(10s);
                }));
              }),
              2800ms);
  });
}

// CancelScope(shield=True) ... if any outer scope is cancelled, the code inside this scope keeps going, but a
// shielded scope can still be cancelled by itself.
TEST(TrioCancelScope, AShieldKeepsOuterCancellationOut) {
  simulate([] {
    EXPECT_FALSE(cancel_scope({.until = deadline::after(1s)}).run([] {
      EXPECT_EQ(
          time_of([] {
            EXPECT_FALSE(cancel_scope({.until = deadline::after(3s), .shield = true}).run([] { sleep_for(10s); }));
          }),
          3s);
      sleep_for(1s);
    }));
  });
}

// Each CancelScope object may only be used for one `with` block: RuntimeError.
TEST(TrioCancelScope, IsUsedOnce) {
  simulate([] {
    const cancel_scope scope;
    scope.run([] {});
    EXPECT_THROW(scope.run([] {}), std::logic_error);
  });
}

// It is possible to cancel a scope before it is entered: the first checkpoint in it raises.
TEST(TrioCancelScope, CanBeCancelledBeforeItIsEntered) {
  simulate([] {
    const cancel_scope scope;
    scope.cancel();
    bool entered = false;
    EXPECT_FALSE(scope.run([&] {
      entered = true;
      yield();
    }));
    EXPECT_TRUE(entered);
  });
}

// a checkpoint is always executed, even if the operation could complete at once.
TEST(TrioCancelScope, AnOperationThatNeedNotWaitIsACheckpointToo) {
  simulate([] {
    auto ready = spawn([] { return 1; });
    ready.wait();
    const cancel_scope scope;
    EXPECT_FALSE(scope.run([&] {
      scope.cancel();
      ready.get();
      ADD_FAILURE();
    }));
  });
}

// Cancelling a nursery's scope cancels all the tasks in it, and their children.
TEST(TrioCancelScope, ReachesTheTasksInItAndTheirChildren) {
  simulate([] {
    int unwound = 0;
    const cancel_scope scope;
    std::vector<future<void>> tasks;
    EXPECT_FALSE(scope.run([&] {
      for (int i = 0; i < 3; ++i)
        tasks.push_back(spawn([&] {
          const struct note {
            int& n;
            ~note() { ++n; }
          } guard{unwound};
          spawn([&] {
            const note inner{unwound};
            sleep_for(100s);
          }).get();
        }));
      sleep_for(1s);
      scope.cancel();
      gather(std::move(tasks)).get();
    }));
    sleep_for(1s);
    EXPECT_EQ(unwound, 6);
  });
}

// Any task may call cancel() on a scope that another task is in.
TEST(TrioCancelScope, AnotherTaskCanCancelIt) {
  simulate([] {
    const cancel_scope scope;
    auto other = spawn([&] {
      sleep_for(1s);
      scope.cancel();
    });
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(scope.run([] { sleep_for(100s); })); }), 1s);
    other.get();
  });
}

// Exceptions other than Cancelled pass through, also when the scope was cancelled.
TEST(TrioCancelScope, AnErrorInACancelledBlockComesOut) {
  simulate([] {
    const cancel_scope scope;
    EXPECT_THROW(scope.run([&] {
      scope.cancel();
      throw std::runtime_error("mine");
    }),
                 std::runtime_error);
  });
}

// current_effective_deadline: the earliest deadline among all the scopes around, up to a shield.
TEST(TrioCancelScope, TheEffectiveDeadlineIsTheEarliestUpToAShield) {
  simulate([] {
    const auto near = deadline::after(1s);
    const auto far = deadline::after(5s);
    cancel_scope({.until = near}).run([&] {
      EXPECT_EQ(current_deadline(), near);
      cancel_scope({.until = far}).run([&] {
        EXPECT_EQ(current_deadline(), near);
        cancel_scope({.until = far, .shield = true}).run([&] { EXPECT_EQ(current_deadline(), far); });
      });
    });
    EXPECT_EQ(current_deadline(), deadline::never());
  });
}

// move_on_after, fail_after: the scope as functions.
TEST(TrioCancelScope, MoveOnAfterAndFailAfter) {
  simulate([] {
    EXPECT_FALSE(move_on_after(1s, [] { sleep_for(2s); }));
    EXPECT_TRUE(move_on_after(2s, [] { sleep_for(1s); }));
    EXPECT_THROW(timeout(1s, [] { sleep_for(2s); }), timed_out);
  });
}

}  // namespace
}  // namespace weft::testing::cancel_scope_test
