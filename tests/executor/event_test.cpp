#include "weft/event.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::event_test {
namespace {

TEST(Event, LetsAllThroughOnceSetUntilCleared) {
  simulate([] {
    event e;
    int through = 0;
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 5; ++i)
      all.push_back(spawn(on_loop(i % 2), [&] {
        e.wait();
        ++through;
      }));
    sleep_for(1ms);
    EXPECT_EQ(through, 0);
    e.set();
    e.set();
    gather(std::move(all)).get();
    EXPECT_EQ(through, 5);
    EXPECT_TRUE(e.is_set());
    e.wait();
    e.clear();
    EXPECT_FALSE(e.is_set());
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(e.wait_for(3ms)); }), 3ms);
  });
}

TEST(Event, ACancelledWaitChangesNothing) {
  simulate([] {
    event e;
    auto waits = spawn([&] { e.wait(); });
    auto other = spawn([&] { e.wait(); });
    sleep_for(1ms);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    EXPECT_FALSE(other.ready());
    e.set();
    other.get();
  });
}

TEST(EventDeathTest, DestroyingOneThatIsWaitedForEndsTheProgram) {
  EXPECT_DEATH(sim::run(1,
                        [] {
                          auto e = std::make_unique<event>();
                          auto waits = spawn([p = e.get()] { p->wait(); });
                          sleep_for(1ms);
                          e.reset();
                        }),
               "event .* is destroyed while");
}

class EventOnLoops : public OnLoops {};
WEFT_ON_LOOPS(EventOnLoops);

TEST_P(EventOnLoops, WhoeverItLetsThroughMayDestroyIt) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      auto* e = new event;
      auto sets = i % 2 ? spawn(anywhere, [e] { e->set(); }) : spawn_cpu([e] { e->set(); });
      e->wait();
      delete e;
      sets.get();
    }
  });
}

// While another thread is inside, who clears it leaves that to be done; a wait that follows must not look past it.
TEST_P(EventOnLoops, WhoClearsItWaitsThoughAnotherThreadIsInside) {
  run([] {
    event e;
    const std::jthread clears([&](const std::stop_token& end) {
      while (!end.stop_requested()) e.clear();
    });
    int through = 0;
    for (int i = 0; i < 20'000; ++i) {
      e.set();
      e.clear();
      if (e.wait_for(0ms)) ++through;
    }
    EXPECT_EQ(through, 0);
  });
}

TEST_P(EventOnLoops, IsSetClearedAndAwaitedByAllKindsOfAgents) {
  run([] {
    event e;
    std::atomic<bool> stop{false};
    std::thread foreign([&] {
      while (!stop) {
        e.set();
        std::this_thread::yield();
        e.clear();
      }
      e.set();
    });
    const auto work = [&] {
      for (int i = 0; i < 100; ++i) {
        if (i % 2)
          (void)e.wait_for(50us);
        else
          e.wait();
      }
    };
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 4; ++i) all.push_back(spawn(on_loop(i % loop_count()), work));
    all.push_back(spawn_cpu(work));
    all.push_back(spawn_blocking(work));
    gather(std::move(all)).get();
    stop = true;
    foreign.join();
  });
}

}  // namespace
}  // namespace weft::testing::event_test
