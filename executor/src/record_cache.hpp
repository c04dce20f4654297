#pragma once
// The memory of records (tasks, gathers, promises) that have ended, kept for the next ones. One loop's thread.
//
// Problem: a general allocator takes a third of the time that a task takes in all, and half when a million records come
// and go at once, for it hands the pages back in between.
// Solution: blocks of a few sizes in lists. Any thread may free a block that another has made, so where records only
// end, blocks would pile up: no more are kept than were asked for since the loop last had time to spare. When it has,
// it gives some back to the system.

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace weft::detail {

class record_cache {
 public:
  static constexpr std::size_t step = 32;
  static constexpr std::size_t largest = 512;
  static constexpr std::size_t always_kept = 1024;

  record_cache() = default;
  record_cache(const record_cache&) = delete;
  record_cache& operator=(const record_cache&) = delete;
  ~record_cache() {
    for (block*& list : lists_)
      while (list) ::operator delete(std::exchange(list, list->next));
  }

  [[nodiscard]] static constexpr std::size_t round(std::size_t size) noexcept {
    return (size + step - 1) / step * step;
  }

  /// Throws std::bad_alloc.
  void* take(std::size_t size) {
    if (size > largest) return ::operator new(size);
    ++asked_for_;
    block*& list = lists_[(size - 1) / step];
    if (!list) return ::operator new(round(size));
    --count_;
    return std::exchange(list, list->next);
  }

  void give_back(void* memory, std::size_t size) noexcept {
    if (size > largest || count_ >= asked_for_ + always_kept) {
      ::operator delete(memory);
      return;
    }
    block*& list = lists_[(size - 1) / step];
    list = ::new (memory) block{list};
    ++count_;
  }

  /// Frees up to `most` blocks of those above what is always kept. True when there are more.
  bool tidy(std::size_t most) noexcept {
    asked_for_ /= 2;
    for (block*& list : lists_)
      while (list && count_ > always_kept && most > 0) {
        ::operator delete(std::exchange(list, list->next));
        --count_;
        --most;
      }
    return count_ > always_kept;
  }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  struct block {
    block* next;
  };
  std::array<block*, largest / step> lists_{};
  std::size_t count_ = 0;
  std::size_t asked_for_ = 0;
};

}  // namespace weft::detail
