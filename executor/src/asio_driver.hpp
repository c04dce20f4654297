#pragma once
// The real driver: the loop's own epoll(7), with a standalone Asio io_context inside it.
//
// Problem: left to sleep in Asio, a loop pays for Asio's bookkeeping at each batch of events, and for a second
// epoll_wait(2), since Asio's epoll takes no descriptors but those of its own sockets.
// Solution: the loop sleeps in an epoll of its own. Asio's is one descriptor in there, and Asio runs when that has
// something, or when something was posted to it: io/notes/reactor.md.
//
// Who may touch what:
//   wake(), asio::post() to context()   any thread.
//   asked_                              raised by any thread, lowered by the loop's.
//   sleeping_                           written by the loop, read by any thread.
//   all else                            the loop's thread only; no locks, for the context is made so.

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <chrono>

#include "driver.hpp"
#include "late_clock.hpp"

namespace weft::detail {

class asio_driver final : public driver {
 public:
  asio_driver();
  ~asio_driver() override;

  bool poll(clock::time_point until) override;
  void handle() override;
  void wake() noexcept override;
  [[nodiscard]] clock::time_point now() const noexcept override;
  [[nodiscard]] clock::time_point now_or_later() noexcept override;
  [[nodiscard]] asio::io_context& context() override { return context_; }
  [[nodiscard]] int epoll() override { return epoll_.fd; }

 private:
  class asio_reactor;

  struct own_descriptor {
    int fd;
    explicit own_descriptor(int f);
    ~own_descriptor();
    own_descriptor(const own_descriptor&) = delete;
    own_descriptor& operator=(const own_descriptor&) = delete;
  };
  /// Something that a descriptor in our epoll stands for, and whether it has happened.
  struct note final : event_taker {
    bool came = false;
    void happened(std::uint32_t) noexcept override { came = true; }
  };

  void watch(int fd, std::uint32_t events, note& who) const;
  void arm(clock::time_point when) noexcept;
  bool look(int timeout) noexcept;
  bool run_asio(std::size_t most);

  const own_descriptor epoll_;
  const own_descriptor bell_;   // an eventfd: wake() rings it, and nobody reads it
  const own_descriptor alarm_;  // a timerfd
  note rung_;
  note rang_;
  note ready_;                      // Asio's epoll has something
  std::atomic<bool> asked_{false};  // something was posted to Asio
  std::atomic<bool> sleeping_{false};
  unsigned skipped_ = 0;  // polls in a row that left our epoll out
  bool to_handle_ = false;
  clock::time_point armed_ = clock::time_point::max();
  const bool may_count_ = core_counter_is_the_clock();
  late_clock late_;
  asio::io_context context_;
  asio_reactor& reactor_;
  const asio::executor_work_guard<asio::io_context::executor_type> work_;
};

}  // namespace weft::detail
