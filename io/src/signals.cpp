#include "weft/io/signals.hpp"

#include <algorithm>
#include <array>
#include <asio/signal_set.hpp>
#include <csignal>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "descriptor.hpp"
#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/io/error.hpp"
#include "weft/loop.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

// What signals did before we had them. Asio would have them do what they do by default: one that was ignored, as
// nohup(1) has it, would end the program.
class dispositions {
 public:
  static dispositions& get() {
    static auto* const all = new dispositions;  // a static's destructor may still give something back
    return *all;
  }

  /// Before Asio has it.
  void take(int number) {
    if (number <= 0 || number >= NSIG) return;  // Asio refuses it
    const std::lock_guard lock(mutex_);
    entry& e = of(number);
    if (e.users++ > 0) return;
    e.before = {};
    ::sigaction(number, nullptr, &e.before);
    // Somebody's own set has it, and what was before that Asio has not kept.
    if (e.before.sa_handler == &asio::detail::asio_signal_handler) e.before.sa_handler = SIG_DFL;
  }
  /// When Asio has it no more.
  void give_back(int number) noexcept {
    if (number <= 0 || number >= NSIG) return;
    const std::lock_guard lock(mutex_);
    entry& e = of(number);
    if (--e.users > 0) return;
    struct ::sigaction now {};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) ::sigaction(number, &e.before, nullptr);
  }

 private:
  struct entry {
    unsigned users = 0;
    struct ::sigaction before {};
  };
  entry& of(int number) noexcept { return all_[static_cast<std::size_t>(number)]; }

  std::mutex mutex_;
  std::array<entry, NSIG> all_;
};

}  // namespace

// Belongs to its loop's thread, but for `set`: under the mutex of `life`, it is destroyed on any, and before its
// io_context is.
struct signals::state {
  explicit state(asio::io_context& context) : life(detail::this_context_life()), set(context) {}
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() { end(); }

  void add(int number) {
    numbers.push_back(number);
    dispositions::get().take(number);
    set->add(number);
  }
  // No more signals; who waits is told.
  void end() noexcept {
    set.reset();
    for (const int n : std::exchange(numbers, {})) dispositions::get().give_back(n);
  }

  const std::shared_ptr<detail::context_life> life;
  std::optional<asio::signal_set> set;
  std::vector<int> numbers;
  waker waiting;
  bool armed = false;  // an asynchronous wait is under way; cancelling wait() leaves it, so that it loses no signal
  bool busy = false;
  int came = 0;
};

// Has those whose io_context goes before them ended in time.
struct signals::keeper final : asio::execution_context::service {
  static asio::execution_context::id id;

  explicit keeper(asio::io_context& context) : service(context), life(detail::this_context_life()) {}
  void shutdown() override {
    const std::lock_guard lock(life->mutex);
    for (const auto& s : std::exchange(all, {})) s->end();
  }

  const std::shared_ptr<detail::context_life> life;
  std::vector<std::shared_ptr<state>> all;  // under the mutex of `life`
};

asio::execution_context::id signals::keeper::id;

signals::signals(std::initializer_list<int> numbers) : state_(std::make_shared<state>(this_io_context())) {
  auto& kept = asio::use_service<keeper>(this_io_context());
  for (const int n : numbers) state_->add(n);
  const std::lock_guard lock(state_->life->mutex);
  kept.all.push_back(state_);
}

signals::~signals() {
  state& s = *state_;
  const std::lock_guard lock(s.life->mutex);
  asio::io_context* const context = s.life->context.load();
  if (!context) return;  // the keeper sees to it
  std::erase(asio::use_service<keeper>(*context).all, state_);
  s.end();
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
      s.set->async_wait([kept = state_](const asio::error_code& error, int number) {
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
