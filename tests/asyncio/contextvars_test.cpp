// What Python's contextvars promise together with asyncio (docs.python.org: library/contextvars, library/asyncio-task,
// library/asyncio-runner), in our words, a test each.
// Where weft differs on purpose:
//
//   ContextVar.get() without a default raises LookupError; a context_var always has a default.
//   ContextVar.set() gives a Token for reset(); here with(value, f) puts back by itself, so nothing can be put back
//     twice or in the wrong task.
//   copy_context().run(f) and create_task(context=...) run code in a context made by hand; here a context is always the
//     task's own. spawn a task and set in it what is to differ.
//   run_in_executor() does not hand the context over, to_thread() does; spawn_cpu and spawn_blocking both do.
//   A callback of the loop (call_soon) runs in the context it was scheduled in; weft's callbacks run in none.

#include <string>

#include "weft/context_var.hpp"
#include "weft_test.hpp"

namespace weft::testing::contextvars_test {
namespace {

// contextvars: ContextVar.get: ... returns the default value of the context variable, if it was created with one.
TEST(Contextvars, GetGivesTheDefault) {
  const context_var<int> var{42};
  simulate([&] { EXPECT_EQ(var.get(), 42); });
}

// contextvars: Token objects ... can be passed to ContextVar.reset() to revert the value ... to what it was before.
TEST(Contextvars, AScopedValueIsReverted) {
  const context_var<std::string> var{"default"};
  simulate([&] {
    var.with("outer", [&] {
      var.with("inner", [&] { EXPECT_EQ(var.get(), "inner"); });
      EXPECT_EQ(var.get(), "outer");
    });
    EXPECT_EQ(var.get(), "default") << "before the set() there was no value: the default is back";
  });
}

// Runner: A new contextvars.Context is created for running all code ... a copy of the current context.
TEST(Contextvars, RunGivesMainACopyOfTheCallersContext) {
  const context_var<int> var{0};
  var.with(1, [&] {
    weft::run([&] {
      EXPECT_EQ(var.get(), 1);
      var.set(2);
    });
    EXPECT_EQ(var.get(), 1);
  });
}

// asyncio-task, Task: When created, the task copies the current context and later runs its coroutine in it.
TEST(Contextvars, ATaskRunsInACopyMadeWhenItIsCreated) {
  const context_var<int> var{0};
  simulate([&] {
    var.set(1);
    auto task = spawn([&] {
      EXPECT_EQ(var.get(), 1);
      var.set(2);
    });
    var.set(3);
    task.get();
    EXPECT_EQ(var.get(), 3);
  });
}

// PEP 567: await coro() runs in the context of the caller, so what it sets stays.
TEST(Contextvars, ACoroutineAwaitedDirectlySharesTheCallersContext) {
  const context_var<int> var{0};
  simulate([&] {
    lazy coroutine([&] { var.set(1); });
    coroutine.get();
    EXPECT_EQ(var.get(), 1);
  });
}

// PEP 567: gather() and the like wrap coroutines in tasks, each with a copy of its own.
TEST(Contextvars, GatheredCoroutinesHaveACopyEach) {
  const context_var<int> var{0};
  simulate([&] {
    var.set(1);
    const auto add = [&](int n) {
      return lazy([&var, n] {
        var.set(var.get() + n);
        yield();
        return var.get();
      });
    };
    EXPECT_EQ(gather(add(10), add(20), add(30)).get(), std::tuple(11, 21, 31));
    EXPECT_EQ(var.get(), 1);
  });
}

// asyncio-task, to_thread: the current contextvars.Context is propagated, allowing context variables from the event
// loop thread to be accessed in the separate thread.
TEST(Contextvars, AThreadSeesTheContextOfItsCaller) {
  const context_var<std::string> var{""};
  const auto body = [&] {
    var.set("request 7");
    EXPECT_EQ(spawn_blocking([&] { return var.get(); }).get(), "request 7");
    EXPECT_EQ(spawn_cpu([&] { return var.get(); }).get(), "request 7");
    spawn_blocking([&] { var.set("changed"); }).get();
    EXPECT_EQ(var.get(), "request 7");
  };
  simulate(body);
  weft::run(body);
}

// contextvars, the echo server of the documentation: each connection's handler sees its own client.
TEST(Contextvars, HandlersThatTakeTurnsSeeTheirOwnClient) {
  const context_var<std::string> client{""};
  simulate([&] {
    const auto render_goodbye = [&] { return "Good bye, client @ " + client.get(); };
    const auto handle = [&](std::string address) {
      return spawn([&, address] {
        client.set(address);
        sleep_for(1s);
        return render_goodbye();
      });
    };
    auto a = handle("10.0.0.1");
    auto b = handle("10.0.0.2");
    EXPECT_EQ(a.get(), "Good bye, client @ 10.0.0.1");
    EXPECT_EQ(b.get(), "Good bye, client @ 10.0.0.2");
  });
}

}  // namespace
}  // namespace weft::testing::contextvars_test
