#include "descriptor.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <asio/post.hpp>
#include <cerrno>
#include <string>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/io/error.hpp"
#include "weft/loop.hpp"

namespace weft::io {

unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace weft::io

namespace weft::io::detail {

// What a loop's epoll knows of a descriptor. Its loop's thread only. With many connections it comes from far: so what a
// read and a write that need not wait look at is one cache line.
struct alignas(64) watch final : weft::detail::event_taker {
  struct side {
    bool ready = false;
    bool late = false;
    waker waiting;
    deadline until;  ///< of who waits

    explicit side(bool r) noexcept : ready(r) {}
    /// True when it woke somebody.
    bool edge() noexcept {
      ready = true;
      return std::exchange(waiting, {}).wake();
    }
  };
  // It stays armed from wait to wait, and looks at the deadline when it fires: a connection with a limit arms one timer
  // each time the limit passes, not one each wait.
  struct alarm : weft::detail::timer {
    side& of;
    deadline armed_for;  ///< never later than of.until, while somebody waits and it is armed

    explicit alarm(side& s) noexcept : of(s) { expired = &rang; }

    void arm(deadline when) {
      weft::detail::disarm(*this);
      weft::detail::arm(*this, when.when());
      armed_for = when;
    }
    static void rang(timer& t) noexcept {
      alarm& self = static_cast<alarm&>(t);
      side& of = self.of;
      if (!of.waiting.waits()) return;  // who waits next arms it anew
      if (!of.until.passed()) {
        if (!of.until.is_never()) self.arm(of.until);
        return;
      }
      of.late = true;
      std::exchange(of.waiting, {}).wake();
    }
  };

  watch(std::shared_ptr<context_life> l, int e) : life(std::move(l)), epoll(e) {}

  void begins_to_wait(bool writing, deadline until) {
    side& s = writing ? out : in;
    s.until = until;
    s.late = false;
    if (until.is_never()) return;
    alarm& a = writing ? out_alarm : in_alarm;
    if (!a.armed() || until < a.armed_for) a.arm(until);
  }
  void comes_next() const noexcept override {
    if (!reader || in.waiting == waker()) return;
    weft::detail::light_wait::fetch(in.waiting);
    __builtin_prefetch(reader, 1);
  }
  void happened(std::uint32_t what) noexcept override {
    if (what & ~std::uint32_t{EPOLLIN | EPOLLOUT}) ending = true;  // noted before anybody wakes
    if (what & ~std::uint32_t{EPOLLOUT}) {
      const bool woke = in.edge();
      if (woke && reader && !ending && reader->readable()) in.ready = false;
    }
    if (what & ~std::uint32_t{EPOLLIN | EPOLLRDHUP | EPOLLPRI}) out.edge();
  }

  const std::uint32_t loop = weft::detail::require_loop();
  bool for_writing = false;  ///< registered for that, too
  bool ending =
      false;  ///< the end, a reset, an error or urgent data: only the system call proves that nothing is there
  early_reader* reader = nullptr;  ///< of who waits in `in`; nothing to anybody when nobody waits
  side in{false};
  side out{true};
  alarm in_alarm{in};
  alarm out_alarm{out};
  const std::shared_ptr<context_life> life;
  const int epoll;
};

namespace {

constexpr std::uint32_t for_reading = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;

void check(int code, int fd) {
  if (code == 0) return;
  throw error(std::error_code(code, std::system_category()), "watch", "descriptor " + std::to_string(fd), 0,
              code == ENOSPC ? "fs.epoll.max_user_watches is too low" : "");
}

// Ends its context's life in time.
struct life_service final : asio::execution_context::service {
  static asio::execution_context::id id;

  explicit life_service(asio::io_context& context) : service(context), life(std::make_shared<context_life>()) {
    life->loop = weft::detail::this_loop_token();
    life->context = &context;
  }
  void shutdown() override {
    const std::lock_guard lock(life->mutex);
    life->context = nullptr;
  }

  const std::shared_ptr<context_life> life;
};

asio::execution_context::id life_service::id;

bool on_loop_of(const asio::io_context* context) noexcept {
  try {
    return context && on_a_loop() && &this_io_context() == context;
  } catch (...) {
    return false;  // a simulated loop
  }
}

}  // namespace

const std::shared_ptr<context_life>& this_context_life() {
  return asio::use_service<life_service>(this_io_context()).life;
}

void listen_to(int fd, weft::detail::event_taker& who) {
  ::epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLET;
  wanted.data.ptr = &who;
  check(::epoll_ctl(weft::detail::this_epoll(), EPOLL_CTL_ADD, fd, &wanted) != 0 ? errno : 0, fd);
}

template <class F>
void context_life::run_there(F f) noexcept {
  if (on_loop_of(context.load())) {
    f();
    return;
  }
  // As in the loop's own wake-ups, a program out of memory ends here.
  const std::lock_guard lock(mutex);
  // A handler that the context does not come to run any more is destroyed with the context; f's destructor sees to it.
  if (auto* there = context.load()) asio::post(*there, std::move(f));
}

// --- the descriptor ---

descriptor::descriptor(descriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), watch_(std::exchange(other.watch_, nullptr)) {
  if (!watch_ || weft::detail::this_loop_token() != watch_->loop) return;
  const waker reader = std::exchange(watch_->in.waiting, {});
  const waker writer = std::exchange(watch_->out.waiting, {});
  reader.wake();
  writer.wake();
}

std::uint32_t descriptor::loop() const noexcept { return watch_ ? watch_->loop : 0; }

bool descriptor::may_read() const noexcept { return !watch_ || watch_->in.ready; }
bool descriptor::may_write() const noexcept { return !watch_ || watch_->out.ready; }

// Without a watch there is nothing to note: registering it reports what is there at that moment.
void descriptor::found_empty() noexcept {
  if (watch_) watch_->in.ready = false;
}
void descriptor::took_all() noexcept {
  if (watch_ && !watch_->ending) watch_->in.ready = false;
}
void descriptor::found_full() noexcept {
  if (watch_) watch_->out.ready = false;
}

// Has the loop's epoll watch for bytes, and for room. The first time for each, it reports what is there already.
[[gnu::noinline]] void descriptor::attach(bool for_writing) {
  if (watch_ && weft::detail::this_loop_token() != watch_->loop)
    throw wrong_loop("descriptor " + std::to_string(fd_) +
                     " was used on another loop, or in a runtime that has ended; a stream stays where it was made, "
                     "but for stream::move_to()");
  auto fresh = std::unique_ptr<watch>();
  if (!watch_) fresh = std::make_unique<watch>(this_context_life(), weft::detail::this_epoll());
  watch& w = fresh ? *fresh : *watch_;
  ::epoll_event wanted{};
  wanted.events = for_reading | (for_writing || w.for_writing ? std::uint32_t{EPOLLOUT} : 0);
  wanted.data.ptr = static_cast<weft::detail::event_taker*>(&w);
  const int done = ::epoll_ctl(w.epoll, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd_, &wanted);
  check(done != 0 ? errno : 0, fd_);
  w.for_writing = w.for_writing || for_writing;
  if (fresh) {
    if (for_writing) w.out.ready = false;
    watch_ = fresh.release();
  }
}

descriptor::wait_end descriptor::wait_readable(deadline until) { return wait(false, until); }
descriptor::wait_end descriptor::wait_writable(deadline until) { return wait(true, until); }

descriptor::wait_end descriptor::wait(bool writing, deadline until) {
  if (fd_ < 0) return wait_end::closed;
  if (!watch_ || (writing && !watch_->for_writing) || watch_->loop != weft::detail::this_loop_token()) [[unlikely]]
    attach(writing);
  watch::side& s = writing ? watch_->out : watch_->in;
  if (s.ready) return wait_end::ready;
  watch_->begins_to_wait(writing, until);
  waiter w(writing ? wait_kind::writable : wait_kind::readable, this);
  s.waiting = w.handle();
  if (!writing) watch_->reader = nullptr;
  return has_waited(writing, w.suspend());
}

descriptor::wait_end descriptor::has_waited(bool writing, wake_reason how) {
  if (fd_ < 0) return wait_end::closed;
  watch::side& s = writing ? watch_->out : watch_->in;
  s.waiting = {};
  if (how == wake_reason::cancelled) check_cancelled();
  return s.late && !s.ready ? wait_end::timed_out : wait_end::ready;
}

// A null `me` where nothing has been done: then has_waited_readable() does it all.
[[gnu::noinline]] weft::detail::departure descriptor::begin_to_wait_readable(waker& me, deadline until,
                                                                             early_reader* reader) {
  if (!watch_ || watch_->loop != weft::detail::this_loop_token() || watch_->in.ready) return {};
  watch_->begins_to_wait(false, until);
  me = weft::detail::light_wait::announce(wait_kind::readable, this);
  if (me == waker()) return {};
  watch_->in.waiting = me;
  watch_->reader = reader;
  return weft::detail::light_wait::leave(me);
}

descriptor::wait_end descriptor::has_waited_readable(const waker& me, deadline until) {
  if (me == waker()) [[unlikely]]
    return wait(false, until);
  return has_waited(false, weft::detail::light_wait::end(me));
}

void descriptor::close() noexcept {
  if (fd_ < 0) return;
  if (!watch_) {
    ::close(std::exchange(fd_, -1));
    return;
  }
  waker reader;
  waker writer;
  if (weft::detail::this_loop_token() == watch_->loop) {  // off its loop nobody waits, and an edge may be coming
    reader = watch_->in.waiting;
    writer = watch_->out.waiting;
  }
  release(true);
  fd_ = -1;
  reader.wake();
  writer.wake();
}

void descriptor::leave_loop() noexcept {
  if (watch_) release(false);
}

// The watch belongs to its loop, so it is ended there; wherever we are, if that loop is gone, and its epoll with it.
void descriptor::release(bool closing) noexcept {
  struct ending {
    std::unique_ptr<watch> what;
    int fd;
    bool closing;

    ending(watch* w, int f, bool c) noexcept : what(w), fd(f), closing(c) {}
    ending(ending&&) noexcept = default;
    ending& operator=(ending&&) = delete;
    ~ending() {
      if (what && closing) ::close(fd);
    }
    void operator()() const noexcept {
      weft::detail::disarm(what->in_alarm);
      weft::detail::disarm(what->out_alarm);
      // Closing alone would leave it in the epoll where it was duplicated, by a fork if by nothing else.
      ::epoll_ctl(what->epoll, EPOLL_CTL_DEL, fd, nullptr);
    }
  };
  const auto life = watch_->life;
  life->run_there(ending(std::exchange(watch_, nullptr), fd_, closing));
}

}  // namespace weft::io::detail
