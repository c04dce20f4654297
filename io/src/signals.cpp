#include "weft/io/signals.hpp"

#include <asio/signal_set.hpp>
#include <optional>
#include <utility>

#include "descriptor.hpp"
#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/io/error.hpp"
#include "weft/loop.hpp"
#include "weft/waiter.hpp"

namespace weft::io {

// Belongs to its loop's thread.
struct signals::state {
  explicit state(asio::io_context& context) : life(detail::this_context_life()), set(context) {}

  const std::shared_ptr<detail::context_life> life;
  asio::signal_set set;
  waker waiting;
  bool armed = false;  // an asynchronous wait is under way; cancelling wait() leaves it, so that it loses no signal
  bool busy = false;
  int came = 0;
};

signals::signals(std::initializer_list<int> numbers) : state_(std::make_shared<state>(this_io_context())) {
  for (const int n : numbers) state_->set.add(n);
}

signals::~signals() {
  // The set must be destroyed before its io_context, on whichever thread.
  state& s = *state_;
  const std::lock_guard lock(s.life->mutex);
  if (s.life->context.load())
    s.set.cancel();
  else
    new std::shared_ptr<state>(std::move(state_));  // it cannot be taken apart any more
}

int signals::wait() {
  state& s = *state_;
  if (s.life->context.load() != &this_io_context()) throw wrong_loop("signals were waited for on another loop");
  if (s.busy) throw stream_busy("wait for", "signals");
  struct turn {
    bool& busy;
    explicit turn(bool& b) noexcept : busy(b) { busy = true; }
    ~turn() { busy = false; }
  } const mine(s.busy);

  checkpoint();
  for (;;) {
    if (s.came != 0) return std::exchange(s.came, 0);
    if (!s.armed) {
      s.set.async_wait([kept = state_](const asio::error_code& error, int number) {
        kept->armed = false;
        if (!error) kept->came = number;
        std::exchange(kept->waiting, {}).wake();
      });
      s.armed = true;
    }
    waiter w(wait_kind::other, this);
    s.waiting = w.handle();
    const auto how = w.suspend();
    s.waiting = {};
    if (how == wake_reason::cancelled && s.came == 0) check_cancelled();
  }
}

}  // namespace weft::io
