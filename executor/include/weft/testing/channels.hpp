#pragma once
// The contract of a channel. check_channel<Template>() runs any template that has the members of weft::channel, in fifo
// order, through it.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/gather.hpp"
#include "weft/spawn.hpp"
#include "weft/task_group.hpp"
#include "weft/testing/contract.hpp"
#include "weft/this_fiber.hpp"

namespace weft::testing {

namespace rules {

using namespace std::chrono_literals;

/// Each message arrives once, and those of one sender in their order.
class tally {
 public:
  tally(int senders, int each) : each_(each), last_(static_cast<std::size_t>(senders), -1) {}
  void got(int message) {
    const auto sender = static_cast<std::size_t>(message / each_);
    require(sender < last_.size() && message % each_ > last_[sender], "messages of one sender come once, in order");
    last_[sender] = message % each_;
    ++count_;
  }
  [[nodiscard]] int count() const { return count_; }

 private:
  const int each_;
  std::vector<int> last_;
  int count_ = 0;
};

template <class F>
bool is_refused(F f) {
  try {
    f();
    return false;
  } catch (const channel_closed&) {
    return true;
  }
}

template <class C>
void loses_no_message(std::size_t capacity) {
  constexpr int each = 6;
  C ch(capacity);
  tally all(3, each);
  task_group g;
  for (int s = 0; s < 3; ++s)
    g.spawn(on_loop(static_cast<unsigned>(s) % loop_count()), [&, s] {
      for (int i = 0; i < each; ++i) {
        ch.send(s * each + i);
        if (i % 2 == s % 2) sleep_for(1ms);
      }
    });
  g.spawn(on_loop(loop_count() - 1), [&] {
    for (int i = 0; i < 3 * each; ++i) {
      all.got(ch.recv());
      if (i % 4 == 0) sleep_for(1ms);
    }
  });
  g.join();
  require(all.count() == 3 * each, "every message arrives");
  require(!ch.try_recv(), "nothing is left");
}

template <class C>
void bounds_its_senders() {
  C ch(2);
  int sent = 0;
  task_group g;
  g.spawn([&] {
    for (int i = 0; i < 5; ++i) {
      ch.send(i);
      ++sent;
    }
  });
  sleep_for(1ms);
  require(sent == 2 && ch.size() == 2, "a sender waits while the channel is full");
  require(ch.recv() == 0, "first in, first out");
  sleep_for(1ms);
  require(sent == 3, "a waiting sender goes on when there is room");
  for (int i = 1; i < 5; ++i) require(ch.recv() == i, "first in, first out");
  g.join();
}

template <class C>
void capacity_zero_is_a_rendezvous() {
  C ch(0);
  bool sent = false;
  task_group g;
  auto sender = g.spawn([&] {
    ch.send(1);
    sent = true;
  });
  sleep_for(1ms);
  require(!sent && !ch.try_send(2), "a sender waits for its receiver");
  require(ch.recv() == 1, "the receiver gets what the sender holds");
  sender.get();
  auto receiver = g.spawn([&] { return ch.recv(); });
  sleep_for(1ms);
  require(ch.try_send(3), "try_send() serves a receiver that waits");
  require(receiver.get() == 3, "the receiver gets it");
}

template <class C>
void closing_lets_receivers_drain() {
  C ch(2);
  ch.send(1);
  ch.send(2);
  task_group g;
  auto sender = g.spawn([&] { return is_refused([&] { ch.send(3); }); });
  sleep_for(1ms);
  ch.close();
  ch.close();
  require(sender.get(), "a sender that waits gets channel_closed");
  require(ch.recv() == 1 && ch.recv() == 2, "receivers get what was sent before");
  require(is_refused([&] { (void)ch.recv(); }), "then they get channel_closed");
}

template <class C>
void closing_wakes_receivers() {
  C ch(1);
  task_group g;
  for (int i = 0; i < 3; ++i)
    g.spawn([&] { require(is_refused([&] { (void)ch.recv(); }), "receivers that wait get channel_closed"); });
  sleep_for(1ms);
  ch.close();
  g.join();
}

template <class C>
void a_wait_that_ends_otherwise_takes_nothing() {
  C ch(1);
  const auto begin = clock::now();
  require(!ch.recv_for(4ms), "recv_for() gives nothing when the time is up");
  require(clock::now() - begin == 4ms, "recv_for() waits for as long as it was told");
  task_group g;
  auto receiver = g.spawn([&] { (void)ch.recv(); });
  sleep_for(1ms);
  receiver.cancel();
  receiver.wait();
  ch.send(1);
  require(!ch.send_for(2, 4ms), "send_for() gives false when the time is up");
  auto sender = g.spawn([&] { ch.send(3); });
  sleep_for(1ms);
  sender.cancel();
  sender.wait();
  require(ch.recv() == 1, "what was sent is there");
  require(!ch.try_recv(), "what was not sent is not");
}

/// A cancellation that comes at any moment either leaves the message or has it received.
template <class C>
void cancellation_loses_no_message() {
  constexpr int messages = 8;
  C ch(1);
  int received = 0;
  task_group g;
  auto sender = g.spawn(on_loop(loop_count() - 1), [&] {
    for (int i = 0; i < messages; ++i) ch.send(i);
  });
  while (received < messages) {
    auto receiver = g.spawn([&] {
      (void)ch.recv();
      ++received;
    });
    sleep_for(std::chrono::nanoseconds(sim::draw(3)));
    receiver.cancel();
    receiver.wait();
    if (received == messages) break;
    if (ch.recv_for(1ms)) ++received;
  }
  sender.get();
  require(received == messages && !ch.try_recv(), "no message is lost or doubled");
}

template <class C>
void serves_waiters_in_order() {
  C ch(0);
  std::vector<int> order;
  task_group g;
  for (int i = 0; i < 4; ++i)
    g.spawn([&, i] {
      sleep_for(std::chrono::milliseconds(i));
      ch.send(i);
    });
  sleep_for(10ms);
  for (int i = 0; i < 4; ++i) order.push_back(ch.recv());
  require(order == std::vector<int>{0, 1, 2, 3}, "the oldest waiting sender is served first");
  g.join();
}

/// All kinds of agents at once, on real loops.
template <class C>
void serves_all_agents(std::size_t capacity, unsigned rounds) {
  C ch(capacity);
  const int each = static_cast<int>(rounds);
  std::atomic<long> received{0};
  std::atomic<int> count{0};
  const auto send = [&](int from) {
    for (int i = 0; i < each; ++i) {
      const int message = from * each + i;
      if (i % 5 == 1) {
        if (ch.try_send(message)) continue;
      } else if (i % 7 == 2) {
        if (ch.send_for(message, 30us)) continue;
      }
      ch.send(message);
    }
  };
  const auto receive = [&] {
    for (int i = 0;; ++i) {
      std::optional<int> m;
      try {
        m = i % 3 == 0 ? ch.recv_for(30us) : std::optional<int>(ch.recv());
      } catch (const channel_closed&) {
        return;
      }
      if (!m) continue;
      received += *m;
      ++count;
    }
  };
  std::vector<future<void>> senders;
  senders.push_back(spawn(anywhere, [&] { send(0); }));
  senders.push_back(spawn([&] { send(1); }));
  senders.push_back(spawn_cpu([&] { send(2); }));
  std::thread foreign([&] { send(3); });
  std::vector<future<void>> receivers;
  receivers.push_back(spawn(anywhere, receive));
  receivers.push_back(spawn_cpu(receive));
  receivers.push_back(spawn_blocking(receive));
  gather(std::move(senders)).get();
  foreign.join();
  ch.close();
  gather(std::move(receivers)).get();
  const long n = 4L * each;
  require(count == n && received == n * (n - 1) / 2, "every message arrives once");
}

}  // namespace rules

/// Runs Channel<int> through the contract of channels. It is made by a capacity.
///
/// Suspends: the calling thread; call it outside a runtime.
/// Cancel:   not a cancellation point.
/// Threads:  a plain thread.
/// Ordering: none.
/// Throws:   contract_broken, with the rule and the seed.
template <template <class> class Channel>
void check_channel(const effort& e = {}) {
  using namespace rules;
  using C = Channel<int>;
  for (const std::size_t capacity : {0U, 1U, 3U, 100U}) in_simulation(e, [=] { loses_no_message<C>(capacity); });
  in_simulation(e, bounds_its_senders<C>);
  in_simulation(e, capacity_zero_is_a_rendezvous<C>);
  in_simulation(e, closing_lets_receivers_drain<C>);
  in_simulation(e, closing_wakes_receivers<C>);
  in_simulation(e, a_wait_that_ends_otherwise_takes_nothing<C>);
  in_simulation(e, cancellation_loses_no_message<C>);
  in_simulation(e, serves_waiters_in_order<C>);
  for (const std::size_t capacity : {0U, 1U, 16U}) for_real(e, [&] { serves_all_agents<C>(capacity, e.rounds); });
}

}  // namespace weft::testing
