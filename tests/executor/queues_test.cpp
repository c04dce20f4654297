#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <limits>
#include <thread>
#include <vector>

#include "inbox.hpp"
#include "record_cache.hpp"
#include "run_queue.hpp"
#include "spare_tasks.hpp"
#include "steal_ring.hpp"

namespace weft::detail::queues_test {
namespace {

struct item final : runnable {
  explicit item(int n = 0) : runnable(kind::call), id(n) {}
  void run() noexcept override {}
  void fail(std::exception_ptr) noexcept override {}
  int id;
  std::atomic<int> taken{0};
};

TEST(RecordCache, GivesTheSameMemoryAgainForTheSameSize) {
  record_cache cache;
  void* const small = cache.take(100);
  void* const large = cache.take(300);
  cache.give_back(small, 100);
  cache.give_back(large, 300);
  EXPECT_EQ(cache.count(), 2U);
  EXPECT_EQ(cache.take(312), large) << "sizes are rounded";
  EXPECT_EQ(cache.take(97), small);
  EXPECT_EQ(cache.count(), 0U);
  cache.give_back(small, 97);
  cache.give_back(large, 312);
}

TEST(RecordCache, AsksMallocForWhatItWouldGiveAnyway) {
  for (std::size_t size = 24; size <= record_cache::largest; ++size) {
    ASSERT_GE(record_cache::round(size), size);
    ASSERT_LT(record_cache::round(size), size + record_cache::step);
    std::array<void*, 8> blocks;
    std::size_t given = std::numeric_limits<std::size_t>::max();  // the least: what is left of a free block may be more
    for (void*& b : blocks) {
      b = ::operator new(record_cache::round(size));
      given = std::min(given, malloc_usable_size(b));
    }
    for (void* b : blocks) ::operator delete(b);
    ASSERT_EQ(given, record_cache::round(size));
  }
}

TEST(RecordCache, LeavesLargeRecordsToTheSystem) {
  record_cache cache;
  cache.give_back(cache.take(5000), 5000);
  EXPECT_EQ(cache.count(), 0U);
}

TEST(RecordCache, KeepsNoMoreThanWasAskedForAndGivesBackInTime) {
  record_cache cache;
  std::vector<void*> blocks(10'000);
  for (auto& b : blocks) b = ::operator new(record_cache::round(64));  // from another loop
  for (auto* b : blocks) cache.give_back(b, 64);
  EXPECT_EQ(cache.count(), record_cache::always_kept);

  for (auto& b : blocks) b = cache.take(64);
  for (auto* b : blocks) cache.give_back(b, 64);
  EXPECT_EQ(cache.count(), 10'000U);
  int looks = 0;
  while (cache.tidy(256)) ++looks;
  EXPECT_EQ(cache.count(), record_cache::always_kept);
  EXPECT_EQ(looks, (10'000 - 1024) / 256);
}

TEST(RunQueue, IsFirstInFirstOutAndGivesAnyEntryOnDemand) {
  run_queue q;
  item a(1), b(2), c(3);
  q.push(&a);
  q.push(&b);
  q.push(&c);
  EXPECT_EQ(q.size(), 3U);
  EXPECT_EQ(q.take(1), &b);
  EXPECT_EQ(q.take(1), &c);
  q.push(&b);
  EXPECT_EQ(q.pop(), &a);
  EXPECT_EQ(q.pop(), &b);
  EXPECT_EQ(q.pop(), nullptr);
  EXPECT_TRUE(q.empty());
}

TEST(Inbox, TellsThePusherToWakeOnlyASleepingLoop) {
  inbox in;
  item a(1), b(2), c(3);
  EXPECT_FALSE(in.push(&a));
  EXPECT_FALSE(in.try_sleep()) << "something is in it";
  EXPECT_EQ(in.drain(), &a);
  EXPECT_TRUE(in.try_sleep());
  EXPECT_TRUE(in.push(&b));
  EXPECT_FALSE(in.push(&c)) << "the first pusher wakes it";
  runnable* r = in.drain();
  EXPECT_EQ(r, &b);
  EXPECT_EQ(r->next, &c);
  EXPECT_EQ(in.drain(), nullptr);
}

TEST(Inbox, TakesSeveralAtOnce) {
  inbox in;
  item a(1), b(2), c(3), d(4);
  EXPECT_TRUE(in.try_sleep());
  b.next = &a;
  EXPECT_TRUE(in.push(&b, &a));
  d.next = &c;
  EXPECT_FALSE(in.push(&d, &c));
  int id = 0;
  for (const runnable* r = in.drain(); r; r = r->next) EXPECT_EQ(static_cast<const item*>(r)->id, ++id);
  EXPECT_EQ(id, 4);
}

TEST(Inbox, KeepsTheOrderOfEachOfManyPushers) {
  constexpr int pushers = 4;
  constexpr int each = 21'000;
  inbox in;
  std::deque<item> items(pushers * each);
  std::vector<std::thread> threads;
  for (int p = 0; p < pushers; ++p)
    threads.emplace_back([&, p] {
      for (int i = 0; i < each; ++i) {
        item& it = items[static_cast<std::size_t>(p * each + i)];
        it.id = p * each + i;
        if (i % 3 == 0) {  // alone, and the two after it as one
          (void)in.push(&it);
        } else if (i % 3 == 2) {
          item& before = items[static_cast<std::size_t>(p * each + i - 1)];
          it.next = &before;
          (void)in.push(&it, &before);
        }
      }
    });
  std::vector<int> last(pushers, -1);
  for (int seen = 0; seen < pushers * each;) {
    for (runnable* r = in.drain(); r; ++seen) {
      const int id = static_cast<item*>(r)->id;
      r = r->next;
      EXPECT_EQ(id % each, last[static_cast<std::size_t>(id / each)] + 1);
      last[static_cast<std::size_t>(id / each)] = id % each;
    }
    std::this_thread::yield();
  }
  for (auto& t : threads) t.join();
}

TEST(SpareTasks, GivesFromBothEnds) {
  spare_tasks tasks;
  std::deque<item> items(spare_tasks::capacity);
  EXPECT_EQ(tasks.pop(), nullptr);
  EXPECT_EQ(tasks.pop_oldest(), nullptr);
  for (int round = 0; round < 3; ++round) {  // around the end of its slots
    for (item& it : items) tasks.push(&it);
    EXPECT_TRUE(tasks.full());
    EXPECT_EQ(tasks.pop(), &items.back());
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(tasks.pop_oldest(), &items[i]);
    tasks.push(&items[0]);
    EXPECT_EQ(tasks.pop(), &items[0]);
    for (std::size_t i = spare_tasks::capacity - 1; i-- > 100;) EXPECT_EQ(tasks.pop(), &items[i]);
    EXPECT_TRUE(tasks.empty());
  }
}

TEST(StealRing, IsBoundedAndGivesTheOldestFirst) {
  steal_ring ring;
  std::deque<item> items(steal_ring::capacity + 1);
  for (std::size_t i = 0; i < steal_ring::capacity; ++i) EXPECT_TRUE(ring.push(&items[i]));
  EXPECT_FALSE(ring.push(&items.back()));
  EXPECT_EQ(ring.pop(), &items[0]);
  std::array<runnable*, steal_ring::most_stolen> loot{};
  EXPECT_EQ(ring.steal(loot), steal_ring::most_stolen);
  EXPECT_EQ(loot[0], &items[1]);
  EXPECT_TRUE(ring.push(&items.back()));
}

TEST(StealRing, GivesEachEntryToOneTakerWhileAllPull) {
  constexpr int count = 200'000;
  steal_ring ring;
  std::deque<item> items(count);
  std::atomic<int> taken{0};
  const auto note = [&](runnable* r) {
    EXPECT_EQ(static_cast<item*>(r)->taken.fetch_add(1), 0);
    taken.fetch_add(1);
  };
  std::vector<std::thread> thieves;
  for (int t = 0; t < 2; ++t)
    thieves.emplace_back([&] {
      std::array<runnable*, steal_ring::most_stolen> loot;
      while (taken.load() < count) {
        const auto n = ring.steal(loot);
        for (std::size_t i = 0; i < n; ++i) note(loot[i]);
        if (n == 0) std::this_thread::yield();
      }
    });
  for (item& it : items) {
    while (!ring.push(&it))
      if (runnable* r = ring.pop()) note(r);
    if (it.id++ == 0 && taken.load() % 7 == 0)
      if (runnable* r = ring.pop()) note(r);
  }
  while (runnable* r = ring.pop()) note(r);
  for (auto& t : thieves) t.join();
  EXPECT_EQ(taken.load(), count);
}

}  // namespace
}  // namespace weft::detail::queues_test
