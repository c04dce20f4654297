#include "weft/io/serve.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/io/tcp.hpp"
#include "weft/loop.hpp"
#include "weft/spawn.hpp"
#include "weft/task_group.hpp"
#include "weft/timeout.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

// The listener itself is unusable: accept(2) will fail for ever.
bool is_final(const std::error_code& code) noexcept {
  switch (code.value()) {
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
      return true;
    default:
      return false;
  }
}

// One connection died while it waited; the next may be well. accept(2) lists what the network may say.
bool is_passing(const std::error_code& code) noexcept {
  switch (code.value()) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

std::string text_of(const std::exception_ptr& problem) {
  try {
    std::rethrow_exception(problem);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const cancelled& c) {
    return std::string("cancelled: ") + c.what();
  } catch (...) {
    return "an exception of an unknown type";
  }
}

bool is_everyday(const std::exception_ptr& problem) {
  try {
    std::rethrow_exception(problem);
  } catch (const error&) {
    return true;
  } catch (const end_of_stream&) {
    return true;
  } catch (const line_too_long&) {
    return true;
  } catch (const timed_out&) {
    return true;
  } catch (...) {
    return false;
  }
}

void print(const std::string& peer, const std::exception_ptr& problem) {
  std::fprintf(stderr, "weft: serving %s: %s\n", peer.c_str(), text_of(problem).c_str());
}

}  // namespace

// Who may touch what:
//   source_, keeper_      the home loop only; source_ also whoever drops the last reference.
//   slot_                 under mutex_; the keeper publishes its waker there, whoever has news takes it.
//   the atomics           any loop.
//   the rest              written before run(), read by any loop after.
//
// The keeper is the task that accepts. Connections are its children, on all loops, so cancelling the keeper cancels
// them. It is a task under no scope of run()'s caller: the grace comes between that scope's end and theirs.
struct server::state : std::enable_shared_from_this<server::state> {
  enum class outcome : std::uint8_t { finished, failed, cancelled };

  // A connection's place in the counts, from accept to end.
  class seat {
   public:
    seat(std::shared_ptr<state> s, unsigned loop) noexcept : state_(std::move(s)), loop_(loop) {
      state_->accepted.fetch_add(1, std::memory_order_relaxed);
      state_->loads[loop_].fetch_add(1, std::memory_order_relaxed);
      state_->open.fetch_add(1, std::memory_order_relaxed);
    }
    seat(seat&& other) noexcept = default;
    seat& operator=(seat&&) = delete;
    ~seat() {
      if (state_) state_->leave(loop_, how);
    }
    state* operator->() const noexcept { return state_.get(); }

    outcome how = outcome::cancelled;

   private:
    std::shared_ptr<state> state_;
    unsigned loop_;
  };

  state(listener l, server::handler h, serve_options o)
      : source_(std::move(l)), handle(std::move(h)), options(std::move(o)) {
    if (!handle) throw std::invalid_argument("server: the handler is empty");
    if (options.max_connections == 0) throw std::invalid_argument("serve_options.max_connections is 0");
  }

  // --- the keeper ---

  void keep() {
    std::exception_ptr problem;
    try {
      accept_all();
    } catch (...) {
      problem = std::current_exception();  // the listener is unusable, or the runtime ends and so do the connections
    }
    source_.close();
    if (!wait_until_empty()) weft::detail::future_access::state(keeper_)->request_cancel(cancel_reason::shutdown, 0);
    wait(true, {}, [this] { return open.load() == 0; });
    if (problem) std::rethrow_exception(problem);
  }

  bool wait_until_empty() {
    try {
      const auto until = options.grace == no_timeout ? deadline::never() : deadline::after(options.grace);
      return wait(false, until, [this] { return open.load() == 0; });
    } catch (const cancelled&) {
      return true;  // the runtime ends: they are cancelled already
    }
  }

  void accept_all() {
    using namespace std::chrono_literals;
    constexpr std::chrono::nanoseconds first_pause = 5ms;
    constexpr std::chrono::nanoseconds longest_pause = 1s;
    auto pause = first_pause;
    while (!stopping.load()) {
      if (open.load() >= options.max_connections) {
        wait(false, {}, [this] { return open.load() < options.max_connections || stopping.load(); });
        continue;
      }
      try {
        start(source_.accept_transport());
        pause = first_pause;
        continue;
      } catch (const stream_closed&) {
        return;
      } catch (const error& e) {
        accept_failures.fetch_add(1, std::memory_order_relaxed);
        if (is_final(e.code())) throw;
        if (is_passing(e.code())) continue;
        if (pause == first_pause) report_accept(std::current_exception());
      } catch (const std::bad_alloc&) {
        accept_failures.fetch_add(1, std::memory_order_relaxed);
        if (pause == first_pause) report_accept(std::current_exception());
      } catch (const out_of_stacks&) {
        accept_failures.fetch_add(1, std::memory_order_relaxed);
        if (pause == first_pause) report_accept(std::current_exception());
      }
      // No descriptors or no memory. A connection that ends gives some back, so its end ends the pause.
      const auto before = open.load();
      wait(false, deadline::after(pause), [&] { return open.load() < before || stopping.load(); });
      pause = std::min(2 * pause, longest_pause);
    }
  }

  unsigned choose() noexcept {
    const unsigned count = loops;
    const unsigned first = options.over == spread::here ? home : next_loop_++ % count;
    if (options.over != spread::least_connections) return first;
    unsigned best = first;
    for (unsigned i = 1; i < count; ++i) {
      const unsigned other = (first + i) % count;
      if (loads[other].load(std::memory_order_relaxed) < loads[best].load(std::memory_order_relaxed)) best = other;
    }
    return best;
  }

  void start(std::unique_ptr<transport> carrier) {
    const unsigned loop = choose();
    (void)spawn(on_loop(loop), {.name = "connection"},
                [mine = seat(shared_from_this(), loop), carrier = std::move(carrier)]() mutable {
                  serve_one(mine, std::move(carrier));
                });
  }

  // --- a connection, on its loop ---

  static void serve_one(seat& mine, std::unique_ptr<transport> carrier) {
    const std::string peer = carrier->describe();
    try {
      stream s(std::move(carrier));
      s.read_timeout(mine->options.first_byte, mine->options.idle);
      s.write_timeout(mine->options.write_stall);
      if (mine->options.lifetime == no_timeout)
        mine->handle(std::move(s));
      else
        timeout(mine->options.lifetime, [&] { mine->handle(std::move(s)); });
      mine.how = outcome::finished;
    } catch (const cancelled&) {
      if (cancel_requested()) throw;
      mine.how = outcome::failed;  // of something else that it waited for
      mine->report(peer, std::current_exception());
    } catch (...) {
      mine.how = outcome::failed;
      mine->report(peer, std::current_exception());
    }
  }

  void leave(unsigned loop, outcome how) noexcept {
    auto& count = how == outcome::finished ? finished : how == outcome::failed ? failed : cancelled_count;
    count.fetch_add(1, std::memory_order_relaxed);
    loads[loop].fetch_sub(1, std::memory_order_relaxed);
    open.fetch_sub(1);  // seq_cst: partner of waits_ in wait(); releases the counts above to the keeper
    tell_keeper();
  }

  void report(const std::string& peer, const std::exception_ptr& problem) const {
    if (options.on_error)
      options.on_error(peer, problem);
    else if (!is_everyday(problem))
      print(peer, problem);
  }
  void report_accept(const std::exception_ptr& problem) const {
    options.on_error ? options.on_error(source_.describe(), problem) : print(source_.describe(), problem);
  }

  // --- between them ---

  // The keeper waits until done() is true. False when `until` passed first. Throws cancelled, unless deaf.
  //
  // Claim: news is not missed. Dekker: the keeper raises waits_ before it asks done(); whoever has news makes it true
  // before it reads waits_. Both seq_cst.
  template <class Done>
  bool wait(bool deaf, deadline until, Done done) {
    while (!done()) {
      waiter w(wait_kind::other, this);
      {
        const std::lock_guard lock(mutex_);
        slot_ = w.handle();
      }
      waits_.store(true);
      auto how = wake_reason::woken;
      if (!done()) how = deaf ? w.suspend_shielded(until) : w.suspend(until);
      waits_.store(false);
      {
        const std::lock_guard lock(mutex_);
        slot_ = {};
      }
      if (how == wake_reason::cancelled) check_cancelled();
      if (how == wake_reason::timed_out) return done();
    }
    return true;
  }

  void tell_keeper() noexcept {
    if (!waits_.load()) return;
    waker keeper;
    {
      const std::lock_guard lock(mutex_);
      std::swap(keeper, slot_);
    }
    keeper.wake();
  }

  // On the home loop.
  void halt() {
    source_.close();
    tell_keeper();
  }

  listener source_;
  const server::handler handle;
  const serve_options options;
  unsigned home = 0;
  unsigned loops = 0;
  std::unique_ptr<std::atomic<std::size_t>[]> loads;  ///< open connections of each loop
  future<void> keeper_;
  unsigned next_loop_ = 0;

  std::atomic<bool> begun{false};
  std::atomic<bool> running{false};
  std::atomic<bool> stopping{false};
  std::atomic<std::size_t> open{0};
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> finished{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> cancelled_count{0};
  std::atomic<std::uint64_t> accept_failures{0};

 private:
  std::mutex mutex_;
  waker slot_;
  std::atomic<bool> waits_{false};
};

server::server(listener source, handler handle, serve_options options)
    : state_(std::make_shared<state>(std::move(source), std::move(handle), std::move(options))) {}

server::~server() = default;

serve_report server::run() {
  const auto s = state_;
  if (!s->source_.is_open() && !s->stopping.load()) throw stream_closed("serve", s->source_.describe());
  if (s->begun.exchange(true)) throw std::logic_error("server::run() was called a second time");
  s->home = this_loop();
  s->loops = loop_count();
  s->loads = std::make_unique<std::atomic<std::size_t>[]>(s->loops);
  s->running.store(true);  // stop() may now read home
  s->keeper_ = spawn(detached, {.name = "io::serve"}, [s] { s->keep(); });
  try {
    s->keeper_.wait();
  } catch (const cancelled&) {
    shield([&] {
      s->stopping.store(true);
      s->halt();
      s->keeper_.wait();
    });
    throw;
  }
  s->keeper_.get();
  return report();
}

void server::stop() {
  const auto s = state_;
  if (s->stopping.exchange(true) || !s->running.load()) return;
  if (on_a_loop() && this_loop() == s->home) {
    s->halt();
    return;
  }
  // In two steps: a task under no scope of the caller, for the caller may be about to be cancelled, and from there to
  // the listener's loop.
  (void)spawn(detached, [s] { (void)spawn(on_loop(s->home), [s] { s->halt(); }); });
}

serve_report server::report() const noexcept {
  const auto get = [](const auto& count) { return std::uint64_t{count.load()}; };
  const state& s = *state_;
  return {get(s.accepted), get(s.finished), get(s.failed), get(s.cancelled_count), get(s.open), get(s.accept_failures)};
}

endpoint server::local() const { return state_->source_.local(); }

namespace {

// What a listening socket hands on to those that are accepted.
listen_options options_of(const listener& l) noexcept {
  const auto is_on = [&](int level, int name) {
    int value = 0;
    ::socklen_t size = sizeof(value);
    return ::getsockopt(l.native_handle(), level, name, &value, &size) == 0 && value != 0;
  };
  return {
      .reuse_port = true, .no_delay = is_on(IPPROTO_TCP, TCP_NODELAY), .keep_alive = is_on(SOL_SOCKET, SO_KEEPALIVE)};
}

}  // namespace

serve_report serve(listener source, server::handler handle, serve_options options) {
  return server(std::move(source), std::move(handle), std::move(options)).run();
}

serve_report serve_on_all_loops(listener first, server::handler handle, serve_options options) {
  const endpoint at = first.local();
  if (!at) throw std::invalid_argument("serve_on_all_loops(): " + first.describe() + " is no TCP listener");
  const unsigned count = loop_count();
  const listen_options same = options_of(first);
  options.over = spread::here;
  options.max_connections = (options.max_connections + count - 1) / count;
  std::vector<serve_report> reports(count);
  with_group([&](task_group& all) {
    for (unsigned i = 0; i < count; ++i)
      if (i != this_loop())
        all.spawn(on_loop(i), {.name = "serve"}, [&, i] { reports[i] = serve(listen(at, same), handle, options); });
    reports[this_loop()] = serve(std::move(first), handle, options);
  });
  serve_report sum;
  for (const serve_report& r : reports) {
    sum.accepted += r.accepted;
    sum.finished += r.finished;
    sum.failed += r.failed;
    sum.cancelled += r.cancelled;
    sum.open += r.open;
    sum.accept_failures += r.accept_failures;
  }
  return sum;
}

}  // namespace weft::io
