#include "weft/io/sim_network.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include "stream_access.hpp"
#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/simulation.hpp"
#include "weft/this_fiber.hpp"
#include "weft/waiter.hpp"

// Nothing here moves by itself: whoever reads or writes first does what has become due on its connection, and waits no
// longer than until the next thing is. So there are no tasks, no timers but those of waits, and the order of draws is
// that of the program's own operations.

namespace weft::io {
namespace detail {
namespace {

using namespace std::chrono_literals;
using time_point = weft::clock::time_point;
constexpr time_point never = time_point::max();

[[noreturn]] void throw_code(int code, const char* operation, const std::string& peer) {
  throw error(std::error_code(code, std::system_category()), operation, peer);
}

bool in_simulation() noexcept {
  try {
    (void)sim::seed();
    return true;
  } catch (const no_runtime&) {
    return false;
  }
}

bool happens(double chance) { return chance > 0 && static_cast<double>(sim::draw(1'000'000'000)) < chance * 1e9; }

void check(const link_options& o) {
  if (o.min_latency < 0ns || o.max_latency < o.min_latency)
    throw std::invalid_argument("link_options: the latency goes from min_latency up to max_latency");
  if (o.window == 0) throw std::invalid_argument("link_options.window is 0");
}

struct link {
  link_options options;
  time_point cut_at = never;  ///< whole: never

  [[nodiscard]] std::chrono::nanoseconds latency() const {
    const auto spread = static_cast<std::uint64_t>((options.max_latency - options.min_latency).count());
    return options.min_latency + std::chrono::nanoseconds(static_cast<std::int64_t>(sim::draw(spread + 1)));
  }
};

// What was written at once; the end of the stream when it has no bytes.
struct segment {
  time_point sent;
  time_point arrives;
  std::string bytes;
};

// One direction of a connection.
struct lane {
  std::deque<segment> flying;
  std::string received;  // what was read of it is [0, taken)
  std::size_t taken = 0;
  std::size_t under_way = 0;  ///< bytes, flying and received
  time_point free_at{};       ///< when the bandwidth allows for more
  time_point last_arrival{};
  bool end_sent = false;
  bool end_came = false;

  [[nodiscard]] std::size_t unread() const noexcept { return received.size() - taken; }
};

struct side {
  std::size_t host = 0;
  endpoint address;
  bool closed = false;
  time_point deaf_until{};  ///< what comes to the closed one before is not answered
  time_point breaks_at = never;
  int code = 0;
  waker reader;
  waker writer;

  void wake() noexcept {
    std::exchange(reader, {}).wake();
    std::exchange(writer, {}).wake();
  }
};

struct connection;
class sim_acceptor;

struct host {
  std::string name;
  endpoint address;
  time_point down_at = never;
  std::uint16_t next_port = 49152;
  std::map<std::uint16_t, sim_acceptor*> listeners;
  std::size_t failing_accepts = 0;
  int failing_code = 0;
};

}  // namespace

struct sim_net {
  network_options options;
  std::vector<host> hosts;
  std::map<std::pair<std::size_t, std::size_t>, link> links;  // those that are not as all are
  std::map<std::uint64_t, connection*> connections;           // in the order they were made
  std::uint64_t made = 0;
  std::vector<waker> connecting;  // wait for a link or host to come back

  link& way(std::size_t from, std::size_t to) {
    return links.try_emplace({from, to}, link{options.link, never}).first->second;
  }
  /// Since when nothing gets from one to the other.
  time_point held_since(std::size_t from, std::size_t to) { return std::min(way(from, to).cut_at, hosts[to].down_at); }
  void note(const std::string& who, const std::string& what) const {
    if (!options.trace) return;
    const auto now = weft::clock::now().time_since_epoch();
    std::string digits = std::to_string(now.count() % 1'000'000'000);
    digits.insert(0, 9 - digits.size(), '0');
    options.trace(std::to_string(now / 1s) + "." + digits + " " + who + " " + what);
  }
  void wake_connecting() noexcept {
    for (const waker& w : std::exchange(connecting, {})) w.wake();
  }
  template <class F>
  void for_each_connection(F f);
};

namespace {

struct connection {
  explicit connection(std::shared_ptr<sim_net> n) : net(std::move(n)), number(net->made++) {
    net->connections.emplace(number, this);
  }
  ~connection() { net->connections.erase(number); }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // Side i writes into lane i, and reads from the other.
  [[nodiscard]] link& way(std::size_t i) { return net->way(sides[i].host, sides[1 - i].host); }
  [[nodiscard]] time_point held_since(std::size_t i) { return net->held_since(sides[i].host, sides[1 - i].host); }
  [[nodiscard]] bool is_broken(std::size_t i) const noexcept { return sides[i].breaks_at <= weft::clock::now(); }
  [[nodiscard]] bool is_gone(std::size_t i) const noexcept { return sides[i].closed || is_broken(i); }
  [[nodiscard]] std::string name_of(std::size_t i) const { return to_string(sides[i].address); }
  void note(std::size_t i, const std::string& what) const {
    if (net->options.trace) net->note(name_of(i) + " > " + name_of(1 - i), what);
  }

  void break_at(std::size_t i, time_point when, int code) noexcept {
    if (when >= sides[i].breaks_at) return;
    sides[i].breaks_at = when;
    sides[i].code = code;
    sides[i].wake();
  }

  // What is due.
  void settle() {
    settle(0);
    settle(1);
  }
  void settle(std::size_t i) {
    lane& l = lanes[i];
    const time_point now = weft::clock::now();
    const time_point held = held_since(i);
    if (held != never) {
      if (give_up_at(i) <= now) break_at(i, now, ETIMEDOUT);
      return;
    }
    while (!l.flying.empty() && l.flying.front().arrives <= now) {
      segment s = std::move(l.flying.front());
      l.flying.pop_front();
      if (s.bytes.empty()) {
        l.end_came = true;
      } else if (sides[1 - i].closed && s.arrives < sides[1 - i].deaf_until) {
        l.under_way -= s.bytes.size();
      } else if (sides[1 - i].closed || sides[1 - i].breaks_at <= s.arrives) {
        if (net->held_since(sides[1 - i].host, sides[i].host) == never) {
          note(1 - i, "resets, for it is gone");
          break_at(i, s.arrives + way(1 - i).latency(), ECONNRESET);
        }
        l.flying.clear();
        l.under_way = l.unread();
        return;
      } else {
        l.received.append(s.bytes);
      }
    }
  }

  [[nodiscard]] time_point give_up_at(std::size_t i) {
    const time_point held = held_since(i);
    const auto longest = way(i).options.give_up;
    if (held == never || lanes[i].flying.empty()) return never;
    const time_point since = std::max(held, lanes[i].flying.front().sent);
    return longest >= never - since ? never : since + longest;
  }

  // When there is something new for side i, as far as is known.
  [[nodiscard]] time_point next_event(std::size_t i) {
    time_point next = std::min(sides[i].breaks_at, give_up_at(i));
    const auto arrival = [&](std::size_t l) {
      if (!lanes[l].flying.empty() && held_since(l) == never) next = std::min(next, lanes[l].flying.front().arrives);
    };
    arrival(1 - i);
    if (is_gone(1 - i)) arrival(i);
    return next;
  }

  void send(std::size_t i, std::string bytes) {
    lane& l = lanes[i];
    const link& w = way(i);
    const time_point now = weft::clock::now();
    l.free_at = std::max(l.free_at, now);
    if (w.options.bytes_per_second > 0)
      l.free_at += std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 * static_cast<double>(bytes.size()) /
                                                                      static_cast<double>(w.options.bytes_per_second)));
    l.last_arrival = std::max(l.last_arrival, l.free_at + w.latency());
    l.under_way += bytes.size();
    if (bytes.empty()) l.end_sent = true;
    l.flying.push_back({now, l.last_arrival, std::move(bytes)});
    std::exchange(sides[1 - i].reader, {}).wake();
  }

  void forget_received(std::size_t i) noexcept {
    lanes[i].under_way -= lanes[i].unread();
    lanes[i].received.clear();
    lanes[i].taken = 0;
  }

  // Tells the other side that this one is no more; what is under way to it is lost.
  void send_reset(std::size_t i) {
    note(i, "resets");
    lane& l = lanes[i];
    for (const auto& s : l.flying) l.under_way -= s.bytes.size();
    l.flying.clear();
    if (held_since(i) == never) break_at(1 - i, weft::clock::now() + way(i).latency(), ECONNRESET);
  }

  void reset(std::size_t i) {
    if (is_gone(i)) return;
    send_reset(i);
    break_at(i, weft::clock::now(), ECONNRESET);
  }

  // The way from side i is whole again.
  void resume(std::size_t i) {
    lane& l = lanes[i];
    time_point last = weft::clock::now();
    for (segment& s : l.flying) s.arrives = last = std::max({last, s.arrives, weft::clock::now() + way(i).latency()});
    l.last_arrival = std::max(l.last_arrival, last);
  }

  const std::shared_ptr<sim_net> net;
  const std::uint64_t number;
  std::array<side, 2> sides;
  std::array<lane, 2> lanes;
};

class sim_transport final : public transport {
 public:
  sim_transport(std::shared_ptr<connection> c, std::size_t i) noexcept : connection_(std::move(c)), i_(i) {}
  ~sim_transport() override { sim_transport::close(); }

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override {
    connection& c = *connection_;
    lane& in = c.lanes[1 - i_];
    for (;;) {
      if (mine().closed) throw stream_closed("read from", describe());
      c.settle();
      if (const std::size_t most = std::min(to.size(), in.unread())) {
        const std::size_t n = part_of(most, c.way(1 - i_));
        std::memcpy(to.data(), in.received.data() + in.taken, n);
        in.taken += n;
        in.under_way -= n;
        if (in.taken == in.received.size()) {
          in.received.clear();
          in.taken = 0;
        }
        std::exchange(theirs().writer, {}).wake();
        return n;
      }
      if (in.end_came) return 0;  // as of Linux: a reset that follows the end takes nothing back
      if (c.is_broken(i_)) throw_code(mine().code, "read from", describe());
      wait(mine().reader, wait_kind::readable, limit, "read from");
    }
  }

  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override {
    connection& c = *connection_;
    lane& out = c.lanes[i_];
    std::size_t all = 0;
    for (const auto& piece : from) all += piece.size();
    for (;;) {
      if (mine().closed) throw stream_closed("write to", describe());
      if (out.end_sent) throw_code(EPIPE, "write to", describe());
      c.settle();
      if (c.is_broken(i_)) throw_code(mine().code, "write to", describe());
      const link& w = c.way(i_);
      if (out.under_way < w.options.window) {
        const std::size_t n = part_of(std::min(all, w.options.window - out.under_way), w);
        std::string bytes;
        bytes.reserve(n);
        for (const auto& piece : from)
          bytes.append(reinterpret_cast<const char*>(piece.data()), std::min(piece.size(), n - bytes.size()));
        c.note(i_, std::to_string(n) + " bytes");
        c.send(i_, std::move(bytes));
        if (happens(w.options.resets)) c.reset(i_);
        return n;
      }
      wait(mine().writer, wait_kind::writable, limit, "write to");
    }
  }

  void shutdown_write(wait_limit /*limit*/) override {
    connection& c = *connection_;
    c.settle();
    if (c.is_broken(i_)) throw_code(mine().code, "end", describe());
    end();
  }

  std::size_t try_write(std::span<const std::byte> from) noexcept override {
    connection& c = *connection_;
    lane& out = c.lanes[i_];
    if (!in_simulation() || mine().closed || out.end_sent || from.empty()) return 0;
    c.settle();
    const std::size_t window = c.way(i_).options.window;
    if (c.is_broken(i_) || out.under_way >= window) return 0;
    const std::size_t n = std::min(from.size(), window - out.under_way);
    put(from.first(n));
    return n;
  }

  void close() noexcept override {
    if (mine().closed) return;
    connection& c = *connection_;
    if (in_simulation()) c.settle();  // what has come so far was not too late
    mine().closed = true;
    mine().wake();
    if (!in_simulation()) return;  // it is over: nobody waits
    if (c.is_broken(i_)) return;
    end();
    c.forget_received(1 - i_);
    std::exchange(theirs().writer, {}).wake();
  }

  // What there is no room for is taken all the same: nothing comes after it.
  void close_after(std::span<const std::byte> last) noexcept override {
    connection& c = *connection_;
    if (in_simulation() && !mine().closed) {
      c.settle();
      if (!last.empty() && !c.is_broken(i_) && !c.lanes[i_].end_sent) put(last);
      mine().deaf_until = weft::clock::now() + 5s;
    }
    close();
  }

  void leave_loop() override {}
  [[nodiscard]] std::string describe() const override { return connection_->name_of(1 - i_); }
  [[nodiscard]] endpoint peer() const override { return connection_->sides[1 - i_].address; }
  [[nodiscard]] endpoint local() const override { return connection_->sides[i_].address; }

  void reset() { connection_->reset(i_); }

 private:
  [[nodiscard]] side& mine() const noexcept { return connection_->sides[i_]; }
  [[nodiscard]] side& theirs() const noexcept { return connection_->sides[1 - i_]; }

  static std::size_t part_of(std::size_t n, const link& w) {
    return w.options.cuts ? static_cast<std::size_t>(1 + sim::draw(n)) : n;
  }

  void put(std::span<const std::byte> bytes) {
    connection_->note(i_, std::to_string(bytes.size()) + " bytes");
    connection_->send(i_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  void end() {
    if (connection_->lanes[i_].end_sent) return;
    connection_->note(i_, "ends");
    connection_->send(i_, {});
  }

  void wait(waker& slot, wait_kind kind, wait_limit& limit, const char* operation) {
    const deadline until = limit.start();
    if (until.passed())
      throw timed_out("timed out: " + std::string(operation) + " " + describe() + ": the other side was too slow");
    waiter w(kind, &slot);
    slot = w.handle();
    const auto how = w.suspend(std::min(until, deadline(connection_->next_event(i_))));
    slot = {};
    if (how == wake_reason::cancelled) check_cancelled();
  }

  const std::shared_ptr<connection> connection_;
  const std::size_t i_;
};

class sim_acceptor final : public acceptor {
 public:
  sim_acceptor(std::shared_ptr<sim_net> net, std::size_t at, std::uint16_t port, std::size_t backlog)
      : net_(std::move(net)), at_(at), address_(net_->hosts[at].address.with_port(port)), backlog_(backlog) {
    net_->hosts[at_].listeners[port] = this;
  }
  ~sim_acceptor() override { sim_acceptor::close(); }

  std::unique_ptr<transport> accept() override {
    for (;;) {
      if (closed_) throw stream_closed("accept on", describe());
      if (waiting_.empty()) {
        waiter w(wait_kind::io, this);
        accepting_ = w.handle();
        const auto how = w.suspend();
        accepting_ = {};
        if (how == wake_reason::cancelled) check_cancelled();
        continue;
      }
      fail_perhaps();
      auto next = std::move(waiting_.front());
      waiting_.pop_front();
      return next;
    }
  }

  void close() noexcept override {
    if (std::exchange(closed_, true)) return;
    net_->hosts[at_].listeners.erase(address_.port());
    std::exchange(accepting_, {}).wake();
    auto refused = std::exchange(waiting_, {});
    if (!in_simulation()) return;
    for (auto& r : refused) r->reset();
  }

  [[nodiscard]] std::string describe() const override { return to_string(address_); }
  [[nodiscard]] endpoint local() const override { return address_; }

  [[nodiscard]] bool is_full() const noexcept { return waiting_.size() >= backlog_; }
  void push(std::unique_ptr<sim_transport> t) {
    waiting_.push_back(std::move(t));
    std::exchange(accepting_, {}).wake();
  }

 private:
  void fail_perhaps() {
    host& h = net_->hosts[at_];
    int code = 0;
    if (h.failing_accepts > 0) {
      --h.failing_accepts;
      code = h.failing_code;
    } else if (happens(net_->options.accept_failures)) {
      constexpr std::array codes = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED};
      code = codes[static_cast<std::size_t>(sim::draw(codes.size()))];
    }
    if (code == 0) return;
    if (code == ECONNABORTED) {
      waiting_.front()->reset();
      waiting_.pop_front();
    }
    throw_code(code, "accept on", describe());
  }

  const std::shared_ptr<sim_net> net_;
  const std::size_t at_;
  const endpoint address_;
  const std::size_t backlog_;
  std::deque<std::unique_ptr<sim_transport>> waiting_;
  waker accepting_;
  bool closed_ = false;
};

// A connection that is being made.
class attempt {
 public:
  attempt(sim_net& net, std::size_t from, const endpoint& to, std::chrono::nanoseconds timeout)
      : net_(net), from_(from), to_(to), until_(timeout == no_timeout ? deadline::never() : deadline::after(timeout)) {
    for (std::size_t h = 0; h < net.hosts.size(); ++h)
      if (net.hosts[h].address == to.with_port(0)) there_ = h;
  }

  [[nodiscard]] std::size_t there() const noexcept { return there_; }

  /// One way of the two, when it is whole.
  void pass(bool back) {
    for (;;) {
      wait_until_whole(back);
      const link& l = back ? net_.way(there_, from_) : net_.way(from_, there_);
      pause(l.latency());
      if (is_whole(back)) return;
    }
  }
  void pause(std::chrono::nanoseconds d) {
    const deadline then = deadline::after(d);
    sleep_until(std::min(then, until_).when());
    if (until_ < then) throw_code(ETIMEDOUT, operation, to_string(to_));
    check_here();
  }

  static constexpr auto operation = "connect to";

 private:
  static constexpr std::size_t nowhere = ~std::size_t{0};

  [[nodiscard]] bool is_whole(bool back) {
    if (there_ == nowhere) return false;
    return (back ? net_.held_since(there_, from_) : net_.held_since(from_, there_)) == never;
  }
  void check_here() const {
    if (net_.hosts[from_].down_at != never) throw_code(ENETDOWN, operation, to_string(to_));
  }
  void wait_until_whole(bool back) {
    while (check_here(), !is_whole(back)) {
      if (until_.passed()) throw_code(ETIMEDOUT, operation, to_string(to_));
      waiter w(wait_kind::io, &net_);
      net_.connecting.push_back(w.handle());
      const auto how = w.suspend(until_);
      std::erase(net_.connecting, w.handle());
      if (how == wake_reason::cancelled) check_cancelled();
    }
  }

  sim_net& net_;
  const std::size_t from_;
  const endpoint to_;
  const deadline until_;
  std::size_t there_ = nowhere;
};

}  // namespace

template <class F>
void sim_net::for_each_connection(F f) {
  for (const auto& [number, c] : connections) f(*c);
}

}  // namespace detail

using detail::connection;

// --- a host ---

const std::string& simulated_host::name() const noexcept { return net_->hosts[index_].name; }

endpoint simulated_host::address(std::uint16_t port) const noexcept {
  return net_->hosts[index_].address.with_port(port);
}

listener simulated_host::listen(std::uint16_t port, std::size_t backlog) const {
  detail::host& h = net_->hosts[index_];
  if (h.down_at != detail::never) detail::throw_code(ENETDOWN, "listen on", to_string(address(port)));
  while (port == 0) {
    if (!h.listeners.contains(h.next_port)) port = h.next_port;
    if (++h.next_port == 0) h.next_port = 49152;
  }
  if (h.listeners.contains(port)) detail::throw_code(EADDRINUSE, "listen on", to_string(address(port)));
  return listener(std::make_unique<detail::sim_acceptor>(net_, index_, port, backlog));
}

stream simulated_host::connect(const endpoint& to, std::chrono::nanoseconds timeout) const {
  using namespace std::chrono_literals;
  checkpoint();
  detail::attempt way(*net_, index_, to, timeout);
  for (;;) {
    way.pass(false);
    const auto& listeners = net_->hosts[way.there()].listeners;
    const auto found = listeners.find(to.port());
    if (found == listeners.end()) {
      way.pass(true);
      detail::throw_code(ECONNREFUSED, detail::attempt::operation, to_string(to));
    }
    if (found->second->is_full()) {
      way.pause(1s);
      continue;
    }
    detail::host& h = net_->hosts[index_];
    auto c = std::make_shared<connection>(net_);
    c->sides[0].host = index_;
    c->sides[0].address = h.address.with_port(h.next_port);
    if (++h.next_port == 0) h.next_port = 49152;
    c->sides[1].host = way.there();
    c->sides[1].address = to;
    c->note(0, "connects");
    auto mine = std::make_unique<detail::sim_transport>(c, 0);
    found->second->push(std::make_unique<detail::sim_transport>(c, 1));
    way.pass(true);
    return stream(std::move(mine));
  }
}

void simulated_host::fail_accepts(std::size_t count, int code) const {
  net_->hosts[index_].failing_accepts = count;
  net_->hosts[index_].failing_code = code;
}

void simulated_host::crash() const {
  detail::host& h = net_->hosts[index_];
  if (h.down_at != detail::never) return;
  net_->note(to_string(h.address), "crashes");
  net_->for_each_connection([&](connection& c) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (c.sides[i].host != index_) continue;
      c.settle();
      c.break_at(i, clock::now(), ENETDOWN);
      c.forget_received(1 - i);
      c.lanes[1 - i].end_came = false;
      c.lanes[i].flying.clear();
    }
  });
  h.down_at = clock::now();
  while (!h.listeners.empty()) h.listeners.begin()->second->close();
}

void simulated_host::restart() const {
  detail::host& h = net_->hosts[index_];
  if (h.down_at == detail::never) return;
  net_->note(to_string(h.address), "restarts");
  h.down_at = detail::never;
  net_->for_each_connection([&](connection& c) {
    for (std::size_t i = 0; i < 2; ++i)
      if (c.sides[1 - i].host == index_) {
        c.resume(i);
        c.sides[i].wake();
      }
  });
  net_->wake_connecting();
}

// --- the network ---

simulated_network::simulated_network(network_options options) : net_(std::make_shared<detail::sim_net>()) {
  (void)sim::seed();
  detail::check(options.link);
  net_->options = std::move(options);
}

simulated_host simulated_network::add_host(std::string name) {
  const std::size_t index = net_->hosts.size();
  if (index >= 250) throw std::invalid_argument("a simulated network has 250 hosts at most");
  net_->hosts.emplace_back();
  net_->hosts.back().name = std::move(name);
  net_->hosts.back().address = endpoint(endpoint::bytes_v4{10, 0, 0, static_cast<std::uint8_t>(index + 1)}, 0);
  return {net_, index};
}

void simulated_network::set_link(const simulated_host& a, const simulated_host& b, const link_options& options) {
  detail::check(options);
  net_->way(a.index_, b.index_).options = options;
  net_->way(b.index_, a.index_).options = options;
}

void simulated_network::cut(const simulated_host& a, const simulated_host& b) {
  cut_one_way(a, b);
  cut_one_way(b, a);
}

void simulated_network::cut_one_way(const simulated_host& from, const simulated_host& to) {
  detail::link& l = net_->way(from.index_, to.index_);
  if (l.cut_at != detail::never) return;
  net_->note(to_string(from.address()) + " > " + to_string(to.address()), "is cut");
  net_->for_each_connection([&](connection& c) {
    for (std::size_t i = 0; i < 2; ++i)
      if (c.sides[i].host == from.index_ && c.sides[1 - i].host == to.index_) c.settle(i);
  });
  l.cut_at = clock::now();
}

void simulated_network::heal(const simulated_host& a, const simulated_host& b) {
  for (const auto& [from, to] : {std::pair(a.index_, b.index_), std::pair(b.index_, a.index_)}) {
    detail::link& l = net_->way(from, to);
    if (std::exchange(l.cut_at, detail::never) == detail::never) continue;
    net_->note(to_string(net_->hosts[from].address) + " > " + to_string(net_->hosts[to].address), "is whole");
    net_->for_each_connection([&, from = from, to = to](connection& c) {
      for (std::size_t i = 0; i < 2; ++i)
        if (c.sides[i].host == from && c.sides[1 - i].host == to) {
          c.resume(i);
          c.sides[0].wake();
          c.sides[1].wake();
        }
    });
  }
  net_->wake_connecting();
}

void simulated_network::reset(const stream& s) {
  transport* carrier = detail::stream_access::carrier(s);
  while (carrier && carrier->below()) carrier = carrier->below();
  auto* t = dynamic_cast<detail::sim_transport*>(carrier);
  if (!t) throw std::invalid_argument("simulated_network::reset(): " + s.describe() + " is no simulated connection");
  t->reset();
}

}  // namespace weft::io
