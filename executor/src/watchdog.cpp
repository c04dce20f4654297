#include "watchdog.hpp"

#include <algorithm>

#include "inspect_core.hpp"
#include "runtime_core.hpp"

namespace weft::detail {
namespace {

using namespace std::chrono_literals;

constexpr auto tick = 1ms;
constexpr int idle_ticks_before_rest = 50;
constexpr int ticks_per_search = 250;

}  // namespace

std::atomic<bool> runtime_core::helper_rests_{false};

watchdog::watchdog(runtime_core& runtime) : runtime_(runtime), watched_(runtime.loops()), thread_([this] { run(); }) {}

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
  auto& resting = runtime_core::helper_rests_;
  int idle_ticks = 0;
  int until_search = ticks_per_search;
  while (!stop_.load(std::memory_order_seq_cst)) {
    std::this_thread::sleep_for(tick);
    const bool busy = look(std::chrono::steady_clock::now());
    idle_ticks = busy ? 0 : idle_ticks + 1;
    if (--until_search == 0 || idle_ticks == idle_ticks_before_rest) {
      look_for_circles();
      until_search = ticks_per_search;
    }
    if (idle_ticks <= idle_ticks_before_rest) continue;
    // A circle is reported when it is seen twice.
    if (!suspected_.empty()) look_for_circles();
    // Rest until a loop wakes. Dekker: the flag is set before the loops are looked at once more; a loop that wakes
    // writes `awake` before it reads it. (Its write is relaxed and its read seq_cst: should the read come first,
    // the loop's next wake-up ends the rest, and until then it is only polled every 256 switches instead of every ms.)
    resting.store(true, std::memory_order_seq_cst);
    if (stop_.load(std::memory_order_seq_cst) || look(std::chrono::steady_clock::now())) {
      resting.store(false, std::memory_order_seq_cst);
    } else {
      resting.wait(true, std::memory_order_seq_cst);
    }
    idle_ticks = 0;
  }
}

// True when some loop is busy.
bool watchdog::look(std::chrono::steady_clock::time_point now) {
  bool busy = false;
  const auto limit = runtime_.settings().stall_after;
  for (std::size_t i = 0; i < runtime_.loops(); ++i) {
    loop_core& loop = runtime_.loop(i);
    watched& w = watched_[i];
    if (!loop.awake.load(std::memory_order_relaxed)) {
      w = {};
      continue;
    }
    busy = true;
    loop.due.store(true, std::memory_order_relaxed);
    const auto ticks = loop.switches();
    if (ticks != w.ticks || w.since == std::chrono::steady_clock::time_point()) {
      w = {ticks, now, false};
      continue;
    }
    if (limit.count() <= 0 || w.reported || now - w.since < limit) continue;
    const fiber_agent* running = loop.running.load(std::memory_order_relaxed);
    if (!running) continue;
    task_state state = read_agent(*running, static_cast<int>(i));
    if (state.task.id == 0) continue;
    w.reported = true;
    stall_info stall;
    stall.task = std::move(state.task);
    stall.loop = static_cast<unsigned>(i);
    stall.lasted = now - w.since;
    stall.where = stack_of_thread(loop.thread.load(std::memory_order_relaxed));
    runtime_.report_stall(stall);
  }
  return busy;
}

void watchdog::look_for_circles() {
  const auto tasks = all_tasks(runtime_);
  auto circles = find_circles(tasks);
  // Tasks were read one by one, so a circle counts when the next look sees it too.
  auto sorted = circles;
  std::sort(sorted.begin(), sorted.end());
  if (!sorted.empty() && sorted == suspected_ && sorted != reported_) {
    std::string text = "deadlock: these tasks wait for one another:\n";
    for (const auto id : circles)
      for (const auto& t : tasks)
        if (t.task.id == id) text += "  " + describe(t) + "\n";
    reported_ = sorted;
    runtime_.report_deadlock(text);
  }
  suspected_ = std::move(sorted);
}

}  // namespace weft::detail
