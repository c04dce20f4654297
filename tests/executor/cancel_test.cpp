#include "weft/cancel.hpp"

#include <atomic>
#include <stdexcept>
#include <string>

#include "weft_test.hpp"

namespace weft::testing::cancel_test {
namespace {

class Cancel : public OnLoops {};
WEFT_ON_LOOPS(Cancel);

TEST(Cancellation, ReachesATaskAtItsWait) {
  simulate([] {
    for (int kind = 0; kind < 4; ++kind) {
      bool unwound = false;
      const auto body = [&] {
        try {
          sleep_for(1000s);
        } catch (const cancelled& c) {
          unwound = true;
          EXPECT_EQ(c.reason(), cancel_reason::user);
          throw;
        }
      };
      auto f = kind == 0   ? spawn(body)
               : kind == 1 ? spawn(anywhere, body)
               : kind == 2 ? spawn_cpu(body)
                           : spawn_blocking(body);
      sleep_for(1s);
      EXPECT_LT(time_of([&] {
                  f.cancel();
                  EXPECT_THROW(f.get(), cancelled);
                }),
                1s);
      EXPECT_TRUE(unwound);
      f.cancel();
      f.cancel();  // after the end it does nothing
    }
  });
}

TEST_P(Cancel, ReachesEveryKindOfTaskForReal) {
  run([] {
    std::atomic<int> started{0};
    std::atomic<int> unwound{0};
    const auto body = [&] {
      ++started;
      try {
        sleep_for(1000s);
      } catch (const cancelled&) {
        ++unwound;
        throw;
      }
    };
    std::vector<future<void>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(spawn(body));
      all.push_back(spawn(anywhere, body));
      all.push_back(spawn(on_loop(loop_count() - 1), body));
      all.push_back(spawn_cpu(body));
      all.push_back(spawn_blocking(body));
    }
    while (started < 50) sleep_for(1ms);
    for (auto& f : all) f.cancel();
    for (auto& f : all) EXPECT_THROW(f.get(), cancelled);
    EXPECT_EQ(unwound, 50);
  });
}

TEST(Cancellation, BeforeATaskStartsKeepsItFromStarting) {
  simulate([] {
    bool ran = false;
    auto a = spawn([&] { ran = true; });
    auto b = spawn_cpu([&] { ran = true; });
    auto c = spawn_blocking([&] { ran = true; });
    for (auto* f : {&a, &b, &c}) f->cancel();
    for (auto* f : {&a, &b, &c}) EXPECT_THROW(f->get(), cancelled);
    EXPECT_FALSE(ran);
  });
}

TEST(Cancellation, IsNoStdException) {
  simulate([] {
    auto f = spawn([] {
      try {
        sleep_for(10s);
      } catch (const std::exception&) {
        ADD_FAILURE() << "swallowed";
      }
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
  });
}

TEST(Cancellation, IsLevelTriggered) {
  simulate([] {
    int thrown = 0;
    auto f = spawn([&] {
      for (int i = 0; i < 5; ++i) try {
          sleep_for(10s);
        } catch (const cancelled&) {
          ++thrown;
        }
      auto ready = spawn([] {});
      try {
        ready.get();
      } catch (const cancelled&) {
        ++thrown;
      }
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_LT(time_of([&] { f.get(); }), 1s) << "it caught its own cancellation and returned: that is its result";
    EXPECT_EQ(thrown, 6);
  });
}

TEST(Cancellation, ThatIsSwallowedDoesNotTakeTheLoopAway) {
  simulate(
      [] {
        bool stop = false;
        auto f = spawn([&] {
          while (!stop) try {
              sleep_for(10s);
            } catch (...) {
            }
        });
        sleep_for(1s);
        f.cancel();
        spawn([&] { stop = true; }).get();
        f.get();
      },
      {.loops = 1});
}

TEST(Cancellation, OfSomebodyElsesTaskIsAFailureOfMine) {
  simulate([] {
    auto shared = spawn([] { sleep_for(1000s); });
    auto mine = spawn([shared] { shared.get(); });
    sleep_for(1s);
    shared.cancel();
    EXPECT_THROW(mine.get(), cancelled);
    auto keeps_on = spawn([shared] {
      try {
        shared.get();
      } catch (const cancelled&) {
      }
      sleep_for(1s);  // not cancelled itself
      return 5;
    });
    EXPECT_EQ(keeps_on.get(), 5);
  });
}

TEST(Cancellation, ReachesChildren) {
  simulate([] {
    int unwound = 0;
    const auto leaf = [&] {
      try {
        sleep_for(1000s);
      } catch (const cancelled&) {
        ++unwound;
        throw;
      }
    };
    auto parent = spawn([&] {
      auto a = spawn(leaf);
      auto b = spawn(anywhere, leaf);
      auto c = spawn(on_loop(1), leaf);
      auto d = spawn_cpu([&] {
        auto in_cpu = spawn(leaf);
        auto cpu_in_cpu = spawn_cpu(leaf);
        sleep_for(1000s);
      });
      auto e = spawn([&] {
        auto grandchild = spawn(leaf);
        sleep_for(1000s);
      });
      sleep_for(1000s);
    });
    sleep_for(1s);
    EXPECT_LT(time_of([&] {
                parent.cancel();
                EXPECT_THROW(parent.get(), cancelled);
                sleep_for(500ms);
              }),
              1s);
    EXPECT_EQ(unwound, 6);
  });
}

TEST(Cancellation, ReachesAChainOfTasksHoweverDeep) {
#if defined(__SANITIZE_THREAD__)
  static constexpr int depth_of_chain = 500;  // each fiber costs TSan a thread's state
#else
  static constexpr int depth_of_chain = 5000;
#endif
  sim::run(1,
           [] {
             int alive = 0;
             std::function<void(int)> link = [&](int depth) {
               ++alive;
               struct down {
                 int& n;
                 ~down() { --n; }
               } const d{alive};
               if (depth > 0) {
                 auto next = spawn([&, depth] { link(depth - 1); });
                 next.get();
               } else {
                 sleep_for(1000s);
               }
             };
             auto first = spawn([&] { link(depth_of_chain); });
             sleep_for(1s);
             EXPECT_EQ(alive, depth_of_chain + 1);
             first.cancel();
             EXPECT_THROW(first.get(), cancelled);
             sleep_for(1s);
             EXPECT_EQ(alive, 0);
           },
           {.loops = 1, .stack_size = 64 * 1024});
}

TEST(Cancellation, DoesNotReachDetachedTasks) {
  simulate([] {
    bool finished = false;
    auto parent = spawn([&] {
      auto keeper = spawn(detached, [&] {
        sleep_for(5s);
        finished = true;
      });
      sleep_for(1000s);
    });
    sleep_for(1s);
    parent.cancel();
    EXPECT_THROW(parent.get(), cancelled);
    sleep_for(5s);
    EXPECT_TRUE(finished);
  });
}

TEST(Cancellation, ReachesATaskSpawnedInACancelledScope) {
  simulate([] {
    bool ran = false;
    auto f = spawn([&] {
      try {
        sleep_for(100s);
      } catch (const cancelled&) {
        (void)spawn([&] { ran = true; });
        throw;
      }
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    sleep_for(1s);
    EXPECT_FALSE(ran);
  });
}

// The wait with the only handle links itself and is woken without locked instructions, as long as nobody else can come.
TEST(Ownership, AWaitWithTheOnlyHandleMayEndInAnyWayAndBeTriedAgain) {
  sim::run(1, [] {
    // given up, and shared afterwards
    auto slow = spawn([] {
      shield([] { sleep_for(20ms); });
      return 7;
    });
    EXPECT_THROW(timeout(5ms, [&] { return std::move(slow).get(); }), timed_out);
    ASSERT_TRUE(slow.valid());
    EXPECT_TRUE(slow.ready()) << "it was cancelled and awaited";
    auto other = slow;
    EXPECT_EQ(other.get(), 7);
    EXPECT_EQ(std::move(slow).get(), 7);

    // a task that fails
    EXPECT_THROW(spawn([]() -> int { throw std::runtime_error("no"); }).get(), std::runtime_error);

    // with other handles, it waits like anybody
    future<int> kept;
    auto task = spawn([&] {
      yield();
      return 3;
    });
    auto reader = spawn([&] { kept = task; });
    reader.get();
    EXPECT_EQ(std::move(task).get(), 3);
    EXPECT_EQ(kept.get(), 3);
  });
}

TEST(Ownership, AnOwnedWaitCancelsAndAwaitsItsTask) {
  simulate([] {
    bool unwound = false;
    auto waits = spawn([&] {
      spawn([&] {
        try {
          sleep_for(1000s);
        } catch (const cancelled&) {
          shield([] { sleep_for(2s); });
          unwound = true;
          throw;
        }
      }).get();
    });
    sleep_for(1s);
    waits.cancel();
    EXPECT_EQ(time_of([&] { EXPECT_THROW(waits.get(), cancelled); }), 2s);
    EXPECT_TRUE(unwound) << "the owned task had ended when the wait did";
  });
}

TEST(Ownership, ASharedWaitLeavesTheTaskAlone) {
  simulate([] {
    auto shared = spawn([] {
      sleep_for(5s);
      return 1;
    });
    auto waits = spawn([shared]() mutable { return std::move(shared).get(); });
    sleep_for(1s);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_EQ(shared.get(), 1);
  });
}

TEST(Timeout, CancelsTheWorkAndWaitsForItBeforeItThrows) {
  simulate([] {
    bool ended = false;
    EXPECT_EQ(time_of([&] {
                EXPECT_THROW(timeout(2s,
                                     [&] {
                                       try {
                                         sleep_for(10s);
                                       } catch (const cancelled& c) {
                                         EXPECT_EQ(c.reason(), cancel_reason::deadline);
                                         shield([] { sleep_for(1s); });
                                         ended = true;
                                         throw;
                                       }
                                     }),
                             timed_out);
              }),
              3s);
    EXPECT_TRUE(ended);
  });
}

// A loop that is busy comes late to its timers, and to its mail.
TEST(Timeout, IsItsOwnThoughWhatItAwaitsWasFaster) {
  weft::run(
      [] {
        const auto ends_by_itself = [] {
          for (;;) check_cancelled();
        };
        // (Or for long enough: some of it hears of the end from this loop alone.)
        const auto busy_until_ready = [](const auto& work) {
          const auto until = std::chrono::steady_clock::now() + 20ms;
          while (!work.ready() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
        };
        EXPECT_THROW(timeout(2ms,
                             [&] {
                               auto work = spawn_blocking(ends_by_itself);
                               busy_until_ready(work);
                               work.get();
                             }),
                     timed_out);
        EXPECT_THROW(timeout(2ms,
                             [&] {
                               auto work = spawn_cpu(ends_by_itself);
                               busy_until_ready(work);
                               gather(std::move(work), spawn([] { sleep_for(1h); })).get();
                             }),
                     timed_out);
        EXPECT_FALSE(cancel_scope({.until = deadline::after(2ms)}).run([&] {
          auto work = spawn_blocking(ends_by_itself);
          busy_until_ready(work);
          work.get();
        }));
        const cancel_scope scope;
        EXPECT_FALSE(scope.run([&] {
          auto work = spawn_blocking(ends_by_itself);
          std::thread([&] { scope.cancel(); }).join();
          busy_until_ready(work);
          work.get();
        }));
        // What nobody around the caller has cancelled is a failure as before.
        EXPECT_THROW(timeout(1h,
                             [] {
                               auto work = spawn([] { sleep_for(1h); });
                               work.cancel();
                               work.get();
                             }),
                     cancelled);
      },
      {.loops = 1});
}

TEST(Timeout, GivesTheResultOfWorkThatIsInTime) {
  simulate([] {
    EXPECT_EQ(timeout(2s,
                      [] {
                        sleep_for(1s);
                        return 5;
                      }),
              5);
    EXPECT_EQ(timeout(2s, spawn([] { return 6; })), 6);
    EXPECT_EQ(timeout(2s, lazy([] { return 7; })), 7);
    EXPECT_EQ(move_on_after(2s, [] { return 8; }), 8);
    EXPECT_TRUE(move_on_after(2s, [] {}));
    sleep_for(5s);  // its deadline is gone
  });
}

TEST(Timeout, MovesOnWithoutAnError) {
  simulate([] {
    EXPECT_FALSE(move_on_after(1s, [] { sleep_for(2s); }));
    EXPECT_EQ(move_on_after(1s,
                            [] {
                              sleep_for(2s);
                              return 1;
                            }),
              std::nullopt);
    bool unwound = false;
    EXPECT_FALSE(move_on_after(1s, spawn([&] {
                                 try {
                                   sleep_for(2s);
                                 } catch (const cancelled&) {
                                   unwound = true;
                                   throw;
                                 }
                               })));
    EXPECT_TRUE(unwound) << "a future passed as an rvalue is owned";
  });
}

TEST(Timeout, KeepsTheResultOfWorkThatFinishesAllTheSame) {
  simulate([] {
    EXPECT_EQ(timeout(1s,
                      [] {
                        shield([] { sleep_for(2s); });
                        return 3;
                      }),
              3);
  });
}

TEST(Timeout, NestsAndTheOuterOneWins) {
  simulate([] {
    EXPECT_EQ(time_of([] { EXPECT_THROW(timeout(1s, [] { timeout(10s, [] { sleep_for(100s); }); }), timed_out); }), 1s);
    EXPECT_EQ(time_of([] {
                timeout(10s, [] {
                  EXPECT_THROW(timeout(1s, [] { sleep_for(100s); }), timed_out);
                  sleep_for(2s);
                });
              }),
              3s);
    bool inner_caught = false;
    EXPECT_THROW(timeout(1s,
                         [&] {
                           try {
                             timeout(1s, [] { sleep_for(100s); });
                           } catch (const timed_out&) {
                             inner_caught = true;
                           }
                           sleep_for(100s);
                         }),
                 timed_out);
  });
}

TEST(Timeout, WorksInEveryKindOfTask) {
  simulate([] {
    const auto body = [] {
      EXPECT_THROW(timeout(1s, [] { sleep_for(100s); }), timed_out);
      EXPECT_THROW(timeout(1s, [] { spawn([] { sleep_for(100s); }).get(); }), timed_out);
      EXPECT_FALSE(move_on_after(1s, [] { sleep_for(100s); }));
    };
    spawn_cpu(body).get();
    spawn_blocking(body).get();
    spawn(anywhere, body).get();
  });
}

TEST_P(Cancel, TimesOutForRealInEveryKindOfTask) {
  run([] {
    const auto body = [] {
      EXPECT_THROW(timeout(5ms, [] { sleep_for(100s); }), timed_out);
      EXPECT_THROW(timeout(5ms, [] { spawn([] { sleep_for(100s); }).get(); }), timed_out);
      promise<int> never;
      auto f = never.get_future();
      EXPECT_FALSE(f.wait_for(1ms));
    };
    for (int i = 0; i < 3; ++i) {
      auto a = spawn(body);
      auto b = spawn_cpu(body);
      auto c = spawn_blocking(body);
      gather(std::move(a), std::move(b), std::move(c)).get();
    }
  });
}

TEST(Timeout, IsInheritedByChildren) {
  simulate([] {
    int unwound = 0;
    const auto child = [&] {
      EXPECT_FALSE(current_deadline().is_never());
      try {
        sleep_for(100s);
      } catch (const cancelled& c) {
        EXPECT_EQ(c.reason(), cancel_reason::deadline);
        ++unwound;
        throw;
      }
    };
    EXPECT_THROW(timeout(2s,
                         [&] {
                           auto a = spawn(child);
                           auto b = spawn_cpu(child);
                           auto c = spawn(anywhere, child);
                           a.get();
                         }),
                 timed_out);
    sleep_for(1s);
    EXPECT_EQ(unwound, 3);
    // A child that outlives the block keeps the deadline.
    future<void> left;
    timeout(2s, [&] { left = spawn(child); });
    EXPECT_EQ(time_of([&] { EXPECT_THROW(left.get(), cancelled); }), 2s);
    EXPECT_EQ(unwound, 4);
  });
}

TEST(Shield, KeepsCancellationOut) {
  simulate([] {
    bool done = false;
    auto f = spawn([&] {
      shield([&] {
        sleep_for(5s);
        spawn([] { sleep_for(1s); }).get();
        EXPECT_THROW(timeout(1s, [] { sleep_for(10s); }), timed_out) << "scopes inside a shield work";
        done = true;
      });
      sleep_for(100s);
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_EQ(time_of([&] { EXPECT_THROW(f.get(), cancelled); }), 6s);
    EXPECT_TRUE(done);
  });
}

TEST(Shield, KeepsCancellationOutOfAWaitOffTheLoops) {
  const auto body = [] {
    for (int kind = 0; kind < 2; ++kind) {
      std::atomic<bool> waits{false};
      bool whole = false;
      const auto shielded = [&] {
        shield([&] {
          waits = true;
          sleep_for(5ms);
          whole = true;
        });
        sleep_for(100s);
      };
      auto f = kind == 0 ? spawn_cpu(shielded) : spawn_blocking(shielded);
      while (!waits) sleep_for(1ms);
      sleep_for(1ms);
      f.cancel();
      EXPECT_THROW(f.get(), cancelled);
      EXPECT_TRUE(whole);
    }
  };
  weft::run(body);
  simulate(body);
}

TEST(Unwinding, IgnoresScopesEnteredBeforeTheExceptionAndObeysThoseSince) {
  simulate([] {
    bool cleaned = false;
    struct cleanup {
      bool& done;
      ~cleanup() {
        sleep_for(1s);  // the task's scope is cancelled, and was entered before the exception
        EXPECT_FALSE(move_on_after(1s, [] { sleep_for(10s); })) << "a timeout in a destructor works";
        done = true;
      }
    };
    auto f = spawn([&] {
      const cleanup c{cleaned};
      sleep_for(100s);
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_EQ(time_of([&] { EXPECT_THROW(f.get(), cancelled); }), 2s);
    EXPECT_TRUE(cleaned);
  });
}

TEST(CheckCancelled, IsSeenByACpuTaskThatComputes) {
  weft::run([] {
    std::atomic<bool> started{false};
    auto f = spawn_cpu([&] {
      started = true;
      for (;;) check_cancelled();
    });
    while (!started) sleep_for(1ms);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    auto returns = spawn_cpu([&] {
      while (!cancel_requested()) {
      }
      return 1;
    });
    sleep_for(5ms);
    returns.cancel();
    EXPECT_THROW(returns.get(), cancelled) << "a CPU task that was cancelled ends as cancelled, whatever it returns";
    check_cancelled();
  });
}

TEST(Checkpoint, ThrowsEvenWhenTheResultIsReady) {
  simulate([] {
    auto ready = spawn([] { return 1; });
    ready.wait();
    auto f = spawn([&] {
      try {
        sleep_for(100s);
      } catch (const cancelled&) {
      }
      return ready.get();
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
  });
}

TEST(Checkpoint, LetsOthersRunEvery128thTime) {
  weft::run(
      [] {
        auto ready = spawn([] { return 1; });
        ready.wait();
        bool other_ran = false;
        auto other = spawn([&] { other_ran = true; });
        int calls = 0;
        while (!other_ran && calls < 1000) {
          ready.get();
          ++calls;
        }
        EXPECT_LE(calls, 128);
      },
      {.loops = 1});
}

}  // namespace
}  // namespace weft::testing::cancel_test
