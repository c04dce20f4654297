#pragma once
// Running test bodies inside a runtime: for real on 1, 2 and 4 loops, or simulated over many seeds.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>

#include "weft/executor.hpp"
#include "weft/testing/cancel_everywhere.hpp"

namespace weft::testing {

using namespace std::chrono_literals;

/// A test that runs on 1, 2 and 4 loops.
class OnLoops : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class F>
  auto run(F&& body) {
    return weft::run(std::forward<F>(body), settings());
  }
  [[nodiscard]] static config settings() {
    config c;
    c.loops = GetParam();
    c.cpu_workers = 2;
    c.on_unhandled = [](const task_info& task, std::exception_ptr) {
      ADD_FAILURE() << "an error was not taken: " << to_string(task);
    };
    // A loaded machine may stall anything; tests of the watchdog set their own.
    c.stall_after = std::chrono::nanoseconds(0);
    // Nor may CPU tasks wait for ever because another test keeps the cores busy.
    c.cpu_threads = cpu_scheduling::normal;
    return c;
  }
};

#define WEFT_ON_LOOPS(Suite) \
  INSTANTIATE_TEST_SUITE_P(Loops, Suite, ::testing::Values(1U, 2U, 4U), ::testing::PrintToStringParamName())

/// How many seeds a simulated test tries; WEFT_SEEDS in the environment changes it.
inline std::uint64_t seeds() {
  const char* text = std::getenv("WEFT_SEEDS");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t by_default = 10;
#else
  constexpr std::uint64_t by_default = 100;
#endif
  return text ? std::strtoull(text, nullptr, 10) : by_default;
}

/// How many allocations by operator new live now; always 0 under a sanitizer, which looks for leaks itself.
std::int64_t live_allocations() noexcept;
/// Has the calling thread's n-th operator new from now throw std::bad_alloc, once; 0 for none. Not under a sanitizer.
void fail_allocation(std::int64_t nth) noexcept;
/// Whether that has come to pass, or 0 was asked for.
bool allocation_failed() noexcept;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool counts_allocations = false;
#else
inline constexpr bool counts_allocations = true;
#endif

/// cancel_everywhere with a look at allocations.
inline std::size_t expect_cancel_safe(const std::function<void(cancel_probe&)>& test,
                                      std::source_location site = std::source_location::current()) {
  return cancel_everywhere(test, {.live_allocations = &live_allocations}, site);
}

/// Runs the body over many seeds on two simulated loops. A failed expectation names the seed.
inline void simulate(const std::function<void()>& body, config c = {.loops = 2},
                     std::source_location site = std::source_location::current()) {
  for (std::uint64_t seed = 0; seed < seeds(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    sim::run(seed, body, c, site);
    if (::testing::Test::HasFailure()) return;
  }
}

/// The virtual or real time that f takes.
template <class F>
clock::duration time_of(F&& f) {
  const auto start = clock::now();
  std::forward<F>(f)();
  return clock::now() - start;
}

}  // namespace weft::testing
