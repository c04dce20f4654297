#pragma once
// A suspended computation with a stack of its own.

#include <cstddef>
#include <type_traits>

#include "context.hpp"
#include "eh_globals.hpp"
#include "sanitizer.hpp"

namespace weft::detail {

class fiber {
 public:
  using entry_function = void(fiber& self) noexcept;

  fiber() = default;
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  /// Lays out a fiber that will run `entry(*this)` on the stack [low, low + size). `entry` never returns.
  void make(void* low, std::size_t size, entry_function* entry) noexcept {
    entry_ = entry;
    notes_.created(low, size);
    context_ = make_context<&start>(low, size);
  }
  /// Makes this the calling thread's own stack.
  void make_native() noexcept { notes_.native(); }

  void destroy(void* low, std::size_t size) noexcept { notes_.destroyed(low, size); }

  /// Leaves `from`, which must be running on this thread, for `to`. Returns when somebody switches back to `from`:
  /// for a pinned fiber on the same thread, for a CPU task perhaps on another. `globals` is this thread's exception
  /// state; with `Migrates` it is looked up again afterwards.
  template <bool Migrates>
  [[gnu::always_inline]] static void switch_to(fiber& from, fiber& to, eh_globals* globals) noexcept {
    prepare(from, to, globals);
    from.arrived(jump(to.context_, &from));
    if constexpr (Migrates) *thread_eh_globals() = from.eh_;
  }
  /// The same but for the jump, which the caller's caller makes. Not where the tools must be told after it.
  [[gnu::always_inline]] static departure depart(fiber& from, fiber& to, eh_globals* globals) noexcept {
    prepare(from, to, globals);
    return {to.context_, &from.context_};
  }

  /// The number of exceptions in flight when it was left.
  [[nodiscard]] unsigned uncaught() const noexcept { return eh_.uncaught; }
  [[nodiscard]] const void* stack_pointer() const noexcept { return context_; }

 private:
  [[gnu::always_inline]] static void prepare(fiber& from, fiber& to, eh_globals* globals) noexcept {
    from.eh_ = *globals;
    *globals = to.eh_;
    before_switch(from.notes_, to.notes_);
    from.next_ = &to;
  }

  // The fiber that jumped here is told where it was left. (As in departure::take(), which knows only its first word.)
  [[gnu::always_inline]] void arrived(arrival from) noexcept {
    fiber& left = *static_cast<fiber*>(from.data);
    left.context_ = from.left;
    after_switch(notes_, left.notes_);
  }

  static void start(arrival from) noexcept;

  context context_ = nullptr;  // where it was last left; the first, so that its address is the fiber's
  eh_globals eh_;
  entry_function* entry_ = nullptr;
  fiber* next_ = nullptr;  // whom it left for; a fiber that starts learns so who it is
  [[no_unique_address]] stack_notes notes_;
};

static_assert(std::is_standard_layout_v<fiber>, "the address of a fiber's first member is the fiber's");

}  // namespace weft::detail
