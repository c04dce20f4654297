#pragma once
// A suspended computation with a stack of its own. The only file that knows Boost.Context.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <utility>

#include "eh_globals.hpp"
#include "sanitizer.hpp"

namespace weft::detail {

/// jump_fcontext(), entered by a jump.
///
/// It leaves by a jump, as it must. So a call of it would leave an entry too many on the processor's stack of return
/// addresses, and every return from there up to the fiber's own code would be mispredicted: measured, 12 ns a switch.
[[gnu::always_inline]] inline boost::context::detail::transfer_t jump(boost::context::detail::fcontext_t to,
                                                                      void* data) noexcept {
#if defined(__x86_64__) && !defined(__AVX512F__)
  boost::context::detail::transfer_t back;
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\t"  // the red zone is the compiler's
      "lea 1f(%%rip), %%r8\n\t"
      "push %%r8\n\t"
      "jmp jump_fcontext@PLT\n"
      "1:\n\t"
      "lea 128(%%rsp), %%rsp"
      : "=a"(back.fctx), "=d"(back.data), "+D"(to), "+S"(data)
      :
      : "rcx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
        "st(6)", "st(7)", "cc", "memory");
  return back;
#else
  return boost::context::detail::jump_fcontext(to, data);
#endif
}

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
    context_ = boost::context::detail::make_fcontext(static_cast<char*>(low) + size, size, &start);
  }
  /// Makes this the calling thread's own stack.
  void make_native() noexcept { notes_.native(); }

  void destroy(void* low, std::size_t size) noexcept { notes_.destroyed(low, size); }

  /// Leaves `from`, which must be running on this thread, for `to`. Returns when somebody switches back to `from`:
  /// for a pinned fiber on the same thread, for a CPU task perhaps on another. `globals` is this thread's exception
  /// state; with `Migrates` it is looked up again afterwards.
  template <bool Migrates>
  [[gnu::always_inline]] static void switch_to(fiber& from, fiber& to, eh_globals* globals) noexcept {
    from.eh_ = *globals;
    *globals = to.eh_;
    before_switch(from.notes_, to.notes_);
    from.next_ = &to;
    const auto back = jump(std::exchange(to.context_, nullptr), &from);
    from.arrived(back);
    if constexpr (Migrates) *thread_eh_globals() = from.eh_;
  }

  /// The number of exceptions in flight when it was left.
  [[nodiscard]] unsigned uncaught() const noexcept { return eh_.uncaught; }
  [[nodiscard]] const void* stack_pointer() const noexcept { return context_; }

 private:
  // The fiber that jumped here is told where it was left.
  void arrived(boost::context::detail::transfer_t back) noexcept {
    fiber& left = *static_cast<fiber*>(back.data);
    left.context_ = back.fctx;
    after_switch(notes_, left.notes_);
  }

  static void start(boost::context::detail::transfer_t back) noexcept;

  boost::context::detail::fcontext_t context_ = nullptr;
  eh_globals eh_;
  entry_function* entry_ = nullptr;
  fiber* next_ = nullptr;  // whom it left for; a fiber that starts learns so who it is
  [[no_unique_address]] stack_notes notes_;
};

}  // namespace weft::detail
