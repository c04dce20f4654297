#pragma once
// Leaving one stack for another: what a fiber is made of. On x86-64 a few instructions in line; elsewhere, or with
// WEFT_FCONTEXT, Boost.Context's fcontext. The only file that knows it.
//
// In line, because the compiler then saves what it needs and no more, and because the jump is no call: a switch that
// returns from a function, to another fiber's caller, is mispredicted. And the floating-point environment (rounding,
// flushing to zero, traps) stays the thread's, as it does in Go: to save, load and compare it takes four fifths of
// fcontext's jump (5.5 ns with it, 1.1 without). A debug build finds the task that changes it and waits.

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) && !defined(WEFT_FCONTEXT)
#define WEFT_FCONTEXT 1
#endif
#if defined(WEFT_FCONTEXT)
#include <boost/context/detail/fcontext.hpp>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace weft::detail {

/// Where a computation was left.
using context = void*;

/// What the one who is jumped to learns: where the jumper was left, and what it says.
struct arrival {
  context left;
  void* data;
};

/// A computation that will run `Entry`, which never returns, on the stack [low, low + size).
template <void (*Entry)(arrival)>
context make_context(void* low, std::size_t size) noexcept;
/// Leaves the running computation for `to`. Comes back when somebody jumps to where it was left.
arrival jump(context to, void* data) noexcept;

#if !defined(WEFT_FCONTEXT)

// What lies where a computation was left, from the stack pointer up: rbx, rbp, where to go on. The other registers
// that a callee saves are the compiler's business: they are clobbered.
template <void (*Entry)(arrival)>
context make_context(void* low, std::size_t size) noexcept {
  auto* const top = reinterpret_cast<void**>((reinterpret_cast<std::uintptr_t>(low) + size) & ~std::uintptr_t{15});
  top[-1] = nullptr;  // a return address, for who walks the stack: here it ends
  top[-2] = reinterpret_cast<void*>(Entry);
  top[-3] = nullptr;  // rbp
  top[-4] = nullptr;  // rbx
  return top - 4;
}

// An arrival is passed in rdi and rsi, as to a function (System V ABI, AMD64, 3.2.3): so a new computation is jumped to
// like any other.
[[gnu::always_inline]] inline arrival jump(context to, void* data) noexcept {
  asm volatile(
#if !defined(WEFT_NO_RED_ZONE)
      "lea -128(%%rsp), %%rsp\n\t"  // the red zone is the compiler's
#endif
      "lea 1f(%%rip), %%rax\n\t"
      "push %%rax\n\t"
      "push %%rbp\n\t"  // these two may be frame and base pointer, which cannot be clobbered
      "push %%rbx\n\t"
      "mov %%rsp, %%rax\n\t"
      "mov %%rdi, %%rsp\n\t"
      "mov %%rax, %%rdi\n\t"
      "pop %%rbx\n\t"
      "pop %%rbp\n\t"
      "pop %%rax\n\t"
      "jmp *%%rax\n"
      "1:\n\t"
#if !defined(WEFT_NO_RED_ZONE)
      "lea 128(%%rsp), %%rsp"
#endif
      : "+D"(to), "+S"(data)
      :
      : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#if defined(__AVX512F__)
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
        "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#endif
        "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory");
  return {to, data};
}

#else

template <void (*Entry)(arrival)>
context make_context(void* low, std::size_t size) noexcept {
  return boost::context::detail::make_fcontext(static_cast<char*>(low) + size, size, [](auto t) {
    Entry({t.fctx, t.data});
  });
}

inline arrival jump(context to, void* data) noexcept {
  const auto t = boost::context::detail::jump_fcontext(to, data);
  return {t.fctx, t.data};
}

#endif

/// What a computation may have set in its thread's floating-point environment; what only tells of the past is left out.
inline std::uint32_t fp_control() noexcept {
#if defined(__x86_64__)
  return _mm_getcsr() & 0xffc0u;
#else
  return static_cast<std::uint32_t>(std::fegetround());
#endif
}

}  // namespace weft::detail
