#pragma once
// Tasks spawned `anywhere` that have not started: a bounded ring that its owner fills and every loop may empty.
//
// Who may touch what:
//   tail_   written by the owner only.
//   head_   advanced by whoever consumes, with a CAS; 64 bits, so it never wraps.
//   slots_  written by the owner, only outside [head_, tail_).
//
// Claim: each entry is consumed once. Proof: a consumer reads slots [h, h+n) and then moves head_ from h to h+n. While
// head_ is h the owner writes none of these slots (push() keeps tail_ - head_ <= capacity), so when the CAS succeeds
// what was read is what was pushed; when it fails the reading is thrown away. Model: tests/model/steal_ring.pml.
// Rejected: a Chase-Lev deque, whose owner pops the newest entry. A loop has its newest tasks beside the ring, where
// they cost no atomic operation (spare_tasks.hpp); what is here is taken in turn, and several at a time.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "weft/runnable.hpp"

namespace weft::detail {

class steal_ring {
 public:
  static constexpr std::uint64_t capacity = 256;
  static constexpr std::size_t most_stolen = 32;

  /// The owner only. False when full.
  bool push(runnable* r) noexcept {
    const auto tail = tail_.load(std::memory_order_relaxed);
    // acquire: pairs with the consumers' CAS; they are done reading the slot that is written next.
    if (tail - head_.load(std::memory_order_acquire) == capacity) return false;
    slots_[tail % capacity].store(r, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // pairs with the acquire in steal()
    return true;
  }

  /// The owner only. The oldest entry, or null.
  runnable* pop() noexcept {
    const auto tail = tail_.load(std::memory_order_relaxed);
    auto head = head_.load(std::memory_order_relaxed);
    while (head != tail) {
      runnable* r = slots_[head % capacity].load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return r;
    }
    return nullptr;
  }

  /// Any other loop. Takes half of what is there, at most `most_stolen`, oldest first; gives the count.
  std::size_t steal(std::array<runnable*, most_stolen>& loot) noexcept {
    auto head = head_.load(std::memory_order_acquire);
    for (;;) {
      const auto tail = tail_.load(std::memory_order_acquire);
      auto count = tail > head ? (tail - head + 1) / 2 : 0;
      if (count == 0) return 0;
      if (count > most_stolen) count = most_stolen;
      for (std::uint64_t i = 0; i < count; ++i) loot[i] = slots_[(head + i) % capacity].load(std::memory_order_relaxed);
      if (head_.compare_exchange_strong(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire))
        return count;
    }
  }

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
  }
  /// The owner only.
  [[nodiscard]] std::uint64_t size() const noexcept {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed);
  }

 private:
  alignas(64) std::atomic<std::uint64_t> head_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};
  std::array<std::atomic<runnable*>, capacity> slots_{};
};

}  // namespace weft::detail
