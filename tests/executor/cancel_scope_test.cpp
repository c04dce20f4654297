#include "weft/cancel_scope.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::cancel_scope_test {
namespace {

class CancelScopes : public OnLoops {};
WEFT_ON_LOOPS(CancelScopes);

/// Runs the body in a fiber, a CPU task and a blocking call, one after the other.
template <class F>
void in_every_kind_of_task(F body) {
  spawn(body).get();
  spawn_cpu(body).get();
  spawn_blocking(body).get();
}

TEST(CancelScope, SaysWhetherItsBlockCameToItsEnd) {
  simulate([] {
    in_every_kind_of_task([] {
      EXPECT_TRUE(cancel_scope().run([] { sleep_for(1s); }));
      EXPECT_EQ(cancel_scope().run([] { return std::make_unique<int>(7); }).value().operator*(), 7);
      const cancel_scope scope;
      EXPECT_FALSE(scope.run([&] {
        scope.cancel();
        sleep_for(1s);
        ADD_FAILURE();
      }));
      EXPECT_TRUE(scope.cancelled());
      const cancel_scope other;
      EXPECT_EQ(other.run([&]() -> int {
        other.cancel();
        yield();
        return 1;
      }),
                std::nullopt);
      EXPECT_NO_THROW(check_cancelled()) << "outside nothing is cancelled";
      sleep_for(1s);
    });
  });
}

TEST_P(CancelScopes, AreCancelledFromEveryKindOfAgent) {
  run([] {
    std::atomic<int> unwound{0};
    for (int from = 0; from < 5; ++from)
      for (int kind = 0; kind < 4; ++kind) {
        const cancel_scope scope;
        std::atomic<bool> inside{false};
        const auto body = [&] {
          EXPECT_FALSE(scope.run([&] {
            inside = true;
            sleep_for(1000s);
          }));
          ++unwound;
          sleep_for(1us);
        };
        auto f = kind == 0   ? spawn(body)
                 : kind == 1 ? spawn(on_loop(loop_count() - 1), body)
                 : kind == 2 ? spawn_cpu(body)
                             : spawn_blocking(body);
        while (!inside) yield();
        const auto cancel = [scope] { scope.cancel(); };
        if (from == 0) cancel();
        if (from == 1) spawn(on_loop(loop_count() - 1), cancel).get();
        if (from == 2) spawn_cpu(cancel).get();
        if (from == 3) spawn_blocking(cancel).get();
        if (from == 4) std::thread(cancel).join();
        f.get();
      }
    EXPECT_EQ(unwound, 20);
  });
}

TEST(CancelScope, OnAPlainThreadWorksToo) {
  const cancel_scope scope;
  std::atomic<bool> inside{false};
  std::thread waits([&] {
    EXPECT_FALSE(scope.run([&] {
      inside = true;
      promise<void>().get_future().wait();
      promise<int> never;
      never.get_future().get();
    }));
    EXPECT_FALSE(cancel_scope({.until = deadline::after(5ms)}).run([] {
      promise<int> never;
      never.get_future().get();
    }));
    EXPECT_TRUE(cancel_scope({.until = deadline::after(5s)}).run([] { sleep_for(1ms); }));
  });
  while (!inside) std::this_thread::yield();
  scope.cancel();
  waits.join();
}

TEST(CancelScope, CancelledBeforeItRunsThrowsAtItsFirstWait) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope scope;
      scope.cancel();
      scope.cancel();
      bool began = false;
      EXPECT_FALSE(scope.run([&] {
        began = true;
        yield();
        ADD_FAILURE();
      }));
      EXPECT_TRUE(began);
      const cancel_scope idle;
      idle.cancel();
      EXPECT_TRUE(idle.run([] {})) << "without a wait it never hears of it";
    });
  });
}

TEST(CancelScope, CancelledAfterItRanDoesNothing) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope scope;
      EXPECT_TRUE(scope.run([] { yield(); }));
      scope.cancel();
      EXPECT_TRUE(scope.cancelled());
      yield();
      const cancel_scope in_time({.until = deadline::after(1s)});
      EXPECT_TRUE(in_time.run([] {}));
      sleep_for(2s);
      EXPECT_FALSE(in_time.cancelled()) << "its deadline passed when it was over";
    });
  });
  const cancel_scope late;
  weft::run([&] { EXPECT_TRUE(late.run([] { yield(); })); }, {.loops = 1});
  late.cancel();
  late.reschedule(deadline::after(1s));
}

TEST(CancelScope, RunsOneBlockOnly) {
  simulate([] {
    const cancel_scope scope;
    EXPECT_TRUE(scope.run([] {}));
    EXPECT_THROW(scope.run([] {}), std::logic_error);
    const cancel_scope copy = scope;
    EXPECT_THROW(copy.run([] {}), std::logic_error);
    EXPECT_NO_THROW(yield());
  });
}

TEST(CancelScope, AbsorbsOnlyItsOwn) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope outer;
      const cancel_scope inner;
      bool reached = false;
      EXPECT_FALSE(outer.run([&] {
        EXPECT_FALSE(inner.run([&] {
          inner.cancel();
          yield();
        }));
        EXPECT_TRUE(cancel_scope().run([&] { yield(); }));
        reached = true;
        cancel_scope().run([&] {
          outer.cancel();
          yield();
        });
        ADD_FAILURE() << "the inner scope absorbed the outer one's cancellation";
      }));
      EXPECT_TRUE(reached);
    });
  });
}

TEST(CancelScope, OutcomeOfAFailureIsTheFailure) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope scope;
      EXPECT_THROW(scope.run([&] {
        scope.cancel();
        try {
          yield();
        } catch (const cancelled&) {
          throw std::runtime_error("instead");
        }
      }),
                   std::runtime_error);
      const cancel_scope deaf;
      EXPECT_EQ(deaf.run([&] {
        deaf.cancel();
        try {
          yield();
        } catch (const cancelled&) {
        }
        return 5;
      }),
                5)
          << "who ignores it keeps its result";
      const cancel_scope foreign;
      auto shared = spawn([] { sleep_for(10s); });
      shared.cancel();
      EXPECT_THROW(foreign.run([&] { shared.get(); }), cancelled) << "somebody else's task was cancelled";
    });
  });
}

TEST(CancelScope, TellsReasonAndWhoAsked) {
  simulate([] {
    const cancel_scope scope;
    std::uint64_t asker = 0;
    auto f = spawn([&] {
      scope.run([&] {
        try {
          sleep_for(10s);
        } catch (const cancelled& c) {
          EXPECT_EQ(c.reason(), cancel_reason::sibling_failed);
          EXPECT_EQ(c.by(), asker);
          EXPECT_NE(c.by(), 0U);
          throw;
        }
      });
    });
    sleep_for(1s);
    spawn_cpu([&] {
      asker = detail::current_task_id();
      scope.cancel(cancel_reason::sibling_failed);
      scope.cancel(cancel_reason::user);
    }).get();
    f.get();
  });
}

TEST(CancelScope, CancelsTheTasksSpawnedInIt) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope scope;
      std::vector<future<void>> all;
      const auto body = [] { sleep_for(1000s); };
      EXPECT_FALSE(scope.run([&] {
        for (int i = 0; i < 3; ++i) {
          all.push_back(spawn(body));
          all.push_back(spawn(anywhere, body));
          all.push_back(spawn_cpu(body));
          all.push_back(spawn_blocking(body));
        }
        all.push_back(spawn(detached, [] { sleep_for(3s); }));
        sleep_for(1s);
        scope.cancel(cancel_reason::shutdown);
        sleep_for(1s);
      }));
      all.back().get();
      all.pop_back();
      EXPECT_LT(time_of([&] {
                  for (auto& f : all) try {
                      f.get();
                      ADD_FAILURE();
                    } catch (const cancelled& c) {
                      EXPECT_EQ(c.reason(), cancel_reason::shutdown);
                    }
                }),
                1s);
    });
  });
}

TEST(CancelScope, ThatWasLeftCancelsNothing) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope outer;
      const cancel_scope inner;
      std::vector<future<void>> all;
      const auto body = [] { sleep_for(10s); };
      outer.run([&] {
        inner.run([&] {
          all.push_back(spawn(body));
          all.push_back(spawn_cpu(body));
          all.push_back(spawn_blocking(body));
        });
        inner.cancel();
        sleep_for(1s);
        for (auto& f : all) EXPECT_FALSE(f.ready());
        outer.cancel();
      });
      for (auto& f : all) EXPECT_THROW(f.get(), cancelled);
    });
  });
}

TEST_P(CancelScopes, CancelTasksThatAreBeingSpawnedAndThatEnd) {
  run([] {
    const auto rounds = [] {
      for (int round = 0; round < 50; ++round) {
        const cancel_scope scope;
        auto canceller = spawn(anywhere, [scope] { scope.cancel(); });
        std::vector<future<void>> all;
        scope.run([&] {
          for (int i = 0; i < 5; ++i) {
            all.push_back(spawn([] { yield(); }));
            all.push_back(spawn_cpu([] { yield(); }));
            all.push_back(spawn_blocking(abandonable, [] {}));
          }
        });
        canceller.get();
        for (auto& f : all) try {
            f.get();
          } catch (const cancelled&) {
          }
      }
    };
    auto cpu = spawn_cpu(rounds);
    auto blocking = spawn_blocking(rounds);
    cpu.get();
    blocking.get();
  });
}

TEST(CancelScope, ThatIsCancelledLetsNothingStart) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope scope;
      bool started = false;
      std::vector<future<void>> all;
      scope.run([&] {
        scope.cancel();
        const auto body = [&] { started = true; };
        all.push_back(spawn(body));
        all.push_back(spawn(anywhere, body));
        all.push_back(spawn_cpu(body));
        all.push_back(spawn_blocking(body));
      });
      for (auto& f : all) EXPECT_THROW(f.get(), cancelled);
      EXPECT_FALSE(started);
    });
  });
}

TEST(CancelScope, EndsAtItsDeadlineWhichMayBeMoved) {
  simulate([] {
    in_every_kind_of_task([] {
      const auto took = [](const cancel_scope& scope, auto before) {
        return time_of([&] {
          EXPECT_FALSE(scope.run([&] {
            before();
            sleep_for(1000s);
          }));
          EXPECT_TRUE(scope.cancelled());
        });
      };
      const cancel_scope plain({.until = deadline::after(2s)});
      EXPECT_EQ(took(plain, [] {}), 2s);
      const cancel_scope later({.until = deadline::after(2s)});
      EXPECT_EQ(took(later,
                     [&] {
                       EXPECT_EQ(current_deadline(), later.until());
                       later.reschedule(deadline::after(5s));
                       EXPECT_EQ(current_deadline(), deadline::after(5s));
                     }),
                5s);
      const cancel_scope sooner({.until = deadline::after(20s)});
      EXPECT_EQ(took(sooner, [&] { sooner.reschedule(deadline::after(1s)); }), 1s);
      const cancel_scope given;
      EXPECT_EQ(took(given, [&] { given.reschedule(deadline::after(3s)); }), 3s);
      const cancel_scope taken({.until = deadline::after(1s)});
      EXPECT_TRUE(taken.run([&] {
        taken.reschedule(deadline::never());
        sleep_for(5s);
      }));
      const cancel_scope passed({.until = deadline::after(-1s)});
      EXPECT_EQ(took(passed, [] {}), 0s);
      yield();
    });
  });
}

TEST_P(CancelScopes, AreRescheduledFromOutside) {
  run([] {
    for (int kind = 0; kind < 3; ++kind) {
      const cancel_scope scope({.until = deadline::after(1000s)});
      std::atomic<bool> inside{false};
      const auto body = [&] {
        EXPECT_FALSE(scope.run([&] {
          inside = true;
          sleep_for(1000s);
        }));
      };
      auto f = kind == 0 ? spawn(on_loop(loop_count() - 1), body) : kind == 1 ? spawn_cpu(body) : spawn_blocking(body);
      while (!inside) yield();
      spawn_blocking([scope] { scope.reschedule(deadline::after(1ms)); }).get();
      f.get();
    }
  });
}

TEST(CancelScope, ALaterDeadlineHoldsForTheTasksSpawnedBefore) {
  simulate([] {
    const cancel_scope scope({.until = deadline::after(1s)});
    EXPECT_TRUE(scope.run([&] {
      auto fiber = spawn([] { sleep_for(3s); });
      auto cpu = spawn_cpu([] { sleep_for(3s); });
      scope.reschedule(deadline::after(10s));
      fiber.get();
      cpu.get();
    }));
  });
}

TEST(CancelScope, ThatShieldsHearsOnlyOfItself) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope outer;
      const cancel_scope inner({.shield = true});
      bool shielded = false;
      EXPECT_FALSE(outer.run([&] {
        outer.cancel();
        EXPECT_FALSE(inner.run([&] {
          sleep_for(1s);
          shielded = true;
          EXPECT_FALSE(cancel_scope({.until = deadline::after(1s)}).run([] { sleep_for(10s); }));
          inner.cancel();
          yield();
          ADD_FAILURE();
        }));
        yield();
        ADD_FAILURE();
      }));
      EXPECT_TRUE(shielded);
    });
  });
}

// A task that waits in a shield is not woken when it is cancelled, whatever it runs on.
TEST_P(CancelScopes, AShieldedWaitIsLeftAlone) {
  run([] {
    for (int kind = 0; kind < 3; ++kind) {
      promise<int> value;
      std::atomic<bool> inside{false};
      const auto body = [&] {
        shield([&] {
          inside = true;
          EXPECT_EQ(value.get_future().get(), 3);
        });
        EXPECT_THROW(yield(), cancelled);
        yield();
      };
      auto f = kind == 0 ? spawn(body) : kind == 1 ? spawn_cpu(body) : spawn_blocking(body);
      while (!inside) yield();
      sleep_for(1ms);
      f.cancel();
      sleep_for(1ms);
      value.set_value(3);
      EXPECT_THROW(f.get(), cancelled);
    }
  });
}

TEST(CancelScope, EnteredWhileUnwindingWorks) {
  simulate([] {
    in_every_kind_of_task([] {
      const cancel_scope outer;
      bool cleaned = false;
      EXPECT_FALSE(outer.run([&] {
        const struct cleanup {
          bool& done;
          ~cleanup() {
            sleep_for(1s);
            const cancel_scope inner({.until = deadline::after(1s)});
            EXPECT_FALSE(inner.run([] { sleep_for(10s); }));
            done = true;
          }
        } guard{cleaned};
        outer.cancel();
        yield();
      }));
      EXPECT_TRUE(cleaned);
    });
  });
}

TEST(CancelScope, IsKeptByWhoeverMayCancelItLate) {
  simulate([] {
    future<void> late;
    {
      const cancel_scope scope;
      late = spawn(anywhere, [scope] {
        sleep_for(5s);
        scope.cancel();
      });
      EXPECT_TRUE(scope.run([] { sleep_for(1s); }));
    }
    late.get();
  });
}

TEST(CancelScope, OfATaskThatIsCancelledIsLeftByTheTasksOwn) {
  simulate([] {
    for (int kind = 0; kind < 3; ++kind) {
      const auto body = [] {
        cancel_scope().run([] { sleep_for(10s); });
        ADD_FAILURE() << "a scope absorbed its task's cancellation";
      };
      auto f = kind == 0 ? spawn(body) : kind == 1 ? spawn_cpu(body) : spawn_blocking(body);
      sleep_for(1s);
      f.cancel();
      EXPECT_THROW(f.get(), cancelled);
    }
  });
}

// Cancelled, rescheduled and left at about the same time, from everywhere.
TEST(CancelScope, StressOfCancelAgainstLeave) {
  weft::run(
      [] {
        std::atomic<int> ended{0};
        for (int round = 0; round < 30; ++round) {
          std::vector<future<void>> all;
          for (int i = 0; i < 4; ++i) {
            const cancel_scope scope({.until = i % 2 ? deadline::after(100us) : deadline::never()});
            const auto body = [scope, &ended, i] {
              scope.run([i] {
                for (int k = 0; k < 3; ++k) sleep_for(10us * i);
              });
              yield();
              ++ended;
            };
            const auto cancel = [scope, i] {
              if (i % 3 == 0) scope.reschedule(deadline::after(50us));
              scope.cancel();
            };
            all.push_back(i % 2 ? spawn(anywhere, body) : spawn_cpu(body));
            all.push_back(i % 2 ? spawn_cpu(cancel) : spawn(anywhere, cancel));
            if (round % 8 == 0) std::thread(cancel).join();
          }
          for (auto& f : all) f.get();
        }
        EXPECT_EQ(ended, 120);
      },
      {.loops = 2, .cpu_workers = 2, .stall_after = 0ns});
}

}  // namespace
}  // namespace weft::testing::cancel_scope_test
