#include "weft/task_group.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::task_group_test {
namespace {

class TaskGroupOnLoops : public OnLoops {};
WEFT_ON_LOOPS(TaskGroupOnLoops);

// What a task that is to be cancelled does: counts its end.
auto forever(int& unwound, std::chrono::seconds cleanup = 0s) {
  return [&unwound, cleanup] {
    try {
      sleep_for(1000s);
    } catch (const cancelled&) {
      shield([&] { sleep_for(cleanup); });
      ++unwound;
      throw;
    }
  };
}
auto fails_after(std::chrono::seconds delay, const char* what) {
  return [=] {
    sleep_for(delay);
    throw std::runtime_error(what);
  };
}

// The same body in each kind of task, and on the other loop.
void in_every_kind_of_task(const std::function<void()>& body) {
  simulate([&] {
    body();
    spawn(on_loop(1), body).get();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

TEST(TaskGroup, WaitsForAllItsChildren) {
  in_every_kind_of_task([] {
    std::atomic<int> done{0};
    const auto child = [&done](std::chrono::seconds delay) {
      return [&done, delay] {
        sleep_for(delay);
        ++done;
      };
    };
    task_group g;
    const auto start = clock::now();
    g.spawn(child(1s));
    g.spawn(anywhere, child(2s));
    g.spawn(on_loop(1), {.name = "named"}, child(3s));
    g.spawn({.name = "named"}, child(4s));
    g.spawn_cpu(child(5s));
    g.spawn_blocking(child(6s));
    auto value = g.spawn([] { return 7; });
    g.join();
    EXPECT_GE(clock::now() - start, 6s);
    EXPECT_LT(clock::now() - start, 7s);
    EXPECT_EQ(done, 6);
    EXPECT_TRUE(value.ready());
    EXPECT_EQ(value.get(), 7);
    g.join();  // once more does nothing
    EXPECT_THROW(g.spawn([] {}), std::logic_error);
    task_group().join();
    const task_group unused;
  });
}

TEST(TaskGroup, CancelsTheSiblingsOfAChildThatFailsAndThrowsItsError) {
  in_every_kind_of_task([] {
    int unwound = 0;
    const auto start = clock::now();
    task_group g;
    g.spawn(forever(unwound));
    g.spawn(anywhere, forever(unwound));
    g.spawn(on_loop(1), forever(unwound));
    g.spawn_cpu(forever(unwound));
    g.spawn_blocking(forever(unwound, 3s));
    g.spawn(fails_after(1s, "no"));
    EXPECT_THROW(g.join(), std::runtime_error);
    EXPECT_EQ(unwound, 5);
    EXPECT_GE(clock::now() - start, 4s);
    EXPECT_LT(clock::now() - start, 5s);
    g.join();
    check_cancelled();
  });
}

TEST(TaskGroup, SaysWhyItsChildrenAreCancelled) {
  simulate([] {
    cancel_reason reason{};
    std::uint64_t by = 0;
    task_group g;
    g.spawn([&] {
      try {
        sleep_for(100s);
      } catch (const cancelled& c) {
        reason = c.reason();
        by = c.by();
        throw;
      }
    });
    std::uint64_t culprit = 0;
    g.spawn([&] {
      sleep_for(1s);
      culprit = detail::current_task_id();
      throw 1;
    });
    EXPECT_THROW(g.join(), int);
    EXPECT_EQ(reason, cancel_reason::sibling_failed);
    EXPECT_EQ(by, culprit);
  });
}

TEST(TaskGroup, ThrowsAGroupWhenSeveralFailWithoutThoseThatWereCancelled) {
  in_every_kind_of_task([] {
    int unwound = 0;
    task_group g;
    g.spawn(fails_after(1s, "first"));
    g.spawn(forever(unwound));
    g.spawn([] {
      try {
        sleep_for(100s);
      } catch (const cancelled&) {
        throw std::invalid_argument("second");
      }
    });
    try {
      g.join();
      ADD_FAILURE();
    } catch (const exception_group& e) {
      EXPECT_EQ(e.exceptions().size(), 2U);
      EXPECT_STREQ(e.what(), "2 errors: first; second");
      const auto [logic, others] = e.split<std::logic_error>();
      EXPECT_EQ(logic.size(), 1U);
      EXPECT_EQ(others.size(), 1U);
    }
    EXPECT_EQ(unwound, 1);
  });
}

TEST(TaskGroup, ThatIsCancelledEndsWithoutAnError) {
  in_every_kind_of_task([] {
    int unwound = 0;
    bool ran = false;
    task_group g;
    g.spawn(forever(unwound));
    g.spawn_cpu(forever(unwound));
    sleep_for(1s);
    g.cancel();
    g.cancel();
    EXPECT_THROW(sleep_for(1s), cancelled) << "the group is around its owner, too";
    g.spawn([&] { ran = true; });
    g.spawn_cpu([&] { ran = true; });
    g.join();
    EXPECT_EQ(unwound, 2);
    EXPECT_FALSE(ran) << "a child of a cancelled group never starts";
    sleep_for(1s);
    g.cancel();
    sleep_for(1s);
  });
}

TEST(TaskGroup, IsCancelledFromAnywhere) {
  in_every_kind_of_task([] {
    for (int from = 0; from < 3; ++from) {
      int unwound = 0;
      task_group g;
      g.spawn(forever(unwound));
      const auto canceller = [&] {
        sleep_for(1s);
        g.cancel();
      };
      if (from == 0) g.spawn(on_loop(1), canceller);
      if (from == 1) g.spawn_cpu(canceller);
      if (from == 2) g.spawn_blocking(canceller);
      g.join();
      EXPECT_EQ(unwound, 1);
    }
  });
}

TEST(TaskGroup, WakesItsOwnerWhenAChildFails) {
  in_every_kind_of_task([] {
    EXPECT_LT(time_of([] {
                EXPECT_THROW(with_group([](task_group& g) {
                               g.spawn(fails_after(1s, "no"));
                               sleep_for(100s);
                             }),
                             std::runtime_error);
              }),
              2s);
    sleep_for(1s);
  });
}

TEST(TaskGroup, IsCancelledWithItsOwner) {
  simulate([] {
    const auto body = [](int& unwound) {
      return [&unwound] {
        task_group g;
        g.spawn(forever(unwound, 2s));
        g.spawn_cpu(forever(unwound));
        g.spawn(on_loop(1), forever(unwound));
        g.join();
        ADD_FAILURE();
      };
    };
    for (int kind = 0; kind < 4; ++kind) {
      int unwound = 0;
      auto f = kind == 0   ? spawn(body(unwound))
               : kind == 1 ? spawn(on_loop(1), body(unwound))
               : kind == 2 ? spawn_cpu(body(unwound))
                           : spawn_blocking(body(unwound));
      sleep_for(1s);
      EXPECT_LT(time_of([&] {
                  f.cancel();
                  EXPECT_THROW(f.get(), cancelled);
                }),
                3s);
      EXPECT_EQ(unwound, 3) << "kind " << kind;
    }
  });
}

TEST(TaskGroup, ObeysATimeoutAroundItAndOneAroundItsJoin) {
  in_every_kind_of_task([] {
    int unwound = 0;
    EXPECT_THROW(timeout(1s,
                         [&] {
                           task_group g;
                           g.spawn(forever(unwound));
                           g.spawn_cpu(forever(unwound));
                           g.join();
                         }),
                 timed_out);
    EXPECT_EQ(unwound, 2);
    task_group g;
    g.spawn(forever(unwound));
    g.spawn_cpu(forever(unwound));
    EXPECT_THROW(timeout(1s, [&] { g.join(); }), timed_out);
    EXPECT_EQ(unwound, 4);
    sleep_for(1s);
  });
}

TEST(TaskGroup, ThrowsErrorsOfChildrenRatherThanACancellation) {
  simulate([] {
    auto f = spawn([] {
      task_group g;
      g.spawn([] {
        try {
          sleep_for(100s);
        } catch (const cancelled&) {
          throw std::runtime_error("cleaning up");
        }
      });
      g.join();
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), std::runtime_error);
  });
}

TEST(TaskGroup, LetsChildrenSpawnIntoItWhileItDrains) {
  in_every_kind_of_task([] {
    std::atomic<int> ran{0};
    task_group g;
    const std::function<void(int)> grow = [&](int depth) {
      ++ran;
      sleep_for(1s);
      if (depth == 0) return;
      g.spawn([&grow, depth] { grow(depth - 1); });
      g.spawn(on_loop(1), [&grow, depth] { grow(depth - 1); });
      g.spawn_cpu([&grow, depth] { grow(depth - 1); });
      g.spawn_blocking([&grow, depth] { grow(depth - 1); });
    };
    g.spawn([&] { grow(2); });
    g.join();
    EXPECT_EQ(ran, 1 + 4 + 16);
  });
}

TEST(TaskGroup, KeepsAChildWhoseSpawnerIsCancelled) {
  simulate([] {
    bool done = false;
    task_group g;
    auto spawner = g.spawn([&] {
      EXPECT_FALSE(move_on_after(1s, [&] {
        g.spawn([&] {
          sleep_for(5s);
          EXPECT_TRUE(current_deadline().is_never());
          done = true;
        });
        sleep_for(100s);
      }));
      sleep_for(100s);
    });
    sleep_for(2s);
    spawner.cancel();
    g.join();
    EXPECT_TRUE(done) << "it belongs to the group, not to the scope that it was spawned in";
  });
}

TEST(TaskGroup, LeftUnjoinedCancelsItsChildrenAndWaits) {
  config c{.loops = 2};
  std::atomic<int> reported{0};
  c.on_unhandled = [&](const task_info&, std::exception_ptr) { ++reported; };
  simulate(
      [&] {
        const auto body = [&] {
          int unwound = 0;
          EXPECT_THROW(
              {
                task_group g;
                g.spawn(forever(unwound, 1s));
                g.spawn_cpu(forever(unwound));
                g.spawn([] {
                  try {
                    sleep_for(100s);
                  } catch (const cancelled&) {
                    throw std::runtime_error("nobody will know");
                  }
                });
                sleep_for(1s);
                throw std::logic_error("on the way");
              },
              std::logic_error);
          EXPECT_EQ(unwound, 2);
        };
        reported = 0;
        body();
        EXPECT_EQ(reported, 1);
        spawn_cpu(body).get();
        spawn_blocking(body).get();
        EXPECT_EQ(reported, 3);
      },
      c);
}

#ifndef NDEBUG
TEST(TaskGroup, LeftUnjoinedSaysSo) {
  ::testing::internal::CaptureStderr();
  sim::run(1, [] {
    int unwound = 0;
    {
      task_group g;
      g.spawn(forever(unwound));
      sleep_for(1s);
    }
    EXPECT_EQ(unwound, 1);
  });
  const auto text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("task_group_test.cpp"), std::string::npos) << text;
  EXPECT_NE(text.find("join()"), std::string::npos) << text;
}
#endif

TEST(TaskGroup, MayBeLeftInAnyOrder) {
  in_every_kind_of_task([] {
    int unwound = 0;
    bool done = false;
    auto outer = std::make_unique<task_group>();
    auto inner = std::make_unique<task_group>();
    std::unique_ptr<task_group> from_a_timeout;
    timeout(10s, [&] { from_a_timeout = std::make_unique<task_group>(); });
    outer->spawn([&] {
      sleep_for(1s);
      done = true;
    });
    inner->spawn(forever(unwound));
    from_a_timeout->spawn(forever(unwound));
    outer->join();
    outer.reset();
    EXPECT_TRUE(done);
    sleep_for(1s);
    from_a_timeout->cancel();
    EXPECT_THROW(sleep_for(1s), cancelled);
    from_a_timeout->join();
    EXPECT_EQ(unwound, 1);
    sleep_for(1s);
    inner->cancel();
    inner.reset();
    from_a_timeout.reset();
    EXPECT_EQ(unwound, 2);
    sleep_for(1s);
  });
}

TEST(TaskGroup, NestsAndAnErrorClimbs) {
  in_every_kind_of_task([] {
    int unwound = 0;
    EXPECT_THROW(with_group([&](task_group& outer) {
                   outer.spawn(forever(unwound));
                   outer.spawn([&] {
                     with_group([&](task_group& inner) {
                       inner.spawn(forever(unwound));
                       inner.spawn_cpu(fails_after(1s, "deep"));
                     });
                   });
                 }),
                 std::runtime_error);
    EXPECT_EQ(unwound, 2);
    with_group([&](task_group& outer) {
      outer.spawn([&] { sleep_for(2s); });
      with_group([&](task_group& inner) {
        inner.spawn(forever(unwound));
        inner.cancel();
      });
      sleep_for(1s);
    });
    EXPECT_LE(unwound, 3);
  });
}

TEST(TaskGroup, JoinedByItsOwnChildSaysWhoDidIt) {
  simulate([] {
    task_group g;
    g.spawn({.name = "selfish"}, [&] {
      try {
        g.join();
        ADD_FAILURE();
      } catch (const bad_wait& e) {
        EXPECT_NE(std::string(e.what()).find("\"selfish\""), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("task_group_test.cpp"), std::string::npos) << e.what();
      }
    });
    auto stranger = spawn(on_loop(1), [&] { EXPECT_THROW(g.join(), bad_wait); });
    stranger.get();
    g.join();
  });
}

TEST(TaskGroup, RefusesWhatCannotBe) {
  simulate([] {
    task_group g;
    EXPECT_THROW(g.spawn(detached, [] {}), std::invalid_argument);
    EXPECT_THROW(g.spawn(on_loop(99), [] {}), std::out_of_range);
    EXPECT_THROW(g.spawn({.stack_size = 1}, [] {}), std::invalid_argument);
    g.spawn_cpu([&] { EXPECT_THROW(g.spawn(on_loop(99), [] {}), std::out_of_range); });
    g.join();
  });
  EXPECT_THROW(task_group(), no_runtime);
}

TEST(TaskGroup, TakesAChildsErrorThatTheOwnerThrewOnOnlyOnce) {
  simulate([] {
    EXPECT_THROW(with_group([](task_group& g) { g.spawn(fails_after(1s, "once")).get(); }), std::runtime_error);
    try {
      with_group([](task_group& g) {
        g.spawn(fails_after(0s, "child"));
        shield([] { sleep_for(1s); });
        throw std::runtime_error("body");
      });
      ADD_FAILURE();
    } catch (const exception_group& e) {
      EXPECT_STREQ(e.what(), "2 errors: body; child");
    }
  });
}

TEST(WithGroup, GivesWhatTheBodyGives) {
  simulate([] {
    bool child_done = false;
    auto p = with_group([&](task_group& g) {
      g.spawn([&] {
        sleep_for(1s);
        child_done = true;
      });
      return std::make_unique<int>(5);
    });
    EXPECT_EQ(*p, 5);
    EXPECT_TRUE(child_done);
    with_group([](task_group& g) {
      g.cancel();
      sleep_for(1s);
    });
    EXPECT_THROW(with_group([](task_group& g) {
                   g.cancel();
                   sleep_for(1s);
                   return 1;
                 }),
                 cancelled);
    sleep_for(1s);
  });
}

TEST(WithGroup, CancelsTheChildrenWhenTheBodyFails) {
  in_every_kind_of_task([] {
    int unwound = 0;
    EXPECT_THROW(with_group([&](task_group& g) {
                   g.spawn(forever(unwound, 1s));
                   sleep_for(1s);
                   throw std::runtime_error("body");
                 }),
                 std::runtime_error);
    EXPECT_EQ(unwound, 1);
  });
}

TEST(TaskGroupStart, WaitsUntilTheChildIsReady) {
  in_every_kind_of_task([] {
    int unwound = 0;
    task_group g;
    EXPECT_LT(time_of([&] {
                EXPECT_EQ(g.start<int>([&](auto& ready) {
                  sleep_for(1s);
                  ready(8080);
                  forever(unwound)();
                }),
                          8080);
              }),
              2s);
    g.start([](started<>& ready) { ready(); });
    g.cancel();
    g.join();
    EXPECT_EQ(unwound, 1);
  });
}

TEST(TaskGroupStart, ThrowsTheErrorOfAChildThatIsNeverReadyAndHarmsNobodyElse) {
  in_every_kind_of_task([] {
    bool done = false;
    task_group g;
    g.spawn([&] {
      sleep_for(5s);
      done = true;
    });
    EXPECT_THROW(g.start([](started<>&) { throw std::runtime_error("port in use"); }), std::runtime_error);
    EXPECT_THROW(g.start<int>([](started<int>&) {}), std::logic_error);
    EXPECT_THROW(timeout(1s, [&] { g.start([](started<>&) { sleep_for(100s); }); }), timed_out);
    g.join();
    EXPECT_TRUE(done);
    task_group other;
    other.start([](started<>& ready) {
      ready();
      EXPECT_THROW(ready(), promise_already_set);
      throw std::runtime_error("later");
    });
    EXPECT_THROW(other.join(), std::runtime_error);
  });
}

TEST_P(TaskGroupOnLoops, OfAThousandChildrenOfAllKinds) {
  run([] {
    std::atomic<int> ran{0};
    with_group([&](task_group& g) {
      for (int i = 0; i < 400; ++i) {
        g.spawn([&] {
          ++ran;
          g.spawn(anywhere, [&] { ++ran; });
        });
        if (i % 4 == 0) g.spawn_cpu([&] { g.spawn([&] { ++ran; }); });
        if (i % 40 == 0) g.spawn_blocking([&] { g.spawn_cpu([&] { ++ran; }); });
      }
    });
    EXPECT_EQ(ran, 400 * 2 + 100 + 10);
  });
}

// Owners of every kind; children everywhere; one fails, or the group or its owner is cancelled, while others spawn.
TEST_P(TaskGroupOnLoops, EndsInOrderHoweverItEnds) {
  run([] {
    std::atomic<int> alive{0};
    const auto life = [&alive](int round) {
      return [&alive, round] {
        struct count {
          std::atomic<int>& n;
          explicit count(std::atomic<int>& c) : n(c) { ++n; }
          ~count() { --n; }
        };
        int failures = 0;
        try {
          with_group([&](task_group& g) {
            const auto child = [&alive] {
              const count here(alive);
              sleep_for(1000s);
            };
            const auto spawner = [&alive, &g, child] {
              const count here(alive);
              for (int i = 0; i < 5; ++i) {
                g.spawn(anywhere, child);
                g.spawn_cpu(child);
                yield();
              }
            };
            g.spawn(spawner);
            g.spawn(anywhere, spawner);
            g.spawn_cpu(spawner);
            const auto ends_it = [&g, round] {
              sleep_for(std::chrono::microseconds(20 * (round % 5)));
              if (round % 3 == 0) throw std::runtime_error("end");
              g.cancel();
            };
            if (round % 2 == 0)
              g.spawn(anywhere, ends_it);
            else
              g.spawn_cpu(ends_it);
            if (round % 4 == 0) sleep_for(1000s);
          });
        } catch (const std::runtime_error&) {
          ++failures;
        }
        EXPECT_EQ(failures, round % 3 == 0 ? 1 : 0);
      };
    };
    for (int round = 0; round < 12; ++round) {
      gather(spawn(life(round)), spawn(anywhere, life(round)), spawn_cpu(life(round)), spawn_blocking(life(round)))
          .get();
      EXPECT_EQ(alive, 0);
      std::thread outside(life(round));
      spawn_blocking([&] { outside.join(); }).get();
      EXPECT_EQ(alive, 0);
      auto owner = spawn(anywhere, life(round));
      owner.cancel();
      try {
        owner.get();
      } catch (...) {
      }
      EXPECT_EQ(alive, 0);
    }
  });
}

TEST(TaskGroupThread, EndsWithTheRuntimeItWasMadeIn) {
  std::atomic<bool> made{false};
  std::atomic<int> unwound{0};
  std::thread outside;
  weft::run([&] {
    outside = std::thread([&] {
      task_group g;
      g.spawn([&] {
        made = true;
        try {
          sleep_for(1000s);
        } catch (const cancelled& c) {
          EXPECT_EQ(c.reason(), cancel_reason::shutdown);
          ++unwound;
          throw;
        }
      });
      g.join();
      EXPECT_THROW(g.spawn([] {}), std::logic_error);
    });
    while (!made) sleep_for(1ms);
  });
  outside.join();
  EXPECT_EQ(unwound, 1);
}

TEST(TaskGroup, AStartThatEndsBySomebodyElsesCancellationFailsNobodyElse) {
  simulate([] {
    promise<int> p;
    p.get_future().cancel();
    bool finished = false;
    task_group g;
    g.spawn([&] {
      sleep_for(1s);
      finished = true;
    });
    EXPECT_THROW(g.start<int>([&](auto&) { (void)p.get_future().get(); }), cancelled);
    EXPECT_NO_THROW(g.join());
    EXPECT_TRUE(finished);
  });
}

}  // namespace
}  // namespace weft::testing::task_group_test
