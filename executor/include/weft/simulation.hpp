#pragma once
// A whole runtime in one thread, on virtual time, its schedule drawn from a seed: a failure can be played again.
//
// In a simulation time jumps to the next timer when nothing is ready; which ready task of which loop goes next, when a
// CPU task or blocking call completes, are drawn from the seed. CPU tasks and blocking calls run as fibers of loops of
// their own. Real IO is an error. A thread_local is shared by all loops, since there is one thread.

#include <chrono>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "weft/config.hpp"
#include "weft/runtime.hpp"

namespace weft::sim {

/// Everything waits, and nothing can wake it. The text lists every task and what it waits for.
class deadlock : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs main in a simulation. Throws deadlock; what main throws; std::logic_error inside another runtime.
/// The counts of `c` mean simulated loops; blocking_threads and stall_after mean nothing.
void run(std::uint64_t seed, std::function<void()> main, config c = {},
         std::source_location site = std::source_location::current());

/// Runs main once for each seed in [first, first + count). When one throws, prints the seed and rethrows.
void run_seeds(std::uint64_t first, std::uint64_t count, const std::function<void()>& main, const config& c = {},
               std::source_location site = std::source_location::current());

/// The first seed in [first, first + count) for which main throws; count if none does. For planted bugs.
std::uint64_t find_failing_seed(std::uint64_t first, std::uint64_t count, const std::function<void()>& main,
                                const config& c = {});

/// The seed of the running simulation. Throws no_runtime outside one.
std::uint64_t seed();
/// A number in [0, bound), drawn from the seed. Throws no_runtime outside a simulation.
std::uint64_t draw(std::uint64_t bound);

/// In a CPU task of a simulation: computes for so long, in virtual time. Its worker is busy meanwhile, so that with
/// config.cpu_workers such tasks others wait. (All other computing takes no time.) Not a cancellation point. Throws
/// no_runtime elsewhere.
void compute_for(std::chrono::nanoseconds time);

}  // namespace weft::sim
