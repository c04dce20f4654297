#include "descriptor.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/detail/reactor.hpp>
#include <asio/detail/reactor_op.hpp>
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

// What a loop's epoll knows of a descriptor. Its loop's thread only.
struct watch {
  // The timer stays armed from wait to wait, and looks at the deadline when it fires: a connection with a limit arms
  // one timer each time the limit passes, not one each wait.
  struct side : weft::detail::timer {
    bool ready = false;
    bool late = false;
    waker waiting;
    deadline until;      ///< of who waits
    deadline armed_for;  ///< never later than the former, while somebody waits and the timer is armed

    explicit side(bool r) noexcept : ready(r) { expired = &rang; }

    void edge() noexcept {
      ready = true;
      std::exchange(waiting, {}).wake();
    }
    void arm(deadline when) {
      weft::detail::disarm(*this);
      weft::detail::arm(*this, when.when());
      armed_for = when;
    }
    static void rang(timer& t) noexcept {
      side& self = static_cast<side&>(t);
      if (!self.waiting.waits()) return;  // who waits next arms it anew
      if (!self.until.passed()) {
        if (!self.until.is_never()) self.arm(self.until);
        return;
      }
      self.late = true;
      std::exchange(self.waiting, {}).wake();
    }
  };

  watch(std::shared_ptr<context_life> l, int e) : life(std::move(l)), epoll(e) {}

  void happened(std::uint32_t what) noexcept {
    if (what & ~std::uint32_t{EPOLLIN | EPOLLOUT}) ending = true;  // noted before anybody wakes
    if (what & ~std::uint32_t{EPOLLOUT}) in.edge();
    if (what & ~std::uint32_t{EPOLLIN | EPOLLRDHUP | EPOLLPRI}) out.edge();
  }

  const std::shared_ptr<context_life> life;
  const int epoll;
  const std::uint32_t loop = weft::detail::require_loop();
  std::uint32_t events = 0;  ///< that it is registered for
  side in{false};
  side out{true};
  bool ending =
      false;  ///< the end, a reset, an error or urgent data: only the system call proves that nothing is there
};

namespace {

/// In an event, on the address of a listener; a watch's is even.
constexpr std::uint64_t listener_mark = 1;

void check(int code, int fd) {
  if (code == 0) return;
  throw error(std::error_code(code, std::system_category()), "watch", "descriptor " + std::to_string(fd), 0,
              code == ENOSPC ? "fs.epoll.max_user_watches is too low" : "");
}

// The epoll of a loop, inside that of Asio's reactor. Its one operation there is queued for ever, for it never says
// that it is done; Asio watches its pipe for signals in the same way (signal_set_service.ipp).
class loop_epoll final : public asio::execution_context::service, weft::detail::poller {
 public:
  static asio::execution_context::id id;

  explicit loop_epoll(asio::io_context& context)
      : service(context),
        life(std::make_shared<context_life>()),
        outer_(asio::use_service<asio::detail::reactor>(context)),
        fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    check(fd_.get() < 0 ? errno : 0, fd_.get());
    outer_.init_task();
    // The operation is Asio's, until shutdown(); even if it cannot be watched for.
    const auto read = asio::detail::reactor::read_op;
    check(outer_.register_internal_descriptor(read, fd_.get(), data_, new arrival(*this)), fd_.get());
    life->loop = weft::detail::this_loop_token();
    life->context = &context;
    weft::detail::set_poller(this);
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  const std::shared_ptr<context_life> life;

 private:
  struct arrival : asio::detail::reactor_op {
    explicit arrival(loop_epoll& l) noexcept : reactor_op({}, &perform, &end), self(l) {}

    static status perform(reactor_op* base) {
      static_cast<arrival*>(base)->self.dispatch();
      return not_done;
    }
    static void end(void*, asio::detail::operation* base, const asio::error_code&, std::size_t) {
      delete static_cast<arrival*>(base);
    }

    loop_epoll& self;
  };

  // Edges are told to Asio's epoll as an edge of ours, so we look until there are no more. Fibers are woken, but do not
  // run in here: no watch goes away meanwhile.
  void dispatch() noexcept {
    last_batch_ = 0;
    std::array<::epoll_event, 128> events;
    int count = 0;
    do {
      count = ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), 0);
      last_batch_ += std::max(count, 0);
      for (int i = 0; i < count; ++i) {
        const ::epoll_event& e = events[static_cast<std::size_t>(i)];
        if (e.data.u64 & listener_mark) [[unlikely]]
          reinterpret_cast<edge_listener*>(e.data.u64 & ~listener_mark)->edge();
        else
          static_cast<watch*>(e.data.ptr)->happened(e.events);
      }
    } while (count == static_cast<int>(events.size()) || (count < 0 && errno == EINTR));
  }

  // While much goes on, the next batch is there already: it is fetched with one call, without Asio's.
  bool look() noexcept override {
    constexpr int much = 4;
    if (last_batch_ < much) return false;
    dispatch();
    return last_batch_ > 0;
  }

  // Comes before the reactor's, which was there first.
  void shutdown() override {
    const std::lock_guard lock(life->mutex);
    life->context = nullptr;
    outer_.deregister_internal_descriptor(fd_.get(), data_);
    outer_.cleanup_descriptor_data(data_);
  }

  asio::detail::reactor& outer_;
  const unique_fd fd_;
  asio::detail::reactor::per_descriptor_data data_ = nullptr;
  int last_batch_ = 0;
};

asio::execution_context::id loop_epoll::id;

bool on_loop_of(const asio::io_context* context) noexcept {
  try {
    return context && on_a_loop() && &this_io_context() == context;
  } catch (...) {
    return false;  // a simulated loop
  }
}

}  // namespace

const std::shared_ptr<context_life>& this_context_life() {
  return asio::use_service<loop_epoll>(this_io_context()).life;
}

void listen_to(int fd, edge_listener& who) {
  ::epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLET;
  wanted.data.u64 = reinterpret_cast<std::uintptr_t>(&who) | listener_mark;
  const int done = ::epoll_ctl(asio::use_service<loop_epoll>(this_io_context()).fd(), EPOLL_CTL_ADD, fd, &wanted);
  check(done != 0 ? errno : 0, fd);
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

// Has the loop's epoll watch for `events`. The first time for each, it reports what is there already.
void descriptor::attach(std::uint32_t events) {
  if (watch_ && weft::detail::this_loop_token() != watch_->loop)
    throw wrong_loop("descriptor " + std::to_string(fd_) +
                     " was used on another loop, or in a runtime that has ended; a stream stays where it was made, "
                     "but for stream::move_to()");
  if (watch_ && (watch_->events & events) == events) return;
  auto fresh = std::unique_ptr<watch>();
  if (!watch_) {
    loop_epoll& here = asio::use_service<loop_epoll>(this_io_context());
    fresh = std::make_unique<watch>(here.life, here.fd());
  }
  watch& w = fresh ? *fresh : *watch_;
  ::epoll_event wanted{};
  wanted.events = w.events | events;
  wanted.data.ptr = &w;
  const int done = ::epoll_ctl(w.epoll, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd_, &wanted);
  check(done != 0 ? errno : 0, fd_);
  w.events = wanted.events;
  if (fresh) watch_ = fresh.release();
}

descriptor::wait_end descriptor::wait_readable(deadline until) { return wait(false, until); }
descriptor::wait_end descriptor::wait_writable(deadline until) { return wait(true, until); }

descriptor::wait_end descriptor::wait(bool writing, deadline until) {
  if (fd_ < 0) return wait_end::closed;
  constexpr std::uint32_t always = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  const bool first = !watch_;
  attach(writing ? always | EPOLLOUT : always);
  watch::side& s = writing ? watch_->out : watch_->in;
  if (first) s.ready = false;
  if (s.ready) return wait_end::ready;
  s.until = until;
  s.late = false;
  if (!until.is_never() && (!s.armed() || until < s.armed_for)) s.arm(until);
  waiter w(writing ? wait_kind::writable : wait_kind::readable, this);
  s.waiting = w.handle();
  const auto how = w.suspend();
  if (fd_ < 0) return wait_end::closed;  // and s is gone
  s.waiting = {};
  if (how == wake_reason::cancelled) check_cancelled();
  return s.late && !s.ready ? wait_end::timed_out : wait_end::ready;
}

void descriptor::close() noexcept {
  if (fd_ < 0) return;
  if (!watch_) {
    ::close(std::exchange(fd_, -1));
    return;
  }
  const waker reader = watch_->in.waiting;
  const waker writer = watch_->out.waiting;
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
      weft::detail::disarm(what->in);
      weft::detail::disarm(what->out);
      // Closing alone would leave it in the epoll where it was duplicated, by a fork if by nothing else.
      ::epoll_ctl(what->epoll, EPOLL_CTL_DEL, fd, nullptr);
    }
  };
  const auto life = watch_->life;
  life->run_there(ending(std::exchange(watch_, nullptr), fd_, closing));
}

}  // namespace weft::io::detail
