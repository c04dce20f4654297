#pragma once
// What the producers and consumers of 06 share: the numbers, drawn ahead from a seed so that every set-up does the same
// work, and the queue between them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <weft/promise.hpp>

/// A number on its way: how long it takes to arrive, as if from a network, a database or a file, and how long it takes
/// to send its result on.
struct item {
  std::uint64_t number = 0;
  std::chrono::milliseconds arrival{};
  std::chrono::milliseconds departure{};
};

inline std::vector<item> draw_items(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  // Not std::uniform_int_distribution, which draws other numbers in another standard library.
  const auto between = [&](std::uint64_t least, std::uint64_t most) { return least + random() % (most - least + 1); };
  std::vector<item> items(count);
  for (item& i : items) {
    i.number = between(1, 1'000'000);
    switch (between(0, 2)) {
      case 0:
        i.arrival = std::chrono::milliseconds(between(10, 60));
        break;  // a network
      case 1:
        i.arrival = std::chrono::milliseconds(between(5, 30));
        break;  // a database
      case 2:
        i.arrival = std::chrono::milliseconds(between(1, 10));
        break;  // a file
    }
    i.departure = std::chrono::milliseconds(between(10, 30));
  }
  return items;
}

/// The consumers' little arithmetic: the sum of the squares of the digits.
inline std::uint64_t digit_squares(std::uint64_t number) {
  std::uint64_t sum = 0;
  for (; number != 0; number /= 10) sum += (number % 10) * (number % 10);
  return sum;
}

/// A small bounded queue made of promises: who must wait leaves one, and who ends the wait sets it. Only for fibers of
/// one loop; between two of their waits nothing else runs there, so it needs no lock.
template <class T>
class small_queue {
 public:
  explicit small_queue(std::size_t capacity) : capacity_(capacity) {}

  /// Waits while the queue is full.
  void put(T value) {
    while (values_.size() == capacity_) wait_among(givers_);
    values_.push_back(std::move(value));
    wake_one(takers_);
  }

  /// Waits while the queue is empty. Nothing, once it is closed and empty.
  std::optional<T> take() {
    while (values_.empty() && !closed_) wait_among(takers_);
    if (values_.empty()) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    wake_one(givers_);
    return value;
  }

  /// Nothing more will be put.
  void close() {
    closed_ = true;
    while (wake_one(takers_)) {
    }
  }

 private:
  using waiters = std::deque<weft::promise<void>>;

  static void wait_among(waiters& queue) { queue.emplace_back().get_future().get(); }

  /// False when nobody waits.
  static bool wake_one(waiters& queue) {
    while (!queue.empty()) {
      const weft::promise<void> next = std::move(queue.front());
      queue.pop_front();
      if (next.cancelled()) continue;  // its waiter was cancelled and is gone; wake another
      next.set_value();
      return true;
    }
    return false;
  }

  const std::size_t capacity_;
  std::deque<T> values_;
  waiters takers_;
  waiters givers_;
  bool closed_ = false;
};
