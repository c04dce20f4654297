#pragma once
// Where stacks come from: slabs of address space, carved into equal stacks, each with a guard page at its low end.
//
//   low                                                              top
//   | guard | ................ grows down ................. | resident |
//
// The topmost `resident` bytes of each stack are the owner's: they hold a control block that stays readable for as
// long as the pool lives, whoever runs on the stack, so that a late waker or a looking thread may read it.
// One thread carves and trims (or the owner locks); any thread, and the signal handler, may look.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "weft/stack.hpp"

namespace weft::detail {

struct stack {
  std::byte* low = nullptr;  ///< lowest usable byte, above the guard
  std::byte* top = nullptr;  ///< one past the highest usable byte; the control block begins here
  explicit operator bool() const noexcept { return low != nullptr; }
};

/// Where the slabs of a pool lie. oneTBB lets a thread steal as long as its stack pointer is above a mark on the
/// thread's own stack. A task on a stack of ours that lies lower would never steal while it waits for its algorithm:
/// measured, a quarter of the time of a fork-join on two workers. So CPU tasks have their stacks in address space that
/// is reserved before oneTBB starts threads, whose stacks the system places below it.
enum class slab_place : std::uint8_t { anywhere, above_later_threads };

std::size_t page_size() noexcept;
std::size_t round_to_pages(std::size_t bytes) noexcept;

class stack_pool {
 public:
  /// `size` is what a fiber may use, guard and control block apart; `control` the bytes of the control block.
  stack_pool(std::size_t size, std::size_t control, std::size_t most, stack_guard guard = stack_guard::automatic,
             slab_place place = slab_place::anywhere);
  ~stack_pool();
  stack_pool(const stack_pool&) = delete;
  stack_pool& operator=(const stack_pool&) = delete;

  /// A stack never used before, shown to lookers after `construct(stack)` has made its control block.
  /// Throws out_of_stacks, saying which limit was hit.
  template <class F>
  stack carve(F construct) {
    const stack s = reserve();
    construct(s);
    publish();
    return s;
  }

  /// Gives back to the system what a stack that ran deep has committed below `keep_from`.
  /// True when there was something to give back.
  static bool trim(const stack& s, const void* keep_from) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t carved() const noexcept { return carved_.load(std::memory_order_relaxed); }
  [[nodiscard]] stack_guard guard() const noexcept { return guard_; }

  /// Calls f(control block's address) for each stack ever carved. Any thread.
  template <class F>
  void for_each(F f) const {
    for (const slab* s = slabs_.load(std::memory_order_acquire); s; s = s->older)
      for (std::size_t i = 0, n = s->used.load(std::memory_order_acquire); i < n; ++i) f(s->control(i));
  }

  /// The control block of the stack of this pool that holds `address`; null if none does. Any thread.
  [[nodiscard]] void* owner_of(const void* address) const noexcept;

  /// For the signal handler: the control block of the stack whose guard page holds `address`, else null; gives the
  /// stack's size. Async-signal-safe.
  static void* owner_of_guard(const void* address, std::size_t& size) noexcept;

 private:
  struct slab {
    std::byte* base = nullptr;
    std::size_t count = 0;
    std::size_t stride = 0;
    std::size_t control_size = 0;
    bool reserved = false;  ///< from the space that is reserved for good
    std::atomic<std::size_t> used{0};
    slab* older = nullptr;
    std::atomic<slab*> next_anywhere{nullptr};  // the list of all slabs, for the signal handler

    [[nodiscard]] void* control(std::size_t i) const noexcept { return base + (i + 1) * stride - control_size; }
  };

  stack reserve();
  void publish() noexcept;
  void add_slab();
  [[nodiscard]] bool protect(std::byte* low) noexcept;

  static std::atomic<slab*> everywhere_;

  const std::size_t size_;
  const std::size_t control_;
  const std::size_t stride_;
  const std::size_t most_;
  const slab_place place_;
  stack_guard guard_;
  std::atomic<slab*> slabs_{nullptr};
  std::atomic<std::size_t> carved_{0};
};

}  // namespace weft::detail
