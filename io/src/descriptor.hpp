#pragma once
// A descriptor that does not block, and whether it can be read and written, as its loop's reactor tells.
//
// Problem: Asio's asynchronous reads try the system call first, each time, so a request costs two recv(2): the one that
// finds the data and the one that finds none; its async_wait costs an epoll_ctl(2) each time instead. And bytes that
// arrive in an operation that nobody waits for any more are lost.
// Solution: the system calls are the fiber's own, but for those that its loop makes once the fiber has been woken
// (early_reader). The epoll that the loop sleeps in tells of edges, a batch for each epoll_wait(2), and wakes all the
// batch's fibers at once; a wait costs no system call, allocates nothing, and a cancelled one leaves nothing behind.
//
// Why that, and why no edge is missed: notes/reactor.md.

#include <asio/io_context.hpp>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/io/unique_fd.hpp"
#include "weft/loop.hpp"
#include "weft/waiter.hpp"

namespace weft::io::detail {

/// What outlives an io_context: whether it is still there.
struct context_life {
  std::mutex mutex;
  std::atomic<asio::io_context*> context{nullptr};  // nulled under the mutex, when the runtime ends
  std::uint32_t loop = 0;                           // its token; written before others can have this

  /// Runs f on the context's loop, on its own stack: at once when the caller is on that loop, and when the context is
  /// gone. Any thread.
  template <class F>
  void run_there(F f) noexcept;
};

/// Of the calling loop. Throws no_runtime off a loop, std::logic_error in a simulation.
const std::shared_ptr<context_life>& this_context_life();

/// Has the calling loop tell `who`, on its own stack, each time `fd` becomes readable, until fd is closed. Throws as
/// this_context_life(); error.
void listen_to(int fd, weft::detail::event_taker& who);

struct watch;

/// Reads for a fiber that waits until a descriptor can be read. In a batch of events all such reads come first, and
/// then the fibers run: why, and what it is worth, notes/reactor.md.
class early_reader {
 public:
  /// On the loop's own stack, between the moment that woke the fiber and the one in which it runs: nothing ends that
  /// wait otherwise any more. True when it took less than it could have.
  virtual bool readable() noexcept = 0;

 protected:
  ~early_reader() = default;
};

class descriptor {
 public:
  enum class wait_end : unsigned char { ready, timed_out, closed };

  /// Takes the descriptor over. It must not block.
  explicit descriptor(unique_fd fd) noexcept : fd_(fd.release()) {}
  /// Takes over the other's, with its loop. Those who wait in that one come back with `closed`. Any thread if nobody
  /// waits, else the loop's.
  descriptor(descriptor&& other) noexcept;
  ~descriptor() { close(); }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;

  /// -1 once closed.
  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// False: a system call would find nothing.
  [[nodiscard]] bool may_read() const noexcept;
  [[nodiscard]] bool may_write() const noexcept;

  /// A read found nothing (EAGAIN).
  void found_empty() noexcept;
  /// A read of a stream took less than it could have. Then what comes next is an edge, unless the end has come or
  /// something is wrong, which was part of an earlier edge.
  void took_all() noexcept;
  /// A write found no room (EAGAIN).
  void found_full() noexcept;

  /// Waits for an edge. One fiber each, of one loop; after it, try the system call again. Throws cancelled; wrong_loop;
  /// error when the descriptor cannot be watched.
  wait_end wait_readable(deadline until);
  wait_end wait_writable(deadline until);
  /// wait_readable(), with the jump in the caller's code. An edge that brings neither the end nor an error is
  /// `reader`'s, if there is one, and if the caller is a fiber with no time limit of its task's; else it is the
  /// caller's, as ever.
  [[gnu::always_inline]] wait_end wait_readable_in_line(deadline until, early_reader* reader) {
    waker me;
    if (const auto away = begin_to_wait_readable(me, until, reader); away.to) away.take();
    return has_waited_readable(me, until);
  }

  /// Those who wait come back with `closed`. Any thread if nobody waits, else the loop's.
  void close() noexcept;
  /// Forgets its loop. Nobody waits.
  void leave_loop() noexcept;
  /// Gives it away. Nobody waits; on its loop.
  [[nodiscard]] unique_fd detach() noexcept {
    leave_loop();
    return unique_fd(std::exchange(fd_, -1));
  }
  /// The token of its loop; 0 when it has none yet.
  [[nodiscard]] std::uint32_t loop() const noexcept;

 private:
  void attach(bool for_writing);
  void release(bool closing) noexcept;
  wait_end wait(bool writing, deadline until);
  weft::detail::departure begin_to_wait_readable(waker& me, deadline until, early_reader* reader);
  wait_end has_waited_readable(const waker& me, deadline until);
  wait_end has_waited(bool writing, wake_reason how);

  int fd_;
  watch* watch_ = nullptr;  // null until the first wait on a loop
};

}  // namespace weft::io::detail
