#include "weft/channel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "weft/cancel_scope.hpp"
#include "weft/event.hpp"
#include "weft/testing/channels.hpp"
#include "weft/timeout.hpp"
#include "weft_test.hpp"

namespace weft::testing::channel_test {
namespace {

template <class T>
using fifo_channel = channel<T>;

TEST(Channel, MeetsTheContractOfChannels) {
  for (const unsigned loops : {1U, 2U, 4U}) check_channel<fifo_channel>({.seeds = seeds(), .loops = loops});
}

template <class T>
struct forgetful_channel : channel<T> {
  using channel<T>::channel;
  T recv() {
    if (this->size() == 3) (void)channel<T>::recv();
    return channel<T>::recv();
  }
};
TEST(ChannelContract, FindsAChannelThatLosesMessages) {
  EXPECT_THROW(check_channel<forgetful_channel>({.seeds = 20}), contract_broken);
}

TEST(Channel, SendToClosedThrowsAndKeepsValue) {
  simulate([] {
    channel<std::unique_ptr<int>> ch(1);
    ch.close();
    auto mine = std::make_unique<int>(7);
    EXPECT_THROW(ch.send(std::move(mine)), channel_closed);
    ASSERT_TRUE(mine);
    EXPECT_EQ(*mine, 7);
    EXPECT_THROW((void)ch.try_send(std::move(mine)), channel_closed);
    EXPECT_TRUE(mine);
  });
}

TEST(Channel, ASendThatEndsOtherwiseKeepsItsValue) {
  simulate([] {
    channel<std::unique_ptr<int>> ch(1);
    ch.send(std::make_unique<int>(1));
    auto mine = std::make_unique<int>(2);
    EXPECT_FALSE(ch.try_send(std::move(mine)));
    EXPECT_TRUE(mine);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(ch.send_for(std::move(mine), 3ms)); }), 3ms);
    EXPECT_TRUE(mine);
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(ch.send_until(std::move(mine), deadline::after(2ms))); }), 2ms);
    EXPECT_TRUE(mine);
    auto sender = spawn([&] {
      EXPECT_THROW(ch.send(std::move(mine)), cancelled);
      EXPECT_TRUE(mine);
      check_cancelled();
    });
    sleep_for(1ms);
    sender.cancel();
    EXPECT_THROW(sender.get(), cancelled);
    EXPECT_EQ(**ch.recv_until(deadline::after(1s)), 1);
    EXPECT_FALSE(ch.try_recv());
    EXPECT_EQ(time_of([&] { EXPECT_FALSE(ch.recv_until(deadline::after(2ms))); }), 2ms);
  });
}

TEST(Channel, LifoGivesTheNewestFirst) {
  simulate([] {
    channel<int, lifo> ch(3);
    for (int i = 0; i < 3; ++i) ch.send(i);
    EXPECT_EQ(ch.recv(), 2);
    ch.send(5);
    EXPECT_EQ(ch.recv(), 5);
    EXPECT_EQ(ch.recv(), 1);
    EXPECT_EQ(ch.recv(), 0);
  });
}

TEST(Channel, PriorityGivesTheGreatestFirstAndEqualOnesInOrder) {
  simulate([] {
    struct job {
      int priority;
      int number;
      bool operator<(const job& o) const { return priority < o.priority; }
    };
    channel<job, by_priority<>> ch(unbounded);
    for (int i = 0; i < 50; ++i) ch.send({static_cast<int>(sim::draw(5)), i});
    job last{100, -1};
    for (int i = 0; i < 50; ++i) {
      if (i == 20) ch.send({50, 100});
      const job j = ch.recv();
      if (i == 20) {
        EXPECT_EQ(j.number, 100);
        continue;
      }
      EXPECT_TRUE(j.priority < last.priority || (j.priority == last.priority && j.number > last.number));
      last = j;
    }
    ch.close();
    EXPECT_EQ(ch.recv().priority, last.priority);
    EXPECT_THROW((void)ch.recv(), channel_closed);
    channel<std::string, by_priority<std::greater<>>> least(8);
    for (const char* s : {"m", "c", "x", "a"}) least.send(s);
    EXPECT_EQ(least.recv(), "a");
    EXPECT_EQ(least.recv(), "c");  // the rest is destroyed with it
  });
}

// Ordered by the first, and told apart by the second.
struct ranked {
  int rank = 0;
  int number = 0;
  bool operator<(const ranked& other) const { return rank < other.rank; }
  bool operator==(const ranked& other) const = default;
};
using list = std::vector<ranked>;
ranked take_at(list& held, list::iterator at) {
  const ranked value = *at;
  held.erase(at);
  return value;
}
// What the channel is to give next of `held`, where those that are behind were sent later.
ranked next_of(list& held, fifo) { return take_at(held, held.begin()); }
ranked next_of(list& held, lifo) { return take_at(held, held.end() - 1); }
ranked next_of(list& held, by_priority<>) { return take_at(held, std::max_element(held.begin(), held.end())); }

// Makes an empty one, or one that has room for nothing, the calling loop's own.
template <class T, class Order>
void make_own(channel<T, Order>& ch) {
  for (int i = 0; i < 40; ++i) {
    (void)ch.try_send(T());
    (void)ch.try_recv();
  }
}

// One that a single loop uses again and again has ways of its own, for when nobody waits.
template <class Order>
void check_against_a_list(std::size_t capacity) {
  channel<ranked, Order> ch(capacity);
  list held;
  for (int i = 0; i < 600; ++i) {
    SCOPED_TRACE("step " + std::to_string(i));
    ASSERT_EQ(ch.size(), held.size());
    const bool has_room = held.size() < capacity;
    const bool has_some = !held.empty();
    const ranked value{static_cast<int>(sim::draw(4)), i};
    switch (sim::draw(12)) {
      case 0:
      case 1:
      case 2:
        if (has_room) {
          ch.send(value);
          held.push_back(value);
        }
        break;
      case 3:
        EXPECT_EQ(ch.try_send(value), has_room);
        if (has_room) held.push_back(value);
        break;
      case 4:
        EXPECT_EQ(ch.send_for(value, 1ms), has_room);
        if (has_room) held.push_back(value);
        break;
      case 5:
      case 6:
        if (has_some) {
          EXPECT_EQ(ch.recv(), next_of(held, Order()));
        }
        break;
      case 7: {
        const auto got = ch.try_recv();
        ASSERT_EQ(got.has_value(), has_some);
        if (got) {
          EXPECT_EQ(*got, next_of(held, Order()));
        }
        break;
      }
      case 8: {
        const auto got = ch.recv_for(1ms);
        ASSERT_EQ(got.has_value(), has_some);
        if (got) {
          EXPECT_EQ(*got, next_of(held, Order()));
        }
        break;
      }
      case 9: {
        const auto taken =
            select(on_recv(ch, [&](ranked v) { EXPECT_EQ(v, next_of(held, Order())); }), otherwise([] {}));
        EXPECT_EQ(taken, has_some ? 0U : 1U);
        break;
      }
      default:  // somebody waits
        if (!has_some) {
          auto receiver = spawn([&] { return ch.recv(); });
          sleep_for(1ms);
          ch.send(value);
          EXPECT_EQ(receiver.get(), value);
        } else if (!has_room) {
          auto sender = spawn([&] { ch.send(value); });
          sleep_for(1ms);
          EXPECT_EQ(ch.recv(), next_of(held, Order()));
          held.push_back(value);
          sender.get();
        }
    }
  }
  ch.close();
  EXPECT_THROW(ch.send({}), channel_closed);
  while (!held.empty()) EXPECT_EQ(ch.recv(), next_of(held, Order()));
  EXPECT_THROW((void)ch.recv(), channel_closed);
}
TEST(Channel, OneThatIsALoopsOwnGivesWhatAListWould) {
  simulate([] {
    for (const std::size_t capacity : {1U, 2U, 5U}) {
      check_against_a_list<fifo>(capacity);
      check_against_a_list<lifo>(capacity);
      check_against_a_list<by_priority<>>(capacity);
    }
  });
}

TEST(Channel, IsARangeThatEndsWhenItIsClosed) {
  simulate([] {
    channel<std::string> ch(2);
    auto producer = spawn([&] {
      for (int i = 0; i < 5; ++i) ch.send(std::to_string(i));
      ch.close();
    });
    std::string all;
    for (std::string& s : ch) all += s;
    EXPECT_EQ(all, "01234");
    producer.get();
  });
}

TEST(Channel, JoinWaitsUntilAllThatWasSentIsDone) {
  simulate([] {
    channel<int> ch(10);
    int done = 0;
    for (int i = 0; i < 4; ++i) ch.send(i);
    auto worker = spawn([&] {
      for (int v : ch) {
        sleep_for(std::chrono::milliseconds(v));
        ++done;
        ch.task_done();
      }
    });
    ch.join();
    EXPECT_EQ(done, 4);
    EXPECT_THROW(ch.task_done(), std::logic_error);
    ch.send(9);
    ch.close_now();  // what it held counts as done
    worker.get();
    if (done == 4) ch.join();
  });
}

// In the ways of one that is a loop's own.
TEST(Channel, JoinCountsWhatASenderThatWaitedHasSent) {
  simulate([] {
    for (const std::size_t capacity : {0U, 1U}) {
      channel<int> ch(capacity);
      auto sender = spawn([&] {
        for (int i = 0; i < 300; ++i) ch.send(i);
      });
      for (int i = 0; i < 300; ++i) {
        sleep_for(1ms);  // it waits
        EXPECT_EQ(ch.recv(), i);
        ch.task_done();
      }
      sender.get();
      ch.join();
      EXPECT_THROW(ch.task_done(), std::logic_error);
    }
  });
}

// A sender that waits in a channel of its own loop's, full or without room for any; behind it another one.
enum class then { received_at_once, received_later, received_by_another_loop, closed, destroyed };
void cancel_a_sender(std::size_t capacity, then what) {
  using value = std::unique_ptr<int>;
  auto ch = std::make_unique<channel<value>>(capacity);
  make_own(*ch);
  for (std::size_t i = 0; i < capacity; ++i) ch->send(std::make_unique<int>(0));
  const auto send = [&ch](int number) {
    value mine = std::make_unique<int>(number);
    try {
      ch->send(std::move(mine));
    } catch (...) {
      EXPECT_TRUE(mine && *mine == number);
      throw;
    }
    EXPECT_FALSE(mine);
  };
  auto first = spawn([&] { send(1); });
  auto second = spawn([&] { send(2); });
  sleep_for(1ms);
  first.cancel();
  const auto receive = [&] {
    for (std::size_t i = 0; i < capacity; ++i) EXPECT_EQ(*ch->recv(), 0);
    EXPECT_EQ(*ch->recv(), 2);
    EXPECT_FALSE(ch->try_recv());
  };
  if (what == then::received_later) sleep_for(1ms);
  if (what == then::closed)
    ch->close();
  else if (what == then::destroyed)
    ch.reset();
  else if (what == then::received_by_another_loop)
    spawn(on_loop(1), receive).get();
  else
    receive();
  EXPECT_THROW(first.get(), cancelled);
  if (what == then::closed || what == then::destroyed)
    EXPECT_THROW(second.get(), channel_closed);
  else
    second.get();
}
TEST(Channel, ASenderThatIsCancelledWhileItWaitsSendsNothingAndHoldsNobodyUp) {
  simulate([] {
    for (const std::size_t capacity : {0U, 1U, 3U})
      for (const then what : {then::received_at_once, then::received_later, then::received_by_another_loop,
                              then::closed, then::destroyed})
        cancel_a_sender(capacity, what);
  });
}

// The task that gave it the deadline has gone on.
TEST(Channel, ASenderThatWaitsHasTheDeadlineOfItsTask) {
  simulate([] {
    channel<int> ch(1);
    make_own(ch);
    ch.send(1);
    future<void> sender;
    timeout(5ms, [&] { sender = spawn([&] { ch.send(2); }); });
    EXPECT_EQ(time_of([&] { EXPECT_THROW(sender.get(), cancelled); }), 5ms);
    EXPECT_EQ(ch.recv(), 1);
    EXPECT_FALSE(ch.try_recv());
  });
}

// Whose move cancels the scope that it is moved in.
struct cancels_the_sender {
  cancels_the_sender() = default;
  cancels_the_sender(cancels_the_sender&& other) noexcept : scope(std::exchange(other.scope, nullptr)) {
    if (scope) scope->cancel();
  }
  const cancel_scope* scope = nullptr;
};
TEST(Channel, ASendThatIsCancelledWhileTheValueIsMovedDoesNotWait) {
  simulate([] {
    channel<cancels_the_sender> ch(1);
    make_own(ch);
    ch.send({});
    const cancel_scope scope;
    scope.run([&] {
      cancels_the_sender value;
      value.scope = &scope;
      EXPECT_THROW(ch.send(std::move(value)), cancelled);
    });
    EXPECT_EQ(ch.size(), 1U);
  });
}

TEST(Channel, CloseNowDestroysWhatItHolds) {
  simulate([] {
    auto counted = std::make_shared<int>(1);
    channel<std::shared_ptr<int>> ch(4);
    for (int i = 0; i < 3; ++i) ch.send(counted);
    EXPECT_EQ(counted.use_count(), 4);
    ch.close_now();
    EXPECT_EQ(counted.use_count(), 1);
    EXPECT_FALSE(ch.try_recv());
    EXPECT_THROW((void)ch.recv(), channel_closed);
  });
}

TEST(Channel, DestroyingItGivesChannelClosedToThoseWhoWait) {
  simulate([] {
    auto empty = std::make_unique<channel<int>>(1);
    auto receiver = spawn([ch = empty.get()] { (void)ch->recv(); });
    auto full = std::make_unique<channel<int>>(0);
    auto sender = spawn([ch = full.get()] { ch->send(1); });
    auto joined = std::make_unique<channel<int>>(2);
    joined->send(1);
    (void)joined->recv();
    auto joiner = spawn([ch = joined.get()] { ch->join(); });
    sleep_for(1ms);
    empty.reset();
    full.reset();
    joined.reset();
    EXPECT_THROW(receiver.get(), channel_closed);
    EXPECT_THROW(sender.get(), channel_closed);
    EXPECT_THROW(joiner.get(), channel_closed);
  });
}

// It uses the channel that it goes through, each time it moves: takes the next one out.
struct takes_another {
  channel<takes_another>* through = nullptr;
  std::size_t* taken = nullptr;
  takes_another() = default;
  takes_another(takes_another&& other) noexcept : through(std::exchange(other.through, nullptr)), taken(other.taken) {
    if (through && through->try_recv()) ++*taken;
  }
  takes_another& operator=(takes_another&& other) noexcept {
    through = std::exchange(other.through, nullptr);
    taken = other.taken;
    return *this;
  }
};
// Whose move lets somebody come who waits to receive.
struct lets_another_come {
  lets_another_come() = default;
  lets_another_come(lets_another_come&& other) noexcept : comes(std::exchange(other.comes, nullptr)) {
    if (!comes) return;
    comes->set();
    sleep_for(1ms);
  }
  event* comes = nullptr;
};
TEST(Channel, AReceiverThatComesWhileTheValueIsMovedGetsIt) {
  simulate([] {
    channel<lets_another_come> ch(2);
    make_own(ch);
    event comes;
    auto receiver = spawn([&] {
      comes.wait();
      (void)ch.recv();
    });
    lets_another_come value;
    value.comes = &comes;
    ch.send(std::move(value));
    receiver.get();
    EXPECT_TRUE(ch.empty());
  });
}

TEST(Channel, MovesAValueWhereItsMoveMayUseTheChannel) {
  for (const std::size_t capacity : {0U, 1U, 4U})
    simulate([capacity] {
      channel<takes_another> ch(capacity);
      std::size_t taken = 0;
      std::size_t received = 0;
      auto receiver = spawn([&] {
        for (const takes_another& v : ch) received += v.taken == &taken;
      });
      auto sender = spawn([&] {
        for (int i = 0; i < 40; ++i) {
          takes_another v;
          v.through = &ch;
          v.taken = &taken;
          ch.send(std::move(v));
          if (i % 8 == 0) yield();
        }
        ch.close();
      });
      sender.get();
      receiver.get();
      EXPECT_EQ(received + taken, 40U);
    });
}

TEST(Channel, AValueHandedToAWaitingReceiverHasOneOwner) {
  for (const unsigned loops : {1U, 2U})
    simulate(
        [] {
          const auto token = std::make_shared<int>(1);
          channel<std::shared_ptr<int>> ch(1);
          for (int i = 0; i < 30; ++i) {
            // One is cancelled, one gives up, one throws what it got away.
            auto cancelled_one = spawn(anywhere, [&] { (void)ch.recv(); });
            auto slow_one = spawn(anywhere, [&] { (void)ch.recv_for(1us); });
            auto thrower = spawn(anywhere, [&] {
              select(on_recv(ch, [](std::shared_ptr<int>) { throw std::runtime_error("thrown away"); }),
                     after(1s, [] {}));
            });
            yield();
            auto sender = spawn(anywhere, [&] {
              for (int k = 0; k < 3; ++k) (void)ch.send_for(std::shared_ptr<int>(token), 1ms);
            });
            cancelled_one.cancel();
            cancelled_one.wait();
            slow_one.wait();
            try {
              thrower.get();
            } catch (const std::runtime_error&) {
            }
            sender.wait();
          }
          ch.close_now();
          EXPECT_EQ(token.use_count(), 1);
        },
        {.loops = loops});
}

class ChannelOnLoops : public OnLoops {};
WEFT_ON_LOOPS(ChannelOnLoops);

// Who comes takes the channel away from the loop whose own it is, and decides the sender's wait from outside.
TEST_P(ChannelOnLoops, ASenderOfTheLoopWhoseOwnItIsMayBeReceivedFromByAnother) {
  run([] {
    for (std::size_t i = 0; i < 500; ++i) {
      const std::size_t capacity = i % 3;
      channel<int> ch(capacity);
      make_own(ch);
      auto sender = spawn(on_loop(0), [&] {
        for (std::size_t k = 0; k <= capacity; ++k) ch.send(static_cast<int>(k));
      });
      auto receiver = spawn(on_loop(loop_count() - 1), [&] {
        while (i % 2 == 0 && ch.size() < capacity) yield();
        for (std::size_t k = 0; k <= capacity; ++k) EXPECT_EQ(ch.recv(), static_cast<int>(k));
      });
      sender.get();
      receiver.get();
    }
  });
}

TEST_P(ChannelOnLoops, MayBeDestroyedByWhoeverReceivedTheLast) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      auto ch = std::make_unique<channel<int>>(static_cast<std::size_t>(i % 2));
      auto sender = i % 3 ? spawn(anywhere, [c = ch.get()] { c->send(1); }) : spawn_cpu([c = ch.get()] { c->send(1); });
      EXPECT_EQ(ch->recv(), 1);
      if (i % 2 == 0) sender.wait();
      sender.wait();
      ch.reset();
    }
  });
}

// Where something was, to see that nobody comes there any more.
template <class T>
class grave {
 public:
  template <class... A>
  explicit grave(A&&... a) : tenant_(::new(static_cast<void*>(room_.data())) T(std::forward<A>(a)...)) {}
  T& operator*() const noexcept { return *tenant_; }
  T* operator->() const noexcept { return tenant_; }
  void bury() noexcept {
    std::destroy_at(tenant_);
    room_.fill(std::byte{0});
  }
  [[nodiscard]] bool undisturbed() const noexcept {
    return std::all_of(room_.begin(), room_.end(), [](std::byte b) { return b == std::byte{0}; });
  }

 private:
  alignas(T) std::array<std::byte, sizeof(T)> room_{};
  T* const tenant_;
};

TEST(Channel, ThatWasDestroyedIsLeftAloneByThoseWhoseWaitWasCancelledBefore) {
  simulate([] {
    grave<channel<int>> empty(1U);
    grave<channel<int>> full(1U);
    full->send(1);
    std::vector<future<void>> all;
    all.push_back(spawn([&] { (void)empty->recv(); }));
    all.push_back(spawn([&] { (void)empty->recv_for(1h); }));
    all.push_back(spawn([&] { select(on_recv(*empty, [](int) {}), after(1h, [] {})); }));
    all.push_back(spawn([&] { full->send(2); }));
    all.push_back(spawn([&] { (void)full->send_for(2, 1h); }));
    all.push_back(spawn([&] { select(on_send(*full, 2, [] {}), on_recv(*empty, [](int) {})); }));
    all.push_back(spawn([&] { full->join(); }));
    sleep_for(1ms);
    for (const auto& f : all) f.cancel();
    if (sim::draw(2) == 0) {
      EXPECT_TRUE(empty->try_send(3)) << "it finds that nobody waits any more";
    }
    empty.bury();
    full.bury();
    for (auto& f : all) EXPECT_THROW(f.get(), cancelled);
    EXPECT_TRUE(empty.undisturbed() && full.undisturbed());
  });
}

// (Each has parked when a task that came to its loop later has run.)
TEST_P(ChannelOnLoops, MayBeDestroyedWhileWaitsEnd) {
  run([] {
    for (int i = 0; i < 100; ++i) {
      auto ch = std::make_unique<channel<int>>(0);
      const auto receive = [&c = *ch](std::chrono::microseconds most) {
        try {
          EXPECT_FALSE(c.recv_for(most));
        } catch (const channel_closed&) {
        }
      };
      std::vector<future<void>> all;
      for (unsigned loop = 0; loop < loop_count(); ++loop)
        for (int k = 0; k < 4; ++k) all.push_back(spawn(on_loop(loop), [=] { receive(k * (i % 50) * 1us); }));
      for (unsigned loop = 0; loop < loop_count(); ++loop) spawn(on_loop(loop), [] {}).get();
      ch.reset();
      gather(std::move(all)).get();
    }
  });
}

// Its receiver must not go on before it is there.
struct moves_slowly {
  explicit moves_slowly(int i) : value(i), slow(true) {}
  moves_slowly(moves_slowly&& from) noexcept {
    for (int turns = from.slow ? 3 : 0; turns > 0; --turns) yield();
    value = std::exchange(from.value, -1);
  }
  int value = 0;
  bool slow = false;
};

TEST_P(ChannelOnLoops, GivesAValueWholeThoughItsMoveWaits) {
  run([] {
    channel<moves_slowly> ch(0);
    for (int i = 0; i < 100; ++i) {
      auto received = spawn(on_loop(static_cast<unsigned>(i) % loop_count()), [&] { return ch.recv().value; });
      if (i % 2 == 0) spawn(on_loop(static_cast<unsigned>(i) % loop_count()), [] {}).get();  // it waits
      ch.send(moves_slowly(i));
      EXPECT_EQ(received.get(), i);
    }
  });
}

}  // namespace
}  // namespace weft::testing::channel_test
