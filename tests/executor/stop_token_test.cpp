#include <atomic>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "weft/cancel_scope.hpp"
#include "weft_test.hpp"

namespace weft::testing::stop_token_test {
namespace {

class StopTokens : public OnLoops {};
WEFT_ON_LOOPS(StopTokens);

TEST(StopToken, OfATaskIsStoppedWhenTheTaskIsCancelled) {
  simulate([] {
    for (int kind = 0; kind < 3; ++kind) {
      std::stop_token token;
      const auto body = [&] {
        token = get_stop_token();
        EXPECT_TRUE(token.stop_possible());
        EXPECT_FALSE(token.stop_requested());
        EXPECT_EQ(token, get_stop_token());
        sleep_for(10s);
      };
      auto f = kind == 0 ? spawn(body) : kind == 1 ? spawn_cpu(body) : spawn_blocking(body);
      sleep_for(1s);
      f.cancel();
      EXPECT_THROW(f.get(), cancelled);
      EXPECT_TRUE(token.stop_requested());
    }
  });
}

TEST_P(StopTokens, ReachTasksThatComputeAndNeverWait) {
  run([] {
    for (int kind = 0; kind < 2; ++kind) {
      std::atomic<bool> inside{false};
      const auto body = [&] {
        const auto token = get_stop_token();
        inside = true;
        while (!token.stop_requested()) std::this_thread::yield();
        EXPECT_TRUE(cancel_requested());
        return 1;
      };
      auto f = kind == 0 ? spawn_cpu(body) : spawn_blocking(body);
      while (!inside) yield();
      f.cancel();
      if (kind == 0)
        EXPECT_THROW(f.get(), cancelled);
      else
        EXPECT_EQ(f.get(), 1) << "a blocking call that came to its end keeps its result";
    }
  });
}

TEST_P(StopTokens, TellOfDeadlinesWhileTheTaskComputes) {
  run([] {
    const auto body = [] {
      EXPECT_THROW(timeout(2ms,
                           [] {
                             const auto token = get_stop_token();
                             while (!token.stop_requested()) std::this_thread::yield();
                             check_cancelled();
                           }),
                   timed_out);
      const cancel_scope scope({.until = deadline::after(2ms)});
      EXPECT_FALSE(scope.run([] {
        const auto token = get_stop_token();
        while (!token.stop_requested()) std::this_thread::yield();
        check_cancelled();
      }));
    };
    spawn_cpu(body).get();
    spawn_blocking(body).get();
    spawn([] {
      const auto computes = [] {
        const auto token = get_stop_token();
        while (!token.stop_requested()) std::this_thread::yield();
      };
      EXPECT_THROW(timeout(2ms, [&] { spawn_cpu(computes).get(); }), timed_out) << "a child's inherited deadline";
    }).get();
  });
}

TEST(StopToken, IsStoppedByAnyScopeAroundUpToAShield) {
  simulate([] {
    const auto body = [] {
      const cancel_scope outer;
      const cancel_scope inner;
      std::stop_token in_outer;
      std::stop_token in_inner;
      std::stop_token in_shield;
      std::stop_token in_timeout;
      outer.run([&] {
        in_outer = get_stop_token();
        timeout(100s, [&] {
          inner.run([&] {
            in_inner = get_stop_token();
            shield([&] { in_shield = get_stop_token(); });
            timeout(50s, [&] {
              in_timeout = get_stop_token();
              inner.cancel();
              EXPECT_FALSE(in_outer.stop_requested());
              EXPECT_TRUE(in_inner.stop_requested());
              EXPECT_TRUE(in_timeout.stop_requested());
              EXPECT_FALSE(in_shield.stop_requested());
            });
          });
          const cancel_scope second;
          second.run([&] {
            std::stop_token deep;
            shield([&] { in_shield = get_stop_token(); });
            timeout(50s, [&] {
              deep = get_stop_token();
              outer.cancel();
              EXPECT_TRUE(deep.stop_requested());
              EXPECT_TRUE(in_outer.stop_requested());
              EXPECT_FALSE(in_shield.stop_requested());
            });
          });
        });
      });
    };
    spawn(body).get();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

TEST(StopToken, OfATimeoutIsStoppedAtItsDeadline) {
  simulate([] {
    const auto body = [] {
      std::stop_token token;
      EXPECT_THROW(timeout(2s,
                           [&] {
                             token = get_stop_token();
                             sleep_for(1s);
                             EXPECT_FALSE(token.stop_requested());
                             sleep_for(2s);
                           }),
                   timed_out);
      EXPECT_TRUE(token.stop_requested());
      timeout(2s, [&] { token = get_stop_token(); });
      sleep_for(5s);
      EXPECT_FALSE(token.stop_requested()) << "the scope was left before";
    };
    spawn(body).get();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

TEST(StopToken, RunsItsCallbacksInWhoeverCancels) {
  simulate([] {
    bool called = false;
    auto f = spawn([&] {
      const std::stop_callback on_stop(get_stop_token(), [&] { called = true; });
      EXPECT_THROW(sleep_for(10s), cancelled);
      EXPECT_TRUE(called);
      sleep_for(1s);
    });
    sleep_for(1s);
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
  });
}

TEST(StopToken, OutsideAnyScopeIsNeverStopped) {
  EXPECT_FALSE(get_stop_token().stop_possible());
  std::thread([] {
    const cancel_scope scope;
    scope.run([&] {
      const auto token = get_stop_token();
      EXPECT_FALSE(token.stop_requested());
      scope.cancel();
      EXPECT_TRUE(token.stop_requested());
    });
  }).join();
}

TEST(StopToken, OfTheProgramCancelsAScope) {
  simulate([] {
    const auto body = [] {
      const auto source = std::make_unique<std::stop_source>();
      EXPECT_FALSE(cancel_scope().run(source->get_token(), [&] {
        source->request_stop();
        sleep_for(1s);
        ADD_FAILURE();
      }));
      EXPECT_FALSE(cancel_scope().run(source->get_token(), [] { yield(); })) << "it was stopped before";
      std::stop_source first;
      std::stop_source second;
      const cancel_scope scope;
      scope.cancel_on(first.get_token());
      scope.cancel_on(second.get_token());
      EXPECT_FALSE(scope.run([&] {
        second.request_stop();
        yield();
      }));
      first.request_stop();
      std::stop_source late;
      EXPECT_TRUE(cancel_scope().run(late.get_token(), [] { yield(); }));
      late.request_stop();
    };
    spawn(body).get();
    spawn_cpu(body).get();
    spawn_blocking(body).get();
  });
}

TEST_P(StopTokens, OfAThreadCancelsAScopeElsewhere) {
  run([] {
    for (int kind = 0; kind < 3; ++kind) {
      std::atomic<bool> inside{false};
      std::jthread thread([&](std::stop_token stop) {
        const auto body = [&, stop] {
          EXPECT_FALSE(cancel_scope().run(stop, [&] {
            inside = true;
            sleep_for(1000s);
          }));
        };
        auto f = kind == 0   ? spawn(on_loop(loop_count() - 1), body)
                 : kind == 1 ? spawn_cpu(body)
                             : spawn_blocking(body);
        f.get();
      });
      while (!inside) yield();
      thread.request_stop();
      spawn_blocking([&] { thread.join(); }).get();
    }
  });
}

TEST(StopToken, StressOfStopsAgainstTheEndOfTasks) {
  weft::run(
      [] {
        std::atomic<int> stopped{0};
        for (int round = 0; round < 40; ++round) {
          std::vector<future<void>> all;
          for (int i = 0; i < 6; ++i) {
            const auto body = [&, i] {
              const auto token = get_stop_token();
              const std::stop_callback on_stop(token, [&] { ++stopped; });
              timeout(i % 2 ? 1000us : 50us, [i] {
                const std::stop_callback again(get_stop_token(), [] {});
                for (int k = 0; k < i; ++k) yield();
                sleep_for(20us);
              });
            };
            all.push_back(i % 3 == 0 ? spawn(anywhere, body) : i % 3 == 1 ? spawn_cpu(body) : spawn_blocking(body));
          }
          yield();
          std::thread([&] {
            for (auto& f : all) f.cancel();
          }).join();
          for (auto& f : all) f.wait();
        }
        EXPECT_GE(stopped, 0);
      },
      {.loops = 2, .cpu_workers = 2, .on_unhandled = [](const task_info&, std::exception_ptr) {}, .stall_after = 0ns});
}

}  // namespace
}  // namespace weft::testing::stop_token_test
