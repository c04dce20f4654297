#pragma once
// The memory of records (tasks, gathers, promises) that have ended, kept for the next ones. One loop's thread.
//
// Problem: a general allocator takes a third of the time that a task takes in all, and half when a million records come
// and go at once, for it hands the pages back in between.
// Solution: blocks in lists, of the sizes that glibc's malloc rounds to in any case. Any thread may free a block that
// another has made, so where records only end, blocks would pile up: no more are kept than were asked for since the
// loop last had time to spare. When it has, it gives some back to the system.

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace weft::detail {

class record_cache {
 public:
  static constexpr std::size_t step = 16;   // malloc's
  static constexpr std::size_t header = 8;  // what malloc adds to each
  static constexpr std::size_t largest = 504;
  static constexpr std::size_t always_kept = 1024;

  record_cache() = default;
  record_cache(const record_cache&) = delete;
  record_cache& operator=(const record_cache&) = delete;
  ~record_cache() {
    for (block*& list : lists_)
      while (list) ::operator delete(std::exchange(list, list->next));
  }

  [[nodiscard]] static constexpr std::size_t round(std::size_t size) noexcept {
    return list_of(size) * step + step - header;
  }

  /// Throws std::bad_alloc.
  void* take(std::size_t size) {
    if (size > largest) return ::operator new(size);
    ++asked_for_;
    block*& list = lists_[list_of(size)];
    if (!list) return ::operator new(round(size));
    --count_;
    return std::exchange(list, list->next);
  }

  void give_back(void* memory, std::size_t size) noexcept {
    if (size > largest || count_ >= asked_for_ + always_kept) {
      ::operator delete(memory);
      return;
    }
    block*& list = lists_[list_of(size)];
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

  [[nodiscard]] static constexpr std::size_t list_of(std::size_t size) noexcept { return (size - 1 + header) / step; }

  std::array<block*, (largest - 1 + header) / step + 1> lists_{};
  std::size_t count_ = 0;
  std::size_t asked_for_ = 0;
};

}  // namespace weft::detail
