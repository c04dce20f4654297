#include "asio_driver.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/detail/epoll_reactor.hpp>
#include <asio/detail/scheduler.hpp>
#include <cerrno>
#include <system_error>
#include <utility>

namespace weft::detail {
namespace {

using asio::detail::epoll_reactor;
using asio::detail::scheduler;

// Asio gives these out to nobody. Naming a private member in an explicit instantiation is allowed ([temp.explicit]), so
// an Asio that has other ones does not compile, and nothing can go wrong unseen. Checked with Asio 1.22.1.
template <class Name, typename Name::type Member>
struct opened {
  friend typename Name::type member(Name) noexcept { return Member; }
};
struct the_epoll {
  using type = int epoll_reactor::*;
  friend type member(the_epoll) noexcept;
};
struct the_mutex {
  using type = asio::detail::conditionally_enabled_mutex scheduler::*;
  friend type member(the_mutex) noexcept;
};
struct the_queue {
  using type = asio::detail::op_queue<asio::detail::scheduler_operation> scheduler::*;
  friend type member(the_queue) noexcept;
};
struct the_mark {
  using type = bool scheduler::*;
  friend type member(the_mark) noexcept;
};
template struct opened<the_epoll, &epoll_reactor::epoll_fd_>;
template struct opened<the_mutex, &scheduler::mutex_>;
template struct opened<the_queue, &scheduler::op_queue_>;
template struct opened<the_mark, &scheduler::task_interrupted_>;

// epoll_wait(2). glibc's is a point where pthread_cancel(3) may strike, which costs four locked instructions a call in
// a program with threads. Sanitizers are to see the call.
int wait(int epoll, ::epoll_event* events, int most, int timeout) noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return ::epoll_wait(epoll, events, most, timeout);
#else
  return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, most, timeout, nullptr, std::size_t{0}));
#endif
}

}  // namespace

/// Asio's reactor, which in addition tells us that something was posted while Asio does not run.
class asio_driver::asio_reactor final : public epoll_reactor {
 public:
  asio_reactor(asio::io_context& context, asio_driver& driver)
      : epoll_reactor(context), scheduler_(asio::use_service<scheduler>(context)), driver_(driver) {}

  // Any thread, under the scheduler's mutex. Dekker with poll(): asked_ is raised before sleeping_ is read; a loop says
  // that it sleeps before it reads asked_.
  void interrupt() override {
    driver_.asked_.store(true, std::memory_order_seq_cst);
    if (driver_.sleeping_.load(std::memory_order_seq_cst)) driver_.wake();
  }

  /// True when Asio has nothing to run, and interrupt() is called for whatever is posted from now on.
  [[nodiscard]] bool asks_from_now_on() {
    asio::detail::conditionally_enabled_mutex::scoped_lock lock(scheduler_.*member(the_mutex()));
    auto* const first = (scheduler_.*member(the_queue())).front();
    if (first && asio::detail::op_queue_access::next(first)) return false;  // one is the reactor's own turn
    scheduler_.*member(the_mark()) = false;
    return true;
  }
  [[nodiscard]] int epoll() const noexcept { return this->*member(the_epoll()); }

 private:
  scheduler& scheduler_;
  asio_driver& driver_;
};

asio_driver::own_descriptor::own_descriptor(int f) : fd(f) {
  if (f < 0) throw std::system_error(errno, std::system_category(), "a loop's descriptor");
}
asio_driver::own_descriptor::~own_descriptor() { ::close(fd); }

// UNSAFE_IO: the reactor takes no locks, for all IO is this thread's; the scheduler does, for posts from others.
asio_driver::asio_driver()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      alarm_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      context_(ASIO_CONCURRENCY_HINT_UNSAFE_IO),
      reactor_(*new asio_reactor(context_, *this)),
      work_(asio::make_work_guard(context_)) {
  asio::add_service<epoll_reactor>(context_,
                                   &reactor_);  // the context's from here on; in place of the one it would make
  reactor_.init_task();
  watch(bell_.fd, EPOLLIN | EPOLLET, rung_);
  watch(alarm_.fd, EPOLLIN | EPOLLET, rang_);
  watch(reactor_.epoll(), EPOLLIN, ready_);
  asked_.store(!reactor_.asks_from_now_on(), std::memory_order_relaxed);
}

asio_driver::~asio_driver() = default;

void asio_driver::watch(int fd, std::uint32_t events, note& who) const {
  ::epoll_event wanted{};
  wanted.events = events;
  wanted.data.ptr = static_cast<event_taker*>(&who);
  if (::epoll_ctl(epoll_.fd, EPOLL_CTL_ADD, fd, &wanted) != 0)
    throw std::system_error(errno, std::system_category(), "a loop's epoll");
}

// A timer armed for later than needed is armed anew; one armed for earlier wakes the loop once for nothing, which is
// cheaper than a system call a sleep.
void asio_driver::arm(clock::time_point when) noexcept {
  if (when >= armed_) return;
  armed_ = when;
  const auto ns = std::max<std::int64_t>(1, when.time_since_epoch().count());  // CLOCK_MONOTONIC; 0 would disarm it
  ::itimerspec at{};
  at.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  at.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  ::timerfd_settime(alarm_.fd, TFD_TIMER_ABSTIME, &at, nullptr);
}

// One batch of events. Fibers are woken, but do not run in here: no event_taker goes away meanwhile. A batch is small
// enough for what was looked at of each connection, by the kernel too, to be in the caches still when its fiber runs.
bool asio_driver::look(int timeout) noexcept {
  std::array<::epoll_event, 32> events;
  const int found = wait(epoll_.fd, events.data(), static_cast<int>(events.size()), timeout);
  const std::size_t count = found > 0 ? static_cast<std::size_t>(found) : 0;
  const auto taker = [&](std::size_t i) { return static_cast<event_taker*>(events[i].data.ptr); };
  for (std::size_t i = 0; i < count; ++i) {
    if (i + 2 < count) __builtin_prefetch(taker(i + 2), 1);  // what comes_next() looks at
    if (i + 1 < count) taker(i + 1)->comes_next();
    taker(i)->happened(events[i].events);
  }
  if (rang_.came) {
    rang_.came = false;
    armed_ = clock::time_point::max();
  }
  return count > 0;
}

bool asio_driver::poll(clock::time_point until) {
  const bool sleeps = until != clock::time_point::min();
  // Handlers that are there already come out without a system call, but for not too long.
  constexpr unsigned most_skipped = 8;
  bool found = false;
  if (!asked_.load(std::memory_order_relaxed) || ++skipped_ >= most_skipped) {
    skipped_ = 0;
    if (sleeps) {
      arm(until);
      sleeping_.store(true, std::memory_order_seq_cst);
      found = look(asked_.load(std::memory_order_seq_cst) ? 0 : -1);
      sleeping_.store(false, std::memory_order_relaxed);
    } else {
      found = look(0);
    }
    if (!std::exchange(ready_.came, false) && !asked_.load(std::memory_order_relaxed)) [[likely]]
      return found;
  }
  if (!sleeps) return run_asio(128) || found;
  to_handle_ = true;
  return true;
}

// One at a time: after it the loop runs the fiber that it made ready. (A loop that does not come to sleep has many.)
void asio_driver::handle() {
  if (std::exchange(to_handle_, false)) run_asio(1);
}

bool asio_driver::run_asio(std::size_t most) {
  // acquire: with interrupt(). What is posted from here on is seen below, or asks again.
  asked_.exchange(false, std::memory_order_acquire);
  std::size_t count = 0;
  while (count < most && context_.poll_one() > 0) ++count;
  if (!reactor_.asks_from_now_on()) asked_.store(true, std::memory_order_relaxed);
  return count > 0;
}

// Ends the sleep in epoll_wait, or the next one: each write is an edge, read or not. It cannot fail for that its
// counter is full, for it would take centuries to fill it.
void asio_driver::wake() noexcept {
  constexpr std::uint64_t one = 1;
  while (::write(bell_.fd, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

clock::time_point asio_driver::now() const noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);  // what std::chrono::steady_clock reads, a library further away
  return clock::time_point(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

clock::time_point asio_driver::now_or_later() noexcept {
  if (!may_count_) return now();
  return late_.now([] { return core_counter(); }, [this] { return now(); });
}

}  // namespace weft::detail
