#pragma once
// The timers of one loop: a 4-ary heap with the keys in the heap's array, so that sifting touches no timer but to
// tell it where it went. Owner only. Equal times fire in the order they were added.

#include <cstdint>
#include <utility>
#include <vector>

#include "weft/deadline.hpp"
#include "weft/timer.hpp"

namespace weft::detail {

class timer_queue {
 public:
  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
  [[nodiscard]] clock::time_point earliest() const noexcept {
    return heap_.empty() ? clock::time_point::max() : heap_.front().when;
  }

  /// Throws std::bad_alloc; then the timer is not armed.
  void add(timer& t, clock::time_point when) {
    heap_.push_back({when, sequence_++, &t});
    sift_up(static_cast<std::uint32_t>(heap_.size() - 1));
  }

  void remove(timer& t) noexcept {
    if (!t.armed()) return;
    const auto at = std::exchange(t.index, timer::idle);
    const entry last = heap_.back();
    heap_.pop_back();
    if (at == heap_.size()) return;
    heap_[at] = last;
    last.what->index = at;
    if (at > 0 && last < heap_[(at - 1) / 4])
      sift_up(at);
    else
      sift_down(at);
  }

  /// Fires every timer due at `now` or before. A timer is idle again when it fires.
  void fire(clock::time_point now) noexcept {
    while (!heap_.empty() && heap_.front().when <= now) {
      timer& t = *heap_.front().what;
      remove(t);
      t.expired(t);
    }
  }

 private:
  struct entry {
    clock::time_point when;
    std::uint64_t sequence;
    timer* what;
    bool operator<(const entry& other) const noexcept {
      return when != other.when ? when < other.when : sequence < other.sequence;
    }
  };

  void sift_up(std::uint32_t at) noexcept {
    const entry moving = heap_[at];
    while (at > 0) {
      const auto parent = (at - 1) / 4;
      if (!(moving < heap_[parent])) break;
      place(at, heap_[parent]);
      at = parent;
    }
    place(at, moving);
  }

  void sift_down(std::uint32_t at) noexcept {
    const entry moving = heap_[at];
    const auto count = static_cast<std::uint32_t>(heap_.size());
    for (;;) {
      const auto first = at * 4 + 1;
      if (first >= count) break;
      auto least = first;
      for (auto child = first + 1; child < first + 4 && child < count; ++child)
        if (heap_[child] < heap_[least]) least = child;
      if (!(heap_[least] < moving)) break;
      place(at, heap_[least]);
      at = least;
    }
    place(at, moving);
  }

  void place(std::uint32_t at, const entry& e) noexcept {
    heap_[at] = e;
    e.what->index = at;
  }

  std::vector<entry> heap_;
  std::uint64_t sequence_ = 0;
};

}  // namespace weft::detail
