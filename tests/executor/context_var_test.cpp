#include "weft/context_var.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::context_var_test {
namespace {

class ContextVar : public OnLoops {};
WEFT_ON_LOOPS(ContextVar);

TEST(ContextVars, GiveTheDefaultWhereNothingWasSet) {
  const context_var<int> number{7};
  const context_var<std::string> text;
  EXPECT_EQ(number.get(), 7) << "on a plain thread, outside a runtime";
  simulate([&] {
    EXPECT_EQ(number.get(), 7);
    EXPECT_EQ(text.get(), "");
  });
}

TEST(ContextVars, AreInheritedByEveryKindOfChildAsACopy) {
  const context_var<std::string> name{"nobody"};
  simulate([&] {
    name.set("parent");
    const auto body = [&] {
      EXPECT_EQ(name.get(), "parent");
      sleep_for(1s);
      EXPECT_EQ(name.get(), "parent") << "the parent has set it anew after the spawn";
      name.set("child");
      sleep_for(1s);
      EXPECT_EQ(name.get(), "child");
      EXPECT_EQ(spawn([&] { return name.get(); }).get(), "child") << "a grandchild";
    };
    auto all = {spawn(body),           spawn(anywhere, body),      spawn(on_loop(1), body),
                spawn(detached, body), spawn({.name = "x"}, body), spawn_cpu(body),
                spawn_blocking(body)};
    name.set("later");
    for (const auto& f : all) f.get();
    EXPECT_EQ(name.get(), "later") << "a child's value is not seen by its parent";
  });
}

TEST_P(ContextVar, AreInheritedByEveryKindOfChildForReal) {
  const context_var<int> depth{0};
  run([&] {
    std::atomic<int> done{0};
    const auto body = [&] {
      EXPECT_EQ(depth.get(), 1);
      depth.set(2);
      yield();
      EXPECT_EQ(depth.get(), 2);
      const auto child = [&] {
        EXPECT_EQ(depth.get(), 2);
        depth.set(3);
        ++done;
      };
      spawn(child).get();
      spawn_cpu(child).get();
      spawn_blocking(child).get();
      EXPECT_EQ(depth.get(), 2);
    };
    depth.set(1);
    std::vector<future<void>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(spawn(body));
      all.push_back(spawn(anywhere, body));
      all.push_back(spawn(on_loop(loop_count() - 1), body));
      all.push_back(spawn_cpu(body));
      all.push_back(spawn_blocking(body));
    }
    for (auto& f : all) f.get();
    EXPECT_EQ(depth.get(), 1);
    EXPECT_EQ(done, 150);
  });
}

TEST(ContextVars, SetForAWhileComeBackAndOthersStay) {
  const context_var<int> a{0};
  const context_var<int> b{0};
  simulate([&] {
    a.set(1);
    EXPECT_EQ(a.with(2,
                     [&] {
                       b.set(5);
                       auto child = spawn([&] { return a.get(); });
                       a.set(3);
                       return a.get() * 10 + child.get();
                     }),
              32);
    EXPECT_EQ(a.get(), 1);
    EXPECT_EQ(b.get(), 5) << "only the variable itself is put back";
    EXPECT_THROW(a.with(4, [] { throw std::runtime_error("out"); }), std::runtime_error);
    EXPECT_EQ(a.get(), 1);
    b.with(6, [&] { EXPECT_EQ(b.get(), 6); });
    const context_var<int> fresh{9};
    fresh.with(1, [&] { EXPECT_EQ(fresh.get(), 1); });
    EXPECT_EQ(fresh.get(), 9);
  });
}

TEST(ContextVars, OfTwoTasksThatTakeTurnsStayApart) {
  const context_var<int> mine{0};
  simulate([&] {
    std::vector<future<void>> all;
    for (int i = 1; i <= 20; ++i)
      all.push_back(spawn([&, i] {
        mine.set(i);
        for (int k = 0; k < 5; ++k) {
          yield();
          EXPECT_EQ(mine.get(), i);
        }
      }));
    for (auto& f : all) f.get();
    EXPECT_EQ(mine.get(), 0);
  });
}

TEST(ContextVars, OfAPlainThreadAreItsOwnAndGoToWhatItSpawns) {
  const context_var<int> mine{0};
  mine.set(1);
  std::thread other([&] {
    EXPECT_EQ(mine.get(), 0);
    mine.set(2);
  });
  other.join();
  weft::run(
      [&] {
        EXPECT_EQ(mine.get(), 1) << "main begins with the values of the thread that calls run()";
        mine.set(3);
        std::thread outside([&] {
          EXPECT_EQ(mine.get(), 0);
          mine.set(4);
          EXPECT_EQ(spawn([&] { return mine.get(); }).get(), 4);
          EXPECT_EQ(spawn_cpu([&] { return mine.get(); }).get(), 4);
        });
        spawn_blocking([&] { outside.join(); }).get();
      },
      {.loops = 1});
  EXPECT_EQ(mine.get(), 1);
  mine.set(0);
}

TEST(ContextVars, AreLetGoWhenTheTaskEndsNotWhenItsFutureDoes) {
  simulate([] {
    const context_var<std::shared_ptr<int>> held;
    const auto value = std::make_shared<int>(1);
    const auto body = [&] {
      held.set(value);
      sleep_for(1s);
    };
    auto a = spawn(body);
    auto b = spawn_cpu(body);
    auto c = spawn([&] { held.set(value); });
    auto never = spawn(body);
    never.cancel();
    for (auto* f : {&a, &b, &c}) f->get();
    EXPECT_THROW(never.get(), cancelled);
    EXPECT_EQ(value.use_count(), 1);
  });
}

TEST(ContextVars, AreSeenOverWaitsOfCpuTasksAndInLazies) {
  const context_var<int> mine{0};
  weft::run([&] {
    std::vector<future<void>> all;
    for (int i = 1; i <= 40; ++i)
      all.push_back(spawn_cpu([&, i] {
        mine.set(i);
        for (int k = 0; k < 3; ++k) {
          sleep_for(100us);
          EXPECT_EQ(mine.get(), i);
        }
      }));
    for (auto& f : all) f.get();
    mine.set(-1);
    lazy work([&] {
      EXPECT_EQ(mine.get(), -1);
      mine.set(-2);
    });
    work.get();
    EXPECT_EQ(mine.get(), -2) << "a lazy runs in its caller";
  });
}

TEST(ContextVarMisuse, SettingOneOnALoopsOwnStackSaysSo) {
  weft::run(
      [] {
        const context_var<int> mine{3};
        mine.set(4);
        std::string text;
        promise<void> done;
        struct on_the_loop : detail::timer {
          std::function<void()> f;
        } timer;
        timer.expired = [](detail::timer& t) noexcept { static_cast<on_the_loop&>(t).f(); };
        timer.f = [&] {
          EXPECT_EQ(mine.get(), 3);
          try {
            mine.set(5);
          } catch (const std::logic_error& e) {
            text = e.what();
          }
          done.set_value();
        };
        detail::arm(timer, clock::now());
        done.get_future().get();
        EXPECT_NE(text.find("where no task runs"), std::string::npos) << text;
      },
      {.loops = 1});
}

// Sets, reads and inherits at once, from tasks of every kind and threads outside.
TEST(ContextVars, StressOfEveryKindOfTask) {
  const context_var<std::string> name{""};
  weft::run(
      [&] {
        std::vector<future<void>> all;
        const auto body = [&](int i) {
          const std::string me = "task " + std::to_string(i);
          name.set(me);
          std::vector<future<void>> children;
          const auto child = [&, me] {
            EXPECT_EQ(name.get(), me);
            name.set("child");
            yield();
            EXPECT_EQ(name.get(), "child");
          };
          children.push_back(spawn(child));
          children.push_back(spawn(anywhere, child));
          children.push_back(spawn_cpu(child));
          children.push_back(spawn_blocking(child));
          for (auto& f : children) f.get();
          EXPECT_EQ(name.get(), me);
        };
        for (int i = 0; i < 30; ++i) {
          all.push_back(spawn(anywhere, [&, i] { body(i); }));
          all.push_back(spawn_cpu([&, i] { body(i); }));
        }
        std::thread outside([&] {
          for (int i = 0; i < 20; ++i) body(1000 + i);
        });
        for (auto& f : all) f.get();
        spawn_blocking([&] { outside.join(); }).get();
        EXPECT_EQ(name.get(), "");
      },
      {.loops = 2, .cpu_workers = 2, .stall_after = 0ns});
}

}  // namespace
}  // namespace weft::testing::context_var_test
