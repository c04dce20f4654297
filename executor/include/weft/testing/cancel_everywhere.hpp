#pragma once
// What does a cancellation leave behind? A simulated test is run once for each place where its task can be cancelled.
//
//   testing::cancel_everywhere([](testing::cancel_probe& probe) {
//     auto work = spawn([] { return fetch(); });
//     int got = 0;
//     probe.cancelled_task([&] { got = work.get(); });                    // the code under test
//     probe.check([&] { return got == 7 || std::move(work).get() == 7; });  // taken, or still to be had
//   });
//
// The first run counts the places, and is not cancelled. A place is a checkpoint, where cancellation comes before
// anything is taken, or a wait, which is cancelled just before it parks and, in another run, while it is parked; what
// other tasks then do before the cancelled one goes on is drawn from the seed. Where the task is shielded or unwinds
// there is no place. After each run nothing may be left.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "weft/config.hpp"
#include "weft/deadline.hpp"

namespace weft {

namespace detail {
class cancel_run;
}

namespace testing {

struct cancel_options {
  std::uint64_t first_seed = 0;
  std::uint64_t seeds = 5;  ///< each with a run for every place
  config runtime = {.loops = 2};

  /// How long, in virtual time, tasks may go on after the task under test has ended, before they count as left.
  clock::duration settle = std::chrono::minutes(1);

  /// How many allocations live now, if the program counts them (by an operator new of its own, say). A run that leaves
  /// more than it found is a failure, if it does so a second time.
  std::function<std::int64_t()> live_allocations = {};
};

/// One run of the test, as the test sees it.
class cancel_probe {
 public:
  /// Runs f as a task of the caller's loop, is the one to cancel it, and waits until it has ended. Once a run.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; f has ended.
  /// Threads:  a task of the simulation.
  /// Ordering: what f wrote is visible.
  /// Throws:   std::logic_error the second time; what f throws, but not the cancellation that was the purpose.
  void cancelled_task(const std::function<void()>& f, std::source_location site = std::source_location::current());

  /// Lets every other task do what it still can, then calls f, which throws or gives false where something was lost.
  ///
  /// Suspends: always, for cancel_options::settle.
  /// Cancel:   throws cancelled.
  /// Threads:  a task of the simulation.
  /// Ordering: f runs in the caller.
  /// Throws:   std::runtime_error where f gives false; what f throws.
  template <class F>
  void check(F&& f, std::source_location site = std::source_location::current()) {
    settle();
    if constexpr (std::is_void_v<std::invoke_result_t<F>>)
      std::invoke(std::forward<F>(f));
    else if (!std::invoke(std::forward<F>(f)))
      refuse(site);
  }

 private:
  friend class detail::cancel_run;
  explicit cancel_probe(detail::cancel_run& run) noexcept : run_(run) {}
  void settle() const;
  [[noreturn]] static void refuse(std::source_location site);

  detail::cancel_run& run_;
};

/// Runs `test` for each seed, in a simulation: uncancelled, and then with its task cancelled at each place in turn.
/// Gives the number of places, over all seeds.
///
/// Suspends: runs simulations on the calling thread.
/// Cancel:   not a cancellation point.
/// Threads:  a plain thread; std::logic_error inside another runtime.
/// Ordering: the runs come one after the other.
/// Throws:   std::runtime_error, which names seed and place (and is printed as well), where a check fails, the test
///           throws or hangs, tasks, stacks or allocations are left, there is no place, or a run did not come to the
///           place that the first one saw.
std::size_t cancel_everywhere(const std::function<void(cancel_probe&)>& test, const cancel_options& options = {},
                              std::source_location site = std::source_location::current());

}  // namespace testing
}  // namespace weft
