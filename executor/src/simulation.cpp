#include "weft/simulation.hpp"

#include <cstdio>
#include <random>
#include <vector>

#include "cpu_runner.hpp"
#include "inspect_core.hpp"
#include "overflow.hpp"
#include "runtime_core.hpp"
#include "sim_driver.hpp"
#include "thread_agent.hpp"
#include "weft/error.hpp"
#include "weft/spawn.hpp"
#include "weft/this_fiber.hpp"

namespace weft {
namespace detail {
namespace {

class sim_core;
sim_core* running = nullptr;

// CPU tasks and blocking calls are fibers of a loop of their own, which start after a drawn time.
class sim_pool {
 public:
  explicit sim_pool(loop_core& l) noexcept : loop_(l) {}

  void start_later(task_core& task, clock::time_point when) {
    auto* d = new delayed(loop_, task);
    // An abandoned call has no record any more that keeps the simulation.
    if (task.what() == task_core::flavour::abandonable) loop_.runtime().in_flight.fetch_add(1);
    try {
      loop_.arm(*d, when);
    } catch (...) {
      d->done();
      delete d;
      throw;
    }
  }

 private:
  // The record itself may be on its way to its origin's inbox.
  struct delayed final : timer, runnable {
    delayed(loop_core& l, task_core& t) noexcept
        : runnable(kind::start), loop(l), task(t), counted(t.what() == task_core::flavour::abandonable) {
      expired = [](timer& n) noexcept {
        auto& self = static_cast<delayed&>(n);
        self.loop.ready(&self);
      };
    }
    void run() noexcept override {
      task.run_off_loop(*current_agent());
      done();
      delete this;
    }
    void fail(std::exception_ptr error) noexcept override {
      task.fail_off_loop(std::move(error));
      done();
      delete this;
    }
    void done() noexcept {
      if (counted) loop.runtime().in_flight.fetch_sub(1);
    }
    loop_core& loop;
    task_core& task;
    const bool counted;
  };
  loop_core& loop_;
};

class sim_core final : public runtime_core {
 public:
  sim_core(std::uint64_t seed, config c) : runtime_core(std::move(c), for_simulation()), seed_(seed), draw_(seed) {
    running = this;
    for (unsigned i = 0; i < config_.loops + 2; ++i) {
      loops_.push_back(std::make_unique<loop_core>(*this, i, std::make_unique<sim_driver>(now_),
                                                   i < config_.loops ? config_.stack_size : config_.cpu_stack_size,
                                                   config_.max_stacks));
      loops_.back()->set_simulated(i >= config_.loops);
      loops_.back()->chance = static_cast<std::uint32_t>(draw_()) | 1;
    }
    cpu_ = std::make_unique<cpu>(*this, *loops_[config_.loops]);
    blocking_ = std::make_unique<blocking>(*this, *loops_[config_.loops + 1]);
    if (config_.report_stack_overflow) install_overflow_reporter();
  }
  ~sim_core() override {
    if (config_.report_stack_overflow) remove_overflow_reporter();
    running = nullptr;
  }

  void compute_for(std::chrono::nanoseconds time) { static_cast<cpu&>(*cpu_).compute_for(time); }
  std::uint64_t draw(std::uint64_t bound) { return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(draw_); }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  void run(const std::function<void()>& main, std::source_location site) {
    if (config_.report_stack_overflow) prepare_thread_for_overflow();
    const bool before = runs_for_weft();
    set_runs_for_weft(true);
    std::string stuck;
    {
      auto result =
          spawn_as(task_core::flavour::fiber, {.name = "main"}, main, site, [this](task_core& t) { start_main(t); });
      future_core& state = *future_access::state(result);
      if (!drive([&] { return state.ready(); })) stuck = list_waits();
      closing_.store(true);
      for (auto& l : loops_) on(*l, [&] { l->root.cancel_here(cancel_reason::shutdown, 0); });
      if (!drive([&] { return quiet(); })) {
        set_runs_for_weft(before);
        std::fprintf(stderr,
                     "weft: a simulation cannot end (seed %llu), for tasks wait shielded from cancellation:\n%s",
                     static_cast<unsigned long long>(seed_), list_waits().c_str());
        std::abort();
      }
      set_runs_for_weft(before);
      auto error = state.take_error();
      if (!stuck.empty()) throw sim::deadlock("deadlock: everything waits, and nothing can wake it\n" + stuck);
      if (error) std::rethrow_exception(error);
    }
  }

 private:
  class cpu final : public cpu_backend {
   public:
    cpu(sim_core& s, loop_core& l) noexcept : sim_(s), loop_(l), queue_(s.config_) {}
    void start(task_core& task) override {
      auto& entry = static_cast<cpu_task&>(task);
      const auto answer = queue_.offer(entry);
      if (answer == cpu_queue::answer::welcome)
        hand_out();
      else
        refuse(entry, answer);
    }
    [[nodiscard]] unsigned workers() const noexcept override { return sim_.config_.cpu_workers; }
    [[nodiscard]] cpu_counts counts() const noexcept override {
      return {.busy = busy_,
              .queued = queue_.length(),
              .served = queue_.popped(),
              .expired = expired_,
              .refused = queue_.refused(),
              .refusing = queue_.shedding(),
              .waited = queue_.waited()};
    }

    /// In one of its tasks.
    void compute_for(std::chrono::nanoseconds time) {
      ++busy_;
      weft::shield([time] { sleep_for(time); });
      free_worker();
    }

   private:
    // A worker is busy from the time it takes a task until the task waits for the first time, or ends.
    struct turn final : timer, runnable {
      turn(cpu& p, cpu_task& t) noexcept : runnable(kind::start), pool(p), task(t) {
        expired = [](timer& n) noexcept {
          auto& self = static_cast<turn&>(n);
          self.pool.loop_.ready(&self);
        };
      }
      void run() noexcept override {
        pool.free_worker();
        if (task.start_by.passed()) {
          ++pool.expired_;
          expire(task);
        } else {
          task.run_off_loop(*current_agent());
        }
        delete this;
      }
      void fail(std::exception_ptr error) noexcept override {
        pool.free_worker();
        task.fail_off_loop(std::move(error));
        delete this;
      }
      cpu& pool;
      cpu_task& task;
    };
    struct freed final : message {
      explicit freed(cpu& p) noexcept : pool(p) {}
      void run() noexcept override {
        --pool.busy_;
        pool.hand_out();
        delete this;
      }
      cpu& pool;
    };

    void hand_out() {
      while (busy_ < workers()) {
        cpu_entry* const next = queue_.pop();
        if (!next) return;
        ++busy_;
        loop_.arm(*new turn(*this, static_cast<cpu_task&>(*next)), sim_.soon(1000));
      }
    }
    // When the caller has left its stack.
    void free_worker() noexcept { loop_.post(new freed(*this)); }

    sim_core& sim_;
    loop_core& loop_;
    cpu_queue queue_;
    std::uint64_t busy_ = 0;
    std::uint64_t expired_ = 0;
  };
  class blocking final : public blocking_backend {
   public:
    blocking(sim_core& s, loop_core& l) noexcept : sim_(s), pool_(l) {}
    void start(task_core& task) override { pool_.start_later(task, sim_.soon(1'000'000)); }
    void for_each(void (*)(agent&, void*), void*) override {}

   private:
    sim_core& sim_;
    sim_pool pool_;
  };

  clock::time_point soon(std::uint64_t most_ns) {
    return now_ + std::chrono::nanoseconds(static_cast<std::int64_t>(draw(most_ns)));
  }

  template <class F>
  void on(loop_core& l, F f) {
    l.enter();
    f();
    l.leave();
  }

  // False when nothing is left that could run.
  template <class Done>
  bool drive(Done done) {
    for (;;) {
      std::size_t ready = 0;
      for (auto& l : loops_) {
        on(*l, [&] {
          l->intake();
          l->fire_timers(now_);
        });
        ready += l->ready_count();
      }
      if (done()) return true;
      if (ready > 0) {
        std::size_t chosen = draw(ready);
        for (auto& l : loops_) {
          if (chosen < l->ready_count()) {
            on(*l, [&] { l->run_one(chosen); });
            break;
          }
          chosen -= l->ready_count();
        }
        continue;
      }
      bool mail = false;
      auto next = clock::time_point::max();
      for (auto& l : loops_) {
        mail |= l->has_mail();
        next = std::min(next, l->next_timer());
      }
      if (mail) continue;
      if (next == clock::time_point::max()) return false;
      now_ = std::max(now_, next);
    }
  }

  [[nodiscard]] bool quiet() const {
    for (const auto& l : loops_)
      if (l->linked > 0 || l->ready_count() > 0 || l->has_mail()) return false;
    return in_flight.load() == 0;
  }

  std::string list_waits() {
    std::string text;
    for (const auto& task : all_tasks(*this)) text += "  " + describe(task) + "\n";
    return text;
  }

  const std::shared_ptr<void> serial_ = serial_algorithms();
  clock::time_point now_{std::chrono::seconds(1)};
  const std::uint64_t seed_;
  std::mt19937_64 draw_;
};

}  // namespace
}  // namespace detail

namespace sim {

void run(std::uint64_t seed, std::function<void()> main, config c, std::source_location site) {
  detail::sim_core core(seed, std::move(c));
  core.run(main, site);
}

void run_seeds(std::uint64_t first, std::uint64_t count, const std::function<void()>& main, const config& c,
               std::source_location site) {
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    try {
      run(seed, main, c, site);
    } catch (...) {
      std::fprintf(stderr, "weft: the simulation at %s:%u failed with seed %llu\n", site.file_name(), site.line(),
                   static_cast<unsigned long long>(seed));
      throw;
    }
  }
}

std::uint64_t find_failing_seed(std::uint64_t first, std::uint64_t count, const std::function<void()>& main,
                                const config& c) {
  for (std::uint64_t i = 0; i < count; ++i) {
    try {
      run(first + i, main, c);
    } catch (...) {
      return first + i;
    }
  }
  return count;
}

std::uint64_t seed() {
  if (!detail::running) throw no_runtime("sim::seed(), called outside sim::run,");
  return detail::running->seed();
}

std::uint64_t draw(std::uint64_t bound) {
  if (!detail::running) throw no_runtime("sim::draw(), called outside sim::run,");
  return detail::running->draw(bound);
}

void compute_for(std::chrono::nanoseconds time) {
  const detail::agent* const here = detail::running ? detail::current_agent() : nullptr;
  if (!here || !here->task || here->task->what() != detail::task_core::flavour::cpu)
    throw no_runtime("sim::compute_for(), called outside a CPU task of sim::run,");
  detail::running->compute_for(time);
}

}  // namespace sim
}  // namespace weft
