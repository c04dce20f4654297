// Every operation, with each of its allocations failing in turn: it throws or goes on without, and nothing is left.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::bad_alloc_test {
namespace {

enum class without : std::uint8_t { it_throws, it_may_go_on };  // a wait without a timer has timed out

// Those on the loop's thread.
void fail_each_allocation(without how, const std::function<void()>& what) {
  if (!counts_allocations) GTEST_SKIP() << "sanitizers have an operator new of their own";
  const config c{
      .loops = 1, .cpu_workers = 1, .on_unhandled = [](const task_info&, std::exception_ptr) {}, .stall_after = 0ns};
  weft::run(what, c);  // what is allocated once
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE("allocation " + std::to_string(nth));
    bool threw = false;
    bool failed = false;
    std::int64_t left = 1;
    for (int i = 0; i < 5 && left > 0; ++i) {  // what a thread that ends frees at last may be late, once
      left = -live_allocations();
      weft::run(
          [&] {
            fail_allocation(nth);
            try {
              what();
            } catch (const std::bad_alloc&) {
              threw = true;
            } catch (const cancelled&) {
              threw = true;
            }
            failed = allocation_failed();
            fail_allocation(0);
          },
          c);
      left += live_allocations();
    }
    EXPECT_TRUE(threw || !failed || how == without::it_may_go_on);
    EXPECT_LE(left, 0);
    if (!failed) return;
  }
}

std::vector<future<int>> three() {
  std::vector<future<int>> all;
  for (int i = 0; i < 3; ++i)
    all.push_back(spawn([i] {
      yield();
      return i;
    }));
  return all;
}

TEST(BadAlloc, Spawn) {
  fail_each_allocation(without::it_throws, [] {
    spawn([] {}).get();
    spawn(task_options{.name = "a name too long to be kept in place", .stack_size = 65536}, [] {}).get();
    spawn(anywhere, [] {}).get();
    spawn_cpu([] {}).get();
  });
}

TEST(BadAlloc, Combinators) {
  fail_each_allocation(without::it_throws, [] { gather(three()).get(); });
  fail_each_allocation(without::it_throws, [] { race(three()).get(); });
  fail_each_allocation(without::it_throws, [] { gather(spawn([] {}), lazy([] { return 3; })).get(); });
  fail_each_allocation(without::it_throws, [] {
    for (auto& f : as_completed(three())) f.get();
  });
  fail_each_allocation(without::it_throws, [] { map_bounded(std::vector{1, 2, 3}, 2, [](int i) { return i; }).get(); });
}

TEST(BadAlloc, Groups) {
  fail_each_allocation(without::it_throws, [] {
    task_group g;
    g.start<int>([](auto& ready) { ready(1); });
    g.spawn([] {});
    g.spawn_cpu([] {});
    g.join();
  });
  fail_each_allocation(without::it_throws, [] {
    task_group g;
    g.spawn([] { throw 1; });
    g.spawn([] { spawn([] { sleep_for(1h); }).get(); });
    try {
      g.join();
      ADD_FAILURE();
    } catch (int) {
    }
  });
}

TEST(BadAlloc, Cancellation) {
  fail_each_allocation(without::it_may_go_on, [] {
    auto f = spawn([] {
      auto inner = spawn([] { sleep_for(1h); });
      sleep_for(1h);
    });
    yield();
    yield();
    f.cancel();
    f.wait();
  });
  fail_each_allocation(without::it_may_go_on,
                       [] { (void)move_on_after(1us, [] { spawn([] { sleep_for(1h); }).get(); }); });
  fail_each_allocation(without::it_may_go_on, [] {
    cancel_scope s({.until = deadline::after(1ms)});
    (void)s.run([] { (void)get_stop_token(); });
    spawn_cpu([] { sleep_for(1ms); }).get();
  });
}

TEST(BadAlloc, Channels) {
  fail_each_allocation(without::it_may_go_on, [] {
    channel<int> a(1);
    channel<int> b(1);
    a.send(1);
    select(on_recv(a, [](int) {}), on_send(b, 3, [] {}));
    (void)a.try_recv();
    (void)b.try_recv();
    select(on_recv(a, [](int) {}), on_recv(b, [](int) {}), after(1us, [] {}));
  });
}

TEST(BadAlloc, Values) {
  fail_each_allocation(without::it_throws, [] {
    static const context_var<std::string> name;
    name.set("a string too long to be kept in place");
    name.with("another", [] { spawn([] { (void)name.get(); }).get(); });
    promise<int> p;
    p.set_value(1);
    p.get_future().get();
  });
}

}  // namespace
}  // namespace weft::testing::bad_alloc_test
