// The mixed load: 64 connections send small requests, 4 keep a heavy one of 20,000 to 40,000 rounds in flight each (5
// to 10 ms of a CPU; heavy_alone_ms tells what they take here). The small ones come in one of two ways:
//
//   closed  each connection asks 1 ms after its last answer: a slow server is asked less.
//   open    so many a second, each at its time, whatever the server does; latency counts from that time. A request
//           that finds all connections busy waits for one.
//
// Every answer is checked. Prints a line of JSON: latencies of the small ones, heavy requests/s, CPU time.
//
// Without one kind (--connections 0 or --heavy 0) it tells what the other is alone.
//
//   load --port P [--pid P] [--seconds 1] [--connections 64] [--heavy 4] [--think-ms 1] [--open 0 | 5000] [--kinds 16]

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <random>

#include "../support/load.hpp"
#include "frame.hpp"

namespace {

using bench::frame;
using bench::steady;

struct heavy_kind {
  frame request;
  frame answer;
};

double own_cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// Works the answers out beforehand, and says in milliseconds how long one took of a CPU.
std::vector<heavy_kind> draw_heavy(std::size_t count, double& alone_ms) {
  std::mt19937 random(1);
  std::vector<heavy_kind> kinds(std::max<std::size_t>(1, count));
  const double before = own_cpu_seconds();
  for (heavy_kind& kind : kinds) {
    kind.request = bench::make_frame(20'000 + static_cast<std::uint32_t>(random() % 20'001), random());
    kind.answer = bench::derive_key(kind.request);
  }
  alone_ms = (own_cpu_seconds() - before) * 1e3 / static_cast<double>(kinds.size());
  return kinds;
}

struct connection {
  int fd = -1;
  bool heavy = false;
  frame expected{};
  frame answer{};
  std::size_t received = 0;
  steady::time_point from{};  // latency counts from here
};

struct settings {
  std::uint16_t port;
  pid_t server;
  double length;
  std::size_t small;
  std::size_t heavy;
  double think;  // seconds
  double rate;   // 0: closed
};

class mixed_load {
 public:
  mixed_load(const settings& with, std::vector<heavy_kind> kinds)
      : with_(with), kinds_(std::move(kinds)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (std::size_t i = 0; i < with.small + with.heavy; ++i) {
      connection& c = connections_.emplace_back();
      c.fd = bench::connect_to(with.port);
      c.heavy = i >= with.small;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &c;
      if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event) != 0) bench::die_of_errno("epoll_ctl");
      if (!c.heavy) idle_.push_back(&c);
    }
  }

  void run(bench::report& out) {
    const bench::process_bill bill(with_.server);
    start_ = steady::now();
    for (connection& c : connections_)
      if (c.heavy) ask_heavy(c);
    if (with_.rate == 0)
      for (std::size_t i = 0; !idle_.empty(); ++i, idle_.pop_front())  // spread over the first think time
        thinking_.push_back(
            {start_ + after(with_.think * static_cast<double>(i) / static_cast<double>(with_.small)), idle_.front()});
    go_on_until(start_ + after(with_.length / 5));  // warms up

    small_us_.clear();
    heavy_us_.clear();
    late_us_.clear();
    const double cpu = bill.cpu_seconds();
    const double own = own_cpu_seconds();
    const auto begin = steady::now();
    go_on_until(begin + after(with_.length));
    const double took = bench::seconds(steady::now() - begin).count();
    const double used = bill.cpu_seconds() - cpu;
    const double own_used = own_cpu_seconds() - own;
    if (with_.rate != 0) {  // those that still wait have waited so long at least
      for (const auto due : queue_) small_us_.push_back(microseconds(steady::now() - due));
      for (const connection& c : connections_)
        if (!c.heavy && std::find(idle_.begin(), idle_.end(), &c) == idle_.end())
          small_us_.push_back(microseconds(steady::now() - c.from));
    }
    std::sort(heavy_us_.begin(), heavy_us_.end());
    std::sort(late_us_.begin(), late_us_.end());

    out.add("small_per_s", static_cast<double>(small_us_.size()) / took);
    out.add("heavy_per_s", static_cast<double>(heavy_us_.size()) / took);
    out.add("heavy_p50_ms", bench::quantile(heavy_us_, 0.5) / 1e3);
    if (with_.server != 0) out.add("cpu_share", used / took);
    out.add("load_cpu_share", own_used / took);
    out.add("load_late_p99_us", bench::quantile(late_us_, 0.99));
    if (!small_us_.empty()) out.add_latencies(std::move(small_us_));
  }

 private:
  static steady::duration after(double s) { return std::chrono::duration_cast<steady::duration>(bench::seconds(s)); }
  static double microseconds(steady::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

  void ask(connection& c, const frame& request, const frame& expected, steady::time_point from) {
    c.expected = expected;
    c.received = 0;
    c.from = from;
    bench::send_all(c.fd, {reinterpret_cast<const char*>(request.data()), request.size()});
  }
  void ask_heavy(connection& c) {
    const heavy_kind& kind = kinds_[asked_heavy_++ % kinds_.size()];
    ask(c, kind.request, kind.answer, steady::now());
  }
  void ask_small(connection& c, steady::time_point from) {
    const frame request = bench::make_frame(0, ++asked_small_);
    ask(c, request, request, from);
  }

  // The time of the next small request that is due, at or before `end`.
  [[nodiscard]] steady::time_point next_due(steady::time_point end) const {
    if (with_.rate != 0) return std::min(end, start_ + after(static_cast<double>(ticks_) / with_.rate));
    return thinking_.empty() ? end : std::min(end, thinking_.front().first);
  }

  // Sends what is due by now.
  void send_due() {
    const auto now = steady::now();
    if (with_.rate != 0) {
      for (;;) {
        const auto due = start_ + after(static_cast<double>(ticks_) / with_.rate);
        if (due > now) break;
        ++ticks_;
        late_us_.push_back(microseconds(now - due));
        queue_.push_back(due);
      }
      for (; !queue_.empty() && !idle_.empty(); queue_.pop_front(), idle_.pop_front())
        ask_small(*idle_.front(), queue_.front());
      return;
    }
    for (; !thinking_.empty() && thinking_.front().first <= now; thinking_.pop_front()) {
      late_us_.push_back(microseconds(now - thinking_.front().first));
      ask_small(*thinking_.front().second, steady::now());
    }
  }

  void receive(connection& c) {
    const ssize_t n = ::recv(c.fd, c.answer.data() + c.received, c.answer.size() - c.received, 0);
    if (n < 0) bench::die_of_errno("recv");
    if (n == 0) bench::die("the server closed a connection");
    c.received += static_cast<std::size_t>(n);
    if (c.received < c.answer.size()) return;
    if (c.answer != c.expected) bench::die(c.heavy ? "a heavy answer is wrong" : "a small answer is wrong");
    const auto now = steady::now();
    (c.heavy ? heavy_us_ : small_us_).push_back(microseconds(now - c.from));
    if (c.heavy)
      ask_heavy(c);
    else if (with_.rate != 0)
      idle_.push_back(&c);
    else
      thinking_.push_back({now + after(with_.think), &c});
  }

  void go_on_until(steady::time_point end) {
    for (;;) {
      send_due();
      const auto now = steady::now();
      if (now >= end) return;
      const auto left = std::max<std::chrono::nanoseconds>(std::chrono::nanoseconds(0), next_due(end) - now).count();
      const timespec limit{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
      std::array<epoll_event, 64> events;
      const int count = ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &limit, nullptr);
      for (int i = 0; i < count; ++i) receive(*static_cast<connection*>(events[static_cast<std::size_t>(i)].data.ptr));
    }
  }

  const settings with_;
  const std::vector<heavy_kind> kinds_;
  const int epoll_;
  std::deque<connection> connections_;
  std::deque<std::pair<steady::time_point, connection*>> thinking_;  // closed: asks at that time; in order
  std::deque<connection*> idle_;                                     // open: ready for a request
  std::deque<steady::time_point> queue_;                             // open: due, and no connection was ready
  steady::time_point start_;
  std::uint64_t ticks_ = 0;  // open: requests that have become due
  std::uint64_t asked_small_ = 0;
  std::size_t asked_heavy_ = 0;
  std::vector<double> small_us_;
  std::vector<double> heavy_us_;
  std::vector<double> late_us_;  // how late the load itself was; part of the latency in the open form
};

}  // namespace

int main(int argc, char** argv) {
  bench::options given(argc, argv);
  const settings with{.port = static_cast<std::uint16_t>(given.take("--port", 0)),
                      .server = static_cast<pid_t>(given.take("--pid", 0)),
                      .length = given.take("--seconds", 1),
                      .small = given.take_count("--connections", 64),
                      .heavy = given.take_count("--heavy", 4),
                      .think = given.take("--think-ms", 1) * 1e-3,
                      .rate = given.take("--open", 0)};
  const std::size_t kinds = given.take_count("--kinds", 16);
  given.finish();

  double alone_ms = 0;
  auto heavy = draw_heavy(kinds, alone_ms);
  // The server's heavy work takes every core. The load must get one when it needs it, or it would measure itself; it
  // may only as root. (Niceness would not do: it counts within a session where sched_autogroup_enabled is set.) The
  // timers must be as fine as the kernel has them.
  const sched_param lowest{.sched_priority = 1};
  const bool first = ::sched_setscheduler(0, SCHED_FIFO, &lowest) == 0 || ::setpriority(PRIO_PROCESS, 0, -15) == 0;
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);

  bench::report out;
  out.add("heavy_alone_ms", alone_ms);
  out.add("load_first", first ? 1 : 0);
  mixed_load(with, std::move(heavy)).run(out);
  out.print();
  return 0;
}
