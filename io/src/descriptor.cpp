#include "descriptor.hpp"

#include <unistd.h>

#include <asio/detail/reactor.hpp>
#include <asio/detail/reactor_op.hpp>
#include <asio/post.hpp>
#include <cerrno>
#include <system_error>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"

namespace weft::io::detail {

using asio::detail::reactor;
using asio::detail::reactor_op;

namespace {

// Hands out the reactor of an io_context, and tells when the io_context ends.
class loop_service : public asio::execution_context::service {
 public:
  static asio::execution_context::id id;

  explicit loop_service(asio::io_context& context)
      : service(context), events(asio::use_service<reactor>(context)), life(std::make_shared<context_life>()) {
    events.init_task();
    life->context = &context;
  }

  reactor& events;
  const std::shared_ptr<context_life> life;

 private:
  // Comes before the reactor's, which was there first.
  void shutdown() override {
    const std::lock_guard lock(life->mutex);
    life->context = nullptr;
  }
};

asio::execution_context::id loop_service::id;

loop_service& this_service() { return asio::use_service<loop_service>(this_io_context()); }

bool on_loop_of(const asio::io_context* context) noexcept {
  try {
    return context && on_a_loop() && &this_io_context() == context;
  } catch (...) {
    return false;  // a simulated loop
  }
}

}  // namespace

const std::shared_ptr<context_life>& this_context_life() { return this_service().life; }

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

// --- the watch ---

struct descriptor::side {
  bool ready = false;
  waker waiting;

  void edge() noexcept {
    ready = true;
    std::exchange(waiting, {}).wake();
  }
};

// What the reactor knows of a descriptor. It outlives the descriptor until Asio has given back the operations.
//
// Who may touch what:
//   holders_  any thread: the descriptor, and each operation in Asio's hands.
//   the rest  the loop's thread.
class descriptor::watch {
 public:
  watch(loop_service& s, int fd) : life(s.life), events_(s.events), fd_(fd) {
    if (const int code = events_.register_descriptor(fd, data_)) {
      throw std::system_error(code, std::system_category(),
                              "cannot watch descriptor " + std::to_string(fd) + " (epoll_ctl)");
    }
    start(readable_, reactor::read_op);
    start(trouble_, reactor::except_op);
  }

  void watch_writable() {
    if (writable_.queued) return;
    out.ready = false;  // room that is there already is an edge to come
    start(writable_, reactor::write_op);
  }

  /// On the loop's thread. The descriptor is closed afterwards, or taken to another loop.
  void deregister(bool closing, bool exposed) noexcept {
    // Closing a descriptor takes it out of epoll, unless there are duplicates.
    events_.deregister_descriptor(fd_, data_, closing && !exposed);
    if (closing) ::close(fd_);
    events_.cleanup_descriptor_data(data_);
    drop();
  }
  /// The loop has ended, and its reactor with it. Any thread.
  void abandon(bool closing) noexcept {
    if (closing) ::close(fd_);
    drop();
  }

  const std::shared_ptr<context_life> life;
  side in;
  side out;
  bool trouble = false;  ///< a reset, an error or urgent data: only EAGAIN proves that there is nothing to read

 private:
  struct operation : reactor_op {
    operation(watch& w, status (*edge)(reactor_op*)) : reactor_op({}, edge, &ended), self(w) {}

    // Asio gives it back: the descriptor was deregistered, or could not be watched for this; without an owner, the
    // io_context is gone.
    static void ended(void* owner, asio::detail::operation* base, const asio::error_code&, std::size_t) {
      auto& op = *static_cast<operation*>(base);
      op.queued = false;
      if (owner) {
        op.self.in.edge();
        op.self.out.edge();
      }
      op.self.drop();
    }

    watch& self;
    bool queued = false;
  };

  void start(operation& op, int kind) {
    ++holders_;
    // Asio performs it once before it queues it; that is no edge, and `queued` tells them apart.
    events_.start_op(kind, fd_, data_, &op, false, true);
    op.queued = true;
  }
  void drop() noexcept {
    if (holders_.fetch_sub(1) == 1) delete this;
  }

  template <side watch::*Side>
  static reactor_op::status on_edge(reactor_op* base) {
    auto& op = *static_cast<operation*>(base);
    if (op.queued) (op.self.*Side).edge();
    return reactor_op::not_done;
  }
  static reactor_op::status on_trouble(reactor_op* base) {
    auto& op = *static_cast<operation*>(base);
    if (op.queued) op.self.trouble = true;
    return reactor_op::not_done;
  }

  ~watch() = default;

  reactor& events_;
  const int fd_;
  reactor::per_descriptor_data data_ = nullptr;
  std::atomic<unsigned> holders_{1};
  // Asio performs trouble_ before the others, so that it is noted when those wake somebody.
  operation readable_{*this, &on_edge<&watch::in>};
  operation writable_{*this, &on_edge<&watch::out>};
  operation trouble_{*this, &on_trouble};
};

// --- the descriptor ---

unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}

bool descriptor::may_read() const noexcept { return !watch_ || watch_->in.ready; }
bool descriptor::may_write() const noexcept { return !watch_ || watch_->out.ready; }

// Without a watch there is nothing to note: registering it reports what is there at that moment.
void descriptor::found_empty() noexcept {
  if (watch_) watch_->in.ready = false;
}
void descriptor::took_last() noexcept {
  if (watch_ && !watch_->trouble) watch_->in.ready = false;
}
void descriptor::found_full() noexcept {
  if (watch_) watch_->out.ready = false;
}

void descriptor::attach() {
  if (!watch_) {
    watch_ = new watch(this_service(), fd_);
    watch_->out.ready = true;
  } else if (watch_->life->context.load(std::memory_order_relaxed) != &this_io_context()) {
    throw wrong_loop("descriptor " + std::to_string(fd_) +
                     " was used on another loop, or in a runtime that has ended; a stream stays where it was made, "
                     "but for stream::move_to()");
  }
}

descriptor::wait_end descriptor::wait_readable(deadline until) {
  if (fd_ < 0) return wait_end::closed;
  attach();
  return wait(watch_->in, wait_kind::readable, until);
}

descriptor::wait_end descriptor::wait_writable(deadline until) {
  if (fd_ < 0) return wait_end::closed;
  attach();
  watch_->watch_writable();
  return wait(watch_->out, wait_kind::writable, until);
}

descriptor::wait_end descriptor::wait(side& s, wait_kind kind, deadline until) {
  if (s.ready) return wait_end::ready;
  waiter w(kind, this);
  s.waiting = w.handle();
  const auto how = w.suspend(until);
  if (fd_ < 0) return wait_end::closed;  // and s is gone
  s.waiting = {};
  if (how == wake_reason::cancelled) check_cancelled();
  return how == wake_reason::timed_out && !s.ready ? wait_end::timed_out : wait_end::ready;
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

void descriptor::release(bool closing) noexcept {
  // The watch's last holder but for Asio: deregisters where that may be done, or, if that cannot be done any more, lets
  // go.
  struct end {
    watch* what;
    bool closing;
    bool exposed;
    end(watch* w, bool c, bool e) noexcept : what(w), closing(c), exposed(e) {}
    end(end&& other) noexcept
        : what(std::exchange(other.what, nullptr)), closing(other.closing), exposed(other.exposed) {}
    ~end() {
      if (what) what->abandon(closing);
    }
    void operator()() { std::exchange(what, nullptr)->deregister(closing, exposed); }
  };
  const auto life = watch_->life;
  life->run_there(end(std::exchange(watch_, nullptr), closing, exposed_));
}

}  // namespace weft::io::detail
