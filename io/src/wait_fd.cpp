#include "weft/io/wait_fd.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <array>
#include <asio/io_context.hpp>
#include <cerrno>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "descriptor.hpp"
#include "weft/cancel.hpp"
#include "weft/io/error.hpp"
#include "weft/loop.hpp"
#include "weft/spawn.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

constexpr std::uint32_t reading = EPOLLIN | EPOLLRDHUP;
constexpr std::uint32_t writing = EPOLLOUT;
constexpr std::uint32_t broken = EPOLLERR | EPOLLHUP;  // reported unasked; whoever waits is to find out

[[noreturn]] void refuse(int code, int fd, const char* advice = "") {
  throw error(std::error_code(code, std::system_category()), "wait for", "descriptor " + std::to_string(fd), 0, advice);
}

// Somebody who waits, on his frame.
struct sleeper {
  sleeper* next = nullptr;
  sleeper** link = nullptr;  // what points here; null when it is in no list
  std::uint32_t events = 0;
  bool lost = false;  // the descriptor was closed
  waker who;

  void enter(sleeper*& list) noexcept {
    next = list;
    link = &list;
    if (next) next->link = &next;
    list = this;
  }
  void leave() noexcept {
    if (!link) return;
    *link = next;
    if (next) next->link = link;
    link = nullptr;
  }
};

// The descriptors that a loop's fibers have waited for. They are in an epoll of their own: in the loop's, a stream's
// descriptor would have one entry for the stream and for us. Why each wait is an epoll_ctl(2): notes/wait_fd.md.
//
// The loop's thread only. As many entries as descriptors were ever open at once, at the most.
class wait_table final : public asio::execution_context::service, weft::detail::event_taker {
 public:
  static asio::execution_context::id id;

  explicit wait_table(asio::io_context& context) : service(context), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_.get() < 0) refuse(errno, epoll_.get());
    detail::listen_to(epoll_.get(), *this);
  }

  /// False: this kind of descriptor is always ready.
  bool begin(int fd, sleeper& who) {
    entry& e = entries_[fd];
    who.enter(e.waiting);
    int code = arm(fd, e);
    if (code != 0 && e.known) {
      // It was closed, and may be another file now: who has waited until now waits for nothing.
      e.known = false;
      wake_lost(who.next);
      if (code == ENOENT) code = arm(fd, e);
    }
    if (code == 0) {
      e.known = true;
      return true;
    }
    who.leave();
    entries_.erase(fd);
    if (code == EPERM && is_file(fd)) return false;
    refuse(code, fd, code == ENOSPC ? "fs.epoll.max_user_watches is too low" : "");
  }

  void lose(int fd) noexcept {
    const auto found = entries_.find(fd);
    if (found == entries_.end()) return;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    wake_lost(found->second.waiting);
    entries_.erase(found);
  }

 private:
  struct entry {
    std::uint32_t armed = 0;  // the arming that counts; an event of another is another file's
    bool known = false;       // the epoll had the number when we last looked
    sleeper* waiting = nullptr;
  };

  // Asks to be told, once, what those who wait for fd wait for. If it is so already, we are told at once.
  int arm(int fd, entry& e) noexcept {
    ::epoll_event wanted{};
    wanted.events = EPOLLONESHOT;
    for (const sleeper* s = e.waiting; s; s = s->next) wanted.events |= s->events;
    e.armed = ++armings_;
    wanted.data.u64 = std::uint64_t{e.armed} << 32 | static_cast<std::uint32_t>(fd);
    const auto ask = [&](int how) { return ::epoll_ctl(epoll_.get(), how, fd, &wanted) == 0 ? 0 : errno; };
    if (e.known) return ask(EPOLL_CTL_MOD);
    const int code = ask(EPOLL_CTL_ADD);
    // The file had this number before, lost it to another, and was kept by a duplicate.
    return code == EEXIST ? ask(EPOLL_CTL_MOD) : code;
  }

  static bool is_file(int fd) noexcept {
    struct ::stat what {};
    return ::fstat(fd, &what) == 0 && (S_ISREG(what.st_mode) || S_ISBLK(what.st_mode));
  }

  static void wake_lost(sleeper*& list) noexcept {
    while (sleeper* const s = list) {
      s->leave();
      s->lost = true;
      s->who.wake();
    }
  }

  // Fibers are woken, but do not run in here.
  void happened(std::uint32_t) noexcept override {
    std::array<::epoll_event, 64> events;
    int count = 0;
    do {
      count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
      for (int i = 0; i < count; ++i) report(events[static_cast<std::size_t>(i)]);
    } while (count == static_cast<int>(events.size()) || (count < 0 && errno == EINTR));
  }

  void report(const ::epoll_event& event) noexcept {
    const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
    const auto found = entries_.find(fd);
    if (found == entries_.end() || found->second.armed != event.data.u64 >> 32) return;
    entry& e = found->second;
    for (sleeper* s = e.waiting; s;) {
      sleeper* const next = s->next;
      if (event.events & (s->events | broken)) {
        s->leave();
        s->who.wake();
      }
      s = next;
    }
    if (e.waiting && arm(fd, e) != 0) wake_lost(e.waiting);
  }

  void shutdown() override {}

  const unique_fd epoll_;
  std::uint32_t armings_ = 0;
  std::unordered_map<int, entry> entries_;
};

asio::execution_context::id wait_table::id;

// A deadline comes before what the system has not been asked for yet, and may have passed from the start.
bool is_so(int fd, std::uint32_t events) noexcept {
  ::pollfd one{fd, static_cast<short>(events == writing ? POLLOUT : POLLIN | POLLRDHUP), 0};
  return ::poll(&one, 1, 0) > 0;
}

bool wait_here(int fd, std::uint32_t events, deadline until) {
  checkpoint();
  if (fd < 0) refuse(EBADF, fd);
  wait_table& table = asio::use_service<wait_table>(this_io_context());
  struct leaving : sleeper {
    ~leaving() { leave(); }
  } me;
  me.events = events;
  if (!table.begin(fd, me)) return true;
  waiter w(events == writing ? wait_kind::writable : wait_kind::readable, &table);
  me.who = w.handle();
  const auto how = w.suspend(until);
  if (me.lost) refuse(EBADF, fd, "it was closed while somebody waited for it");
  if (how == wake_reason::cancelled) check_cancelled();
  return how != wake_reason::timed_out || is_so(fd, events);
}

bool wait(int fd, std::uint32_t events, deadline until) {
  if (on_a_loop()) return wait_here(fd, events, until);
  return spawn({.name = "wait_fd"}, [&] { return wait_here(fd, events, until); }).get();
}

}  // namespace

void wait_readable(int fd) { wait(fd, reading, {}); }
void wait_writable(int fd) { wait(fd, writing, {}); }
bool wait_readable_until(int fd, deadline until) { return wait(fd, reading, until); }
bool wait_writable_until(int fd, deadline until) { return wait(fd, writing, until); }

void notify_closing(int fd) { asio::use_service<wait_table>(this_io_context()).lose(fd); }

}  // namespace weft::io
