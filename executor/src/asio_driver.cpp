#include "asio_driver.hpp"

#include <time.h>

#include <asio/post.hpp>

namespace weft::detail {
namespace {

std::chrono::steady_clock::time_point to_steady(clock::time_point when) noexcept {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(when.time_since_epoch()));
}

}  // namespace

// UNSAFE_IO: the reactor takes no locks, for all IO is this thread's; the scheduler does, for wake() posts.
asio_driver::asio_driver()
    : context_(ASIO_CONCURRENCY_HINT_UNSAFE_IO), work_(asio::make_work_guard(context_)), timer_(context_) {}

bool asio_driver::poll(clock::time_point until) {
  // A batch from the poller costs one system call, from Asio two. But Asio has handlers and timers of its own: it is
  // left out a few times in a row, not more.
  if (poller_ && skipped_ < 8 && poller_->look()) {
    ++skipped_;
    return true;
  }
  skipped_ = 0;
  if (until == clock::time_point::min()) return context_.poll() > 0;
  // A timer armed for later than needed is armed anew; one armed for earlier wakes the loop once for nothing, which is
  // cheaper than two system calls a sleep.
  if (until < armed_) {
    armed_ = until;
    timer_.expires_at(to_steady(until));
    timer_.async_wait([this](const asio::error_code& error) {
      if (!error) armed_ = clock::time_point::max();
    });
  }
  // One handler at a time: after it the loop runs the fiber that it made ready. The next handlers of the same batch
  // come out without a system call.
  return context_.run_one() > 0;
}

void asio_driver::wake() noexcept {
  // Posting ends the sleep in epoll_wait; the handler itself has nothing to do. Asio allocates its record, so a
  // program out of memory ends here.
  asio::post(context_, [] {});
}

clock::time_point asio_driver::now() const noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);  // what std::chrono::steady_clock reads, a library further away
  return clock::time_point(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

}  // namespace weft::detail
