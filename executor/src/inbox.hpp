#pragma once
// What other threads hand to a loop: a list pushed with one CAS and drained whole.
//
// One word holds both the list and the loop's sleeping flag:
//   0          nothing is in it, and the loop is awake;
//   asleep     nothing is in it, and the loop blocks in its driver or is about to;
//   a pointer  the newest entry; the loop is awake, or whoever pushed the oldest entry is waking it.
//
// Claim: no entry is left behind by a sleeping loop. Proof: a loop sleeps only after its CAS 0 -> asleep, so at that
// moment the list was empty; the next push replaces `asleep` and so learns that it must wake. A flag in a word of its
// own would need a full fence on both sides, and its absence is a lost wake-up. Model: tests/model/inbox.pml.
//
// Unbounded: entries are tasks, fibers and messages that exist already, and pushing must not fail.

#include <atomic>
#include <cstdint>
#include <utility>

#include "weft/runnable.hpp"

namespace weft::detail {

class inbox {
 public:
  /// Any thread. True when the loop slept: the caller must wake its driver.
  [[nodiscard]] bool push(runnable* r) noexcept { return push(r, r); }
  /// The same for several, linked by `next` from the newest to the oldest.
  [[nodiscard]] bool push(runnable* newest, runnable* oldest) noexcept {
    std::uintptr_t old = head_.load(std::memory_order_relaxed);
    do {
      oldest->next = old == asleep ? nullptr : reinterpret_cast<runnable*>(old);
      // release: pairs with the acquire in drain(); what the pusher wrote is seen by the loop.
    } while (!head_.compare_exchange_weak(old, reinterpret_cast<std::uintptr_t>(newest), std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    return old == asleep;
  }

  /// The loop only. All entries, oldest first; clears the sleeping flag.
  runnable* drain() noexcept {
    if (head_.load(std::memory_order_relaxed) == 0) return nullptr;
    const std::uintptr_t taken = head_.exchange(0, std::memory_order_acq_rel);
    if (taken == asleep) return nullptr;
    runnable* oldest = nullptr;
    for (auto* r = reinterpret_cast<runnable*>(taken); r;) {
      runnable* older = r->next;
      r->next = oldest;
      oldest = std::exchange(r, older);
    }
    return oldest;
  }

  /// The loop only. True: the loop may block, and the next push will wake it.
  [[nodiscard]] bool try_sleep() noexcept {
    std::uintptr_t expected = 0;
    return head_.compare_exchange_strong(expected, asleep, std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  /// The loop only, while it is awake: whether drain() would give anything.
  [[nodiscard]] bool has_mail() const noexcept { return head_.load(std::memory_order_relaxed) != 0; }

  [[nodiscard]] bool empty() const noexcept {
    const auto head = head_.load(std::memory_order_acquire);
    return head == 0 || head == asleep;
  }

 private:
  static constexpr std::uintptr_t asleep = 1;
  std::atomic<std::uintptr_t> head_{0};
};

}  // namespace weft::detail
