#include "weft/bind.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "weft/cancel_scope.hpp"
#include "weft_test.hpp"

#ifndef WEFT_CPU_POOL_STANDIN
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>
#include <oneapi/tbb/task_group.h>

#include "weft/cpu_context.hpp"
#endif

namespace weft::testing::bind_test {
namespace {

TEST(Bind, OutsideAnAlgorithmJustCallsTheBody) {
  EXPECT_EQ(weft::bind([](int a, int b) { return a + b; })(1, 2), 3);
  const context_var<int> var{0};
  const auto body = [&] {
    auto counts = weft::bind([&, n = 0]() mutable {
      var.set(5);
      return ++n;
    });
    EXPECT_EQ(counts(), 1);
    EXPECT_EQ(counts(), 2);
    EXPECT_EQ(var.get(), 5) << "it ran in the caller";
    const auto copy = counts;
  };
  simulate([&] {
    spawn(body).get();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
  weft::run([&] {
    spawn(body).get();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

#ifndef WEFT_CPU_POOL_STANDIN

// An exception that leaves frames on a stack that AddressSanitizer does not know, one of oneTBB's own, leaves their
// marks there, and the next frames are reported.
#ifdef __SANITIZE_ADDRESS__
#define WEFT_NO_THROW_IN_BODIES GTEST_SKIP()
#else
#define WEFT_NO_THROW_IN_BODIES (void)0
#endif

class Bound : public OnLoops {};
WEFT_ON_LOOPS(Bound);

TEST_P(Bound, ABodySeesItsTasksVariablesAndSetsItsOwn) {
  const context_var<int> var{0};
  run([&] {
    var.set(1);
    spawn_cpu([&] {
      var.set(2);
      const auto body = weft::bind([&](int i) {
        EXPECT_EQ(var.get(), 2);
        var.set(10 + i);
        EXPECT_EQ(var.get(), 10 + i);
        if (i % 10 == 0) sleep_for(10us);
        EXPECT_EQ(var.get(), 10 + i) << "over a wait";
        EXPECT_EQ(spawn([&] { return var.get(); }).get(), 10 + i) << "a child inherits it";
      });
      var.set(3);
      tbb::parallel_for(0, 40, body);
      EXPECT_EQ(var.get(), 3);
      tbb::parallel_for(0, 40, [&](int) { EXPECT_EQ(var.get(), 0) << "not bound"; });
      EXPECT_EQ(tbb::parallel_reduce(tbb::blocked_range<int>(0, 40), 0,
                                     weft::bind([&](const tbb::blocked_range<int>& r, int sum) {
                                       return sum + static_cast<int>(r.size()) * var.get();
                                     }),
                                     std::plus<>()),
                120);
    }).get();
    EXPECT_EQ(var.get(), 1);
  });
}

TEST_P(Bound, ABodyHasItsTasksDeadlineAndIsItsChildrensParent) {
  run([] {
    spawn_cpu([] {
      const auto me = detail::current_task_id();
      timeout(100s, [&] {
        const auto until = current_deadline();
        tbb::parallel_for(0, 20, weft::bind([&](int) {
                            EXPECT_EQ(current_deadline(), until);
                            EXPECT_EQ(detail::current_task_id(), me);
                            EXPECT_FALSE(cancel_requested());
                            shield([&] { EXPECT_EQ(current_deadline(), deadline::never()); });
                            EXPECT_TRUE(cancel_scope().run([] { sleep_for(1us); }));
                            auto child = spawn([me] {
                              for (const auto& t : inspect())
                                if (t.task.id == detail::current_task_id()) {
                                  EXPECT_EQ(t.task.parent, me);
                                }
                            });
                            child.get();
                          }));
        tbb::parallel_for(0, 20, [&](int) {
          EXPECT_EQ(current_deadline(), deadline::never());
          EXPECT_EQ(detail::current_task_id(), 0U);
        });
      });
    }).get();
  });
}

TEST_P(Bound, ABodyMayHaveScopesOfItsOwn) {
  WEFT_NO_THROW_IN_BODIES;
  run([] {
    spawn_cpu([] {
      tbb::parallel_for(0, 20, weft::bind([&](int) {
                          EXPECT_THROW(timeout(1us, [] { sleep_for(10s); }), timed_out);
                          const cancel_scope scope;
                          EXPECT_FALSE(scope.run([&] {
                            scope.cancel();
                            yield();
                          }));
                          EXPECT_FALSE(cancel_scope({.until = deadline::after(1us)}).run([] { sleep_for(10s); }));
                        }));
      tbb::parallel_for(0, 20, [](int) { EXPECT_THROW(timeout(1s, [] {}), wait_in_algorithm); });
    }).get();
  });
}

TEST_P(Bound, ABodyThatWaitsIsWokenWhenItsTaskIsCancelled) {
  WEFT_NO_THROW_IN_BODIES;
  run([] {
    for (int how = 0; how < 3; ++how) {
      std::atomic<int> waiting{0};
      std::atomic<int> unwound{0};
      const cancel_scope scope;
      auto f = spawn_cpu([&] {
        const auto work = [&] {
          tbb::parallel_for(0, 3, 1, weft::bind([&](int) {
                              ++waiting;
                              try {
                                sleep_for(1000s);
                              } catch (const cancelled&) {
                                ++unwound;
                                throw;
                              }
                            }),
                            tbb::simple_partitioner());
        };
        if (how == 0) work();
        if (how == 1) {
          EXPECT_FALSE(scope.run(work));
        }
        if (how == 2) {
          EXPECT_THROW(timeout(3ms, work), timed_out);
        }
      });
      while (waiting == 0) yield();
      if (how == 0) f.cancel();
      if (how == 1) scope.cancel();
      if (how == 0)
        EXPECT_THROW(f.get(), cancelled);
      else
        f.get();
      EXPECT_GE(unwound, 1);
      EXPECT_EQ(unwound, waiting);
    }
  });
}

TEST_P(Bound, ABodyThatComputesSeesTheCancellation) {
  WEFT_NO_THROW_IN_BODIES;
  run([] {
    std::atomic<bool> inside{false};
    auto f = spawn_cpu([&] {
      tbb::parallel_for(0, 8, weft::bind([&](int) {
                          inside = true;
                          while (!cancel_requested()) std::this_thread::yield();
                          check_cancelled();
                        }));
      ADD_FAILURE();
    });
    while (!inside) yield();
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    auto late = spawn_cpu([&] {
      EXPECT_THROW(timeout(2ms,
                           [] {
                             tbb::parallel_for(0, 4, weft::bind([](int) {
                                                 while (!cancel_requested()) std::this_thread::yield();
                                                 check_cancelled();
                                               }));
                           }),
                   timed_out);
    });
    late.get();
  });
}

TEST_P(Bound, ABodyMayBindAgain) {
  const context_var<int> var{0};
  run([&] {
    spawn_cpu([&] {
      var.set(1);
      tbb::parallel_for(0, 6, weft::bind([&](int i) {
                          var.set(100 + i);
                          const auto until = deadline::after(50s);
                          cancel_scope({.until = until}).run([&] {
                            tbb::parallel_for(0, 6, weft::bind([&](int k) {
                                                EXPECT_EQ(var.get(), 100 + i);
                                                EXPECT_EQ(current_deadline(), until);
                                                if (k == 3) sleep_for(10us);
                                                var.set(k);
                                              }));
                            tbb::parallel_for(0, 6, [&](int k) {
                              EXPECT_EQ(var.get(), 0);
                              if (k == 3) sleep_for(10us);
                              EXPECT_EQ(current_deadline(), deadline::never());
                            });
                            EXPECT_EQ(var.get(), 100 + i);
                            EXPECT_EQ(current_deadline(), until);
                          });
                        }));
    }).get();
  });
}

// Four workers and many tasks at once, bound and unbound bodies mixed, with waits that move them about.
TEST(BoundBodies, NeverSeeAnotherTask) {
  const context_var<int> var{0};
  weft::run(
      [&] {
        std::vector<future<void>> all;
        for (int t = 1; t <= 40; ++t)
          all.push_back(spawn_cpu([&, t] {
            var.set(t);
            const auto me = detail::current_task_id();
            const auto bound = weft::bind([&, t](int i) {
              EXPECT_EQ(var.get(), t);
              EXPECT_EQ(detail::current_task_id(), me);
              if (i % 7 == t % 7) sleep_for(1us);
              EXPECT_EQ(var.get(), t);
              tbb::parallel_for(0, 3, [&](int) {
                EXPECT_EQ(var.get(), 0);
                EXPECT_EQ(detail::current_task_id(), 0U);
              });
              EXPECT_EQ(detail::current_task_id(), me);
            });
            const auto unbound = [&](int i) {
              EXPECT_EQ(var.get(), 0);
              EXPECT_EQ(detail::current_task_id(), 0U);
              if (i == 5) sleep_for(1us);
              EXPECT_EQ(detail::current_task_id(), 0U);
            };
            tbb::parallel_for(0, 16, bound);
            tbb::parallel_for(0, 16, unbound);
            yield();
            tbb::parallel_for(0, 16, bound);
            EXPECT_EQ(var.get(), t);
          }));
        for (auto& f : all) f.get();
      },
      {.loops = 1, .cpu_workers = 4, .stall_after = 0ns});
}

TEST(BoundBodies, MayRunAfterTheirScopeWasLeft) {
  WEFT_NO_THROW_IN_BODIES;
  weft::run(
      [] {
        spawn_cpu([] {
          tbb::task_group group;
          std::atomic<bool> left{false};
          const auto body = [&] {
            while (!left) std::this_thread::yield();
            EXPECT_NO_THROW(check_cancelled());
            EXPECT_THROW(timeout(1us, [] { sleep_for(1s); }), timed_out);
          };
          timeout(100s, [&] { cancel_scope().run([&] { group.run(weft::bind(body)); }); });
          left = true;
          group.wait();
        }).get();
      },
      {.loops = 1, .cpu_workers = 2});
}

TEST(BoundBodies, OfASimulationRunOnTheirTasksFiberAndCannotWait) {
  const context_var<int> var{0};
  simulate([&] {
    spawn_cpu([&] {
      var.set(4);
      const auto here = std::this_thread::get_id();
      int count = 0;
      tbb::parallel_for(0, 100, weft::bind([&](int) {
                          EXPECT_EQ(std::this_thread::get_id(), here);
                          EXPECT_EQ(var.get(), 4);
                          ++count;
                        }));
      EXPECT_EQ(count, 100);
      std::string text;
      try {
        tbb::parallel_for(0, 1, [](int) { sleep_for(1s); });
      } catch (const wait_in_algorithm& e) {
        text = e.what();
      }
      EXPECT_NE(text.find("in a simulation"), std::string::npos) << text;
    }).get();
  });
}

// --- cpu_context ---

TEST_P(Bound, AlgorithmsWithTheTasksContextEndEarly) {
  run([] {
    for (int how = 0; how < 3; ++how) {
      std::atomic<bool> inside{false};
      const cancel_scope scope;
      auto f = spawn_cpu([&]() -> int {
        const auto work = [&] {
          std::atomic<bool> stopped{false};
          const std::stop_callback note(get_stop_token(), [&] { stopped = true; });
          tbb::parallel_for(
              0, 1'000'000,
              [&](int) {
                inside = true;
                while (!stopped) std::this_thread::yield();
              },
              cpu_context());
          if (how > 0) check_cancelled();
        };
        if (how == 0) work();
        if (how == 1) {
          EXPECT_FALSE(scope.run(work));
        }
        if (how == 2) {
          EXPECT_THROW(timeout(2ms, work), timed_out);
        }
        if (how > 0) {
          std::atomic<int> after{0};
          tbb::parallel_for(
              0, 10, [&](int) { ++after; }, cpu_context());
          EXPECT_EQ(after, 10) << "outside the scope algorithms work again";
        }
        return 7;
      });
      while (!inside) yield();
      if (how == 0) f.cancel();
      if (how == 1) scope.cancel();
      if (how == 0)
        EXPECT_THROW(f.get(), cancelled) << "whatever it returns";
      else
        EXPECT_EQ(f.get(), 7);
    }
  });
}

TEST_P(Bound, AnAlgorithmThatFailedDoesNotSpoilTheNext) {
  WEFT_NO_THROW_IN_BODIES;
  run([] {
    spawn_cpu([] {
      EXPECT_EQ(&cpu_context(), &cpu_context());
      EXPECT_THROW(tbb::parallel_for(
                       0, 10, [](int) { throw std::runtime_error("body"); }, cpu_context()),
                   std::runtime_error);
      std::atomic<int> count{0};
      tbb::parallel_for(
          0, 10, [&](int) { ++count; }, cpu_context());
      EXPECT_EQ(count, 10);
    }).get();
  });
}

TEST(CpuContextMisuse, OutsideACpuTaskSaysSo) {
  WEFT_NO_THROW_IN_BODIES;
  EXPECT_THROW(cpu_context(), std::logic_error);
  weft::run([] {
    EXPECT_THROW(cpu_context(), std::logic_error);
    EXPECT_THROW(spawn_blocking([] { cpu_context(); }).get(), std::logic_error);
    spawn_cpu([] {
      tbb::parallel_for(0, 2, [](int) { EXPECT_THROW(cpu_context(), std::logic_error); });
      tbb::parallel_for(0, 2, weft::bind([](int) { EXPECT_THROW(cpu_context(), std::logic_error); }));
    }).get();
  });
  simulate([] {
    spawn_cpu([] {
      tbb::parallel_for(
          0, 3, [](int) {}, cpu_context());
    }).get();
  });
}

#endif

}  // namespace
}  // namespace weft::testing::bind_test
