#pragma once
// What the contract suites are made of: rules that a type keeps, each run in a simulation over many seeds, or on real
// loops with CPU tasks and threads.

#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

#include "weft/cancel_scope.hpp"
#include "weft/deadline.hpp"
#include "weft/latch.hpp"
#include "weft/runtime.hpp"
#include "weft/simulation.hpp"
#include "weft/task_group.hpp"
#include "weft/this_fiber.hpp"

namespace weft::testing {

/// A rule was broken: the text says which one, where, and with which seed.
class contract_broken : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws contract_broken unless `holds`.
inline void require(bool holds, const std::string& rule, std::source_location site = std::source_location::current()) {
  if (!holds) throw contract_broken(rule + " (" + site.file_name() + ":" + std::to_string(site.line()) + ")");
}

/// Runs f, for so long at most; false when it was cancelled for that. timeout() would give its waits a deadline, and so
/// another way through the library than a server's take.
template <class F>
bool within(clock::duration longest, F&& f) {
  const cancel_scope limited;
  latch begun(1);  // f may count tasks
  bool in_time = false;
  with_group([&](task_group& g) {
    g.spawn([&] {
      begun.count_down();
      sleep_for(longest);
      limited.cancel();
    });
    begun.wait();
    in_time = limited.run([&] { std::forward<F>(f)(); });
    g.cancel();
  });
  return in_time;
}

/// How hard a suite tries.
struct effort {
  std::uint64_t seeds = 100;  ///< simulations of each rule
  unsigned loops = 2;         ///< simulated and real
  unsigned rounds = 200;      ///< of each agent, on real loops
};

namespace rules {

/// Runs a rule in simulation. Throws contract_broken, which names the seed.
inline void in_simulation(const effort& e, const std::function<void()>& rule) {
  for (std::uint64_t seed = 0; seed < e.seeds; ++seed) {
    try {
      sim::run(seed, rule, {.loops = e.loops});
    } catch (const contract_broken& broken) {
      throw contract_broken(std::string(broken.what()) + ", with seed " + std::to_string(seed));
    } catch (const std::exception& other) {
      throw contract_broken(std::string(other.what()) + ", with seed " + std::to_string(seed));
    }
  }
}

/// Runs a rule on real loops. CPU tasks are scheduled as any thread, so that a machine kept busy by others breaks no
/// rule.
inline void for_real(const effort& e, const std::function<void()>& rule) {
  config c{.loops = e.loops};
  c.cpu_workers = 2;
  c.stall_after = std::chrono::nanoseconds(0);
  c.cpu_threads = cpu_scheduling::normal;
  weft::run(rule, c);
}

}  // namespace rules
}  // namespace weft::testing
