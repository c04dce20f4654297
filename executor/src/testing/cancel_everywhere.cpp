#include "weft/testing/cancel_everywhere.hpp"

#include <cstdio>
#include <exception>
#include <optional>
#include <stdexcept>
#include <vector>

#include "cancellation.hpp"
#include "inspect_core.hpp"
#include "runtime_core.hpp"
#include "weft/error.hpp"
#include "weft/simulation.hpp"
#include "weft/spawn.hpp"
#include "weft/this_fiber.hpp"

namespace weft {
namespace detail {
namespace {

/// A place where the task under test can be cancelled.
struct place_in_task {
  enum class how : std::uint8_t { checkpoint, before_parking, parked };
  how what;
  wait_kind waits_for;
  std::uint64_t target_task;
};

std::string describe(const std::vector<place_in_task>& places, std::size_t i) {
  const auto wait = [](const place_in_task& p) {
    return std::string("wait for ") + to_string(p.waits_for) +
           (p.target_task != 0 ? " of task #" + std::to_string(p.target_task) : "");
  };
  switch (places[i].what) {
    case place_in_task::how::before_parking:
      return "at the " + wait(places[i]) + ", before it parks";
    case place_in_task::how::parked:
      return "parked in the " + wait(places[i]);
    case place_in_task::how::checkpoint:
      break;
  }
  if (i + 1 < places.size() && places[i + 1].what == place_in_task::how::before_parking)
    return "at the checkpoint before the " + wait(places[i + 1]);
  return "at a checkpoint";
}

std::string outcome_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const cancelled& c) {
    return std::string("a cancellation (") + c.what() + ") came out of the test" +
           (c.reason() == cancel_reason::shutdown ? ": everything waits, and nothing can wake it" : "");
  } catch (...) {
    return "the test threw what is no std::exception";
  }
}

}  // namespace

// One simulation, in which the task is cancelled at the place `target`, counted from 1, or at none.
class cancel_run final : cancel_watch {
 public:
  cancel_run(std::size_t target, std::vector<place_in_task>* places) noexcept : target_(target), places_(places) {}

  /// In the simulation, as its main.
  void main(const std::function<void(testing::cancel_probe&)>& test, clock::duration settle) {
    settle_ = settle;
    testing::cancel_probe probe(*this);
    test(probe);
    sleep_for(settle);
    find_leftovers();
  }

  void cancelled_task(const std::function<void()>& f, std::source_location site) {
    if (std::exchange(used_, true))
      throw std::logic_error("cancelled_task() twice in one run: one task is the one to be cancelled");
    auto task = spawn(
        {.name = "cancelled_task"},
        [&] {
          const watching here(*this);
          f();
        },
        site);
    auto& state = *future_access::state(task);
    state.wait_owned({});
    if (auto error = state.take_error(); error && !(cancelled_ && state.was_cancelled())) std::rethrow_exception(error);
  }

  [[nodiscard]] clock::duration settle() const noexcept { return settle_; }
  [[nodiscard]] std::size_t passed() const noexcept { return passed_; }

 private:
  struct watching {
    explicit watching(cancel_run& run) noexcept : a(*current_agent()) {
      run.task_ = a.task;
      a.watch = &run;
      a.hint.store(true, std::memory_order_relaxed);
    }
    ~watching() { a.watch = nullptr; }
    watching(const watching&) = delete;
    watching& operator=(const watching&) = delete;
    agent& a;
  };

  // Comes to the loop when the task has parked, before anybody else runs.
  struct request final : runnable {
    explicit request(cancel_run& r) noexcept : runnable(kind::call), run_(r) {}
    void run() noexcept override { run_.cancel(); }
    void fail(std::exception_ptr) noexcept override {}
    cancel_run& run_;
  };

  void reached(agent& a, bool parks) noexcept override {
    if (a.shields > 0 || std::uncaught_exceptions() > 0) return;
    if (!parks) {
      if (pass(a, place_in_task::how::checkpoint)) cancel();
    } else if ((a.word.load(std::memory_order_relaxed) & agent::state_mask) == agent::waiting) {
      if (pass(a, place_in_task::how::before_parking)) cancel();
      if (pass(a, place_in_task::how::parked)) a.home->post(&request_);
    }
  }

  bool pass(const agent& a, place_in_task::how what) noexcept {
    if (places_) {
      const bool waits = what != place_in_task::how::checkpoint;
      places_->push_back({what, waits ? a.waits_for.load(std::memory_order_relaxed) : wait_kind::none,
                          waits ? a.target_task.load(std::memory_order_relaxed) : 0});
    }
    return ++passed_ == target_;
  }

  void cancel() noexcept {
    cancelled_ = true;
    task_->request_cancel(cancel_reason::user, 0);
  }

  // Other than the caller, which is main. Nothing else runs meanwhile, so other loops' lists can be read.
  static void find_leftovers() {
    runtime_core& rt = *runtime_core::current();
    std::uint64_t records = 0;
    std::size_t stacks = 0;
    for (std::size_t i = 0; i < rt.loops() + 2; ++i) {  // and the simulated pools
      records += rt.loop(i).linked;
      rt.loop(i).for_each_pool([&](const fiber_pool& pool) { stacks += pool.made() - pool.idle(); });
    }
    if (records <= 1 && stacks <= 1) return;
    std::string text = "after the test " + std::to_string(records - 1) + " tasks and " + std::to_string(stacks - 1) +
                       " stacks are left:";
    for (const auto& task : all_tasks(rt))
      if (task.task.id != current_task_id()) text += "\n  " + detail::describe(task);
    throw std::runtime_error(text);
  }

  const std::size_t target_;
  std::vector<place_in_task>* const places_;
  std::size_t passed_ = 0;
  bool used_ = false;
  bool cancelled_ = false;
  task_core* task_ = nullptr;
  clock::duration settle_{};
  request request_{*this};
};

}  // namespace detail

namespace testing {

void cancel_probe::cancelled_task(const std::function<void()>& f, std::source_location site) {
  run_.cancelled_task(f, site);
}

void cancel_probe::settle() const { sleep_for(run_.settle()); }

void cancel_probe::refuse(std::source_location site) {
  throw std::runtime_error("the check at " + std::string(site.file_name()) + ":" + std::to_string(site.line()) +
                           " gave false");
}

std::size_t cancel_everywhere(const std::function<void(cancel_probe&)>& test, const cancel_options& options,
                              std::source_location site) {
  if (options.seeds == 0) throw std::invalid_argument("cancel_options.seeds is 0; nothing would be tested");
  std::size_t all = 0;
  for (std::uint64_t seed = options.first_seed; seed < options.first_seed + options.seeds; ++seed) {
    std::vector<detail::place_in_task> places;
    const auto explain = [&](std::size_t target, const std::string& what) {
      return std::string("cancel_everywhere at ") + site.file_name() + ":" + std::to_string(site.line()) + ", seed " +
             std::to_string(seed) + ", " +
             (target == 0 ? "without a cancellation"
                          : "cancelled at place " + std::to_string(target) + " of " + std::to_string(places.size()) +
                                " (" + describe(places, target - 1) + ")") +
             ": " + what;
    };
    // Printed at once, for a simulation in which a task is stuck and shielded cannot end, and aborts.
    const auto print = [](const std::string& text) { std::fprintf(stderr, "weft: %s\n", text.c_str()); };
    const auto run = [&](std::size_t target, std::vector<detail::place_in_task>* record) {
      detail::cancel_run one(target, record);
      std::optional<std::string> failure;
      try {
        sim::run(
            seed,
            [&] {
              try {
                one.main(test, options.settle);
              } catch (...) {
                failure = explain(target, detail::outcome_of(std::current_exception()));
                print(*failure);
                throw;
              }
            },
            options.runtime, site);
      } catch (const sim::deadlock& e) {
        throw std::runtime_error(explain(target, e.what()));
      } catch (...) {
        if (failure) throw std::runtime_error(*failure);
        throw;  // the simulation could not begin
      }
      return one.passed();
    };

    run(0, &places);  // and what the program allocates once and for all is allocated
    const auto fail = [&](std::size_t target, const std::string& what) {
      const std::string text = explain(target, what);
      print(text);
      throw std::runtime_error(text);
    };
    if (places.empty())
      fail(0,
           "there is no place where a task could be cancelled: the code under test, which goes into "
           "cancelled_task(), has no checkpoint or wait outside a shield");
    for (std::size_t target = 0; target <= places.size(); ++target) {
      for (int attempt = 1;; ++attempt) {
        const std::int64_t before = options.live_allocations ? options.live_allocations() : 0;
        const std::size_t passed = run(target, nullptr);
        const std::int64_t left = options.live_allocations ? options.live_allocations() - before : 0;
        if (target == 0 ? passed != places.size() : passed < target)
          fail(target, "the run came to " + std::to_string(passed) + " places, the first one to " +
                           std::to_string(places.size()) +
                           "; the test does not do the same each time: draw what is random from sim::draw()");
        if (left <= 0) break;
        if (attempt == 2) fail(target, std::to_string(left) + " allocations are left");
      }
    }
    all += places.size();
  }
  return all;
}

}  // namespace testing
}  // namespace weft
