#include "watchdog.hpp"

#include <time.h>

#include <algorithm>
#include <utility>

#include "inspect_core.hpp"
#include "runtime_core.hpp"
#include "thread_priority.hpp"

namespace weft::detail {
namespace {

using namespace std::chrono_literals;

constexpr auto tick = 1ms;
constexpr auto longest_tick = 8ms;
constexpr auto idle_before_rest = 50ms;
constexpr auto between_searches = 250ms;
constexpr int most_of_a_core = 100;  // for searches: the hundredth part
// A loop that looks at the world this often in a millisecond needs nobody to tell it to.
constexpr unsigned looks_by_itself = 4;
// A real-time loop that does not switch for so long is none until it does.
constexpr auto longest_trusted = 10ms;

// Not the time that passes: on a busy machine a search may stand still for long.
std::chrono::nanoseconds cpu_time_of_this_thread() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

}  // namespace

std::atomic<bool> runtime_core::helper_rests_{false};

// Real-time loops would keep it from becoming so itself.
watchdog::watchdog(runtime_core& runtime) : runtime_(runtime), watched_(runtime.loops()), thread_([this] { run(); }) {
  scheduled_.wait(false, std::memory_order_acquire);
}

watchdog::~watchdog() {
  stop_.store(true, std::memory_order_seq_cst);
  runtime_core::wake_helper();
  thread_.join();
}

void runtime_core::wake_helper() noexcept {
  helper_rests_.store(false, std::memory_order_seq_cst);
  helper_rests_.notify_all();
}

void watchdog::run() {
  if (runtime_.settings().loop_threads == loop_scheduling::realtime) schedule_watchdog();
  scheduled_.store(true, std::memory_order_release);
  scheduled_.notify_one();
  auto& resting = runtime_core::helper_rests_;
  std::chrono::milliseconds nap = tick;
  std::chrono::milliseconds idle{};
  std::chrono::milliseconds unsearched{};
  while (!stop_.load(std::memory_order_seq_cst)) {
    std::this_thread::sleep_for(nap);
    idle += nap;
    unsearched += nap;
    switch (look(std::chrono::steady_clock::now(), looks_by_itself * static_cast<unsigned>(nap / tick))) {
      case seen::idle:
        nap = std::min(2 * nap, longest_tick);
        break;
      case seen::attentive:
        idle = {};
        nap = std::min(2 * nap, longest_tick);
        break;
      case seen::busy:
        idle = {};
        nap = tick;
        break;
    }
    const bool to_rest = idle > idle_before_rest;
    const std::chrono::milliseconds pause(pause_.load(std::memory_order_relaxed));
    if (unsearched < (to_rest ? pause : std::max<std::chrono::milliseconds>(pause, between_searches))) continue;
    if (!to_rest) {
      if (aside([this] { look_for_circles(); })) unsearched = {};
      continue;
    }
    finish_aside();
    look_for_circles();
    unsearched = {};
    // A circle is reported when it is seen twice, and while nobody wakes there is no other search.
    if (!suspected_.empty()) look_for_circles();
    // Rest until a loop wakes. Dekker: the flag is set before the loops are looked at once more; a loop that wakes
    // writes `awake` before it reads it.
    resting.store(true, std::memory_order_seq_cst);
    if (stop_.load(std::memory_order_seq_cst) || look(std::chrono::steady_clock::now(), 0) != seen::idle) {
      resting.store(false, std::memory_order_seq_cst);
    } else {
      resting.wait(true, std::memory_order_seq_cst);
    }
    idle = {};
    nap = tick;
  }
  finish_aside();
}

// Where it is real-time, it would be so for as long as that takes, and meanwhile watch nobody.
bool watchdog::aside(std::function<void()> f) {
  if (runtime_.settings().loop_threads != loop_scheduling::realtime) {
    f();
    return true;
  }
  if (busy_aside_.load(std::memory_order_acquire)) return false;
  finish_aside();
  busy_aside_.store(true, std::memory_order_relaxed);
  try {
    aside_ = std::thread([this, what = std::move(f)] {
      what();
      busy_aside_.store(false, std::memory_order_release);
    });
    return true;
  } catch (const std::system_error&) {  // there is no thread to be had now
    busy_aside_.store(false, std::memory_order_relaxed);
    return false;
  }
}

void watchdog::finish_aside() {
  if (aside_.joinable()) aside_.join();
}

// `attentive`: each loop that is awake has looked at the world so many times since the last look, by itself.
watchdog::seen watchdog::look(std::chrono::steady_clock::time_point now, unsigned attentive) {
  seen all = seen::idle;
  const auto limit = runtime_.settings().stall_after;
  for (std::size_t i = 0; i < runtime_.loops(); ++i) {
    loop_core& loop = runtime_.loop(i);
    watched& w = watched_[i];
    if (!loop.awake.load(std::memory_order_relaxed)) {
      if (w.distrusted) loop.schedule.trust(true);
      w = {};
      w.rounds = loop.rounds.load(std::memory_order_relaxed);
      continue;
    }
    const auto rounds = loop.rounds.load(std::memory_order_relaxed);
    const bool looked = rounds - std::exchange(w.rounds, rounds) >= attentive;
    if (!looked) loop.due.store(true, std::memory_order_relaxed);
    if (all != seen::busy) all = looked ? seen::attentive : seen::busy;
    const auto ticks = loop.switches();
    if (ticks != w.ticks || w.since == std::chrono::steady_clock::time_point()) {
      if (w.distrusted) loop.schedule.trust(true);
      w = {ticks, now, rounds};
      continue;
    }
    if (!w.distrusted && now - w.since >= longest_trusted) {
      w.distrusted = true;
      loop.schedule.trust(false);
    }
    if (limit.count() <= 0 || w.reported || now - w.since < limit) continue;
    const fiber_agent* running = loop.running.load(std::memory_order_relaxed);
    if (!running) continue;
    task_state state = read_agent(*running, static_cast<int>(i));
    if (state.task.id == 0) continue;
    stall_info stall;
    stall.task = std::move(state.task);
    stall.loop = static_cast<unsigned>(i);
    stall.lasted = now - w.since;
    w.reported = aside([this, stall, thread = loop.thread.load(std::memory_order_relaxed)]() mutable {
      stall.where = stack_of_thread(thread);
      runtime_.report_stall(stall);
    });
  }
  return all;
}

void watchdog::look_for_circles() {
  const auto start = cpu_time_of_this_thread();
  const auto circles = find_circles(waits_among_tasks(runtime_));
  // Tasks were read one by one, so a circle counts when the next look sees it too.
  auto sorted = circles;
  std::sort(sorted.begin(), sorted.end());
  if (!sorted.empty() && sorted == suspected_ && sorted != reported_) {
    std::string text = "deadlock: these tasks wait for one another:\n";
    const auto tasks = all_tasks(runtime_);
    for (const auto id : circles)
      for (const auto& t : tasks)
        if (t.task.id == id) text += "  " + describe(t) + "\n";
    reported_ = sorted;
    runtime_.report_deadlock(text);
  }
  suspected_ = std::move(sorted);
  const auto pause = std::chrono::ceil<std::chrono::milliseconds>(most_of_a_core * (cpu_time_of_this_thread() - start));
  pause_.store(pause.count(), std::memory_order_relaxed);
}

}  // namespace weft::detail
