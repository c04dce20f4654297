#pragma once
// Leaving one stack for another: what a fiber is made of. On x86-64 a few instructions in line (weft/departure.hpp);
// elsewhere, or with WEFT_FCONTEXT, Boost.Context's fcontext.
//
// In line, because the compiler then saves what it needs and no more, and because the jump is no call: a switch that
// returns from a function, to another fiber's caller, is mispredicted. And the floating-point environment (rounding,
// flushing to zero, traps) stays the thread's, as it does in Go: to save, load and compare it takes four fifths of
// fcontext's jump (5.5 ns with it, 1.1 without). A debug build finds the task that changes it and waits.

#include <cstddef>
#include <cstdint>

#include "weft/departure.hpp"

#if !WEFT_JUMPS_IN_LINE
#include <boost/context/detail/fcontext.hpp>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace weft::detail {

/// A computation that will run `Entry`, which never returns, on the stack [low, low + size).
template <void (*Entry)(arrival)>
context make_context(void* low, std::size_t size) noexcept;

#if WEFT_JUMPS_IN_LINE

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

#else

template <void (*Entry)(arrival)>
context make_context(void* low, std::size_t size) noexcept {
  return boost::context::detail::make_fcontext(static_cast<char*>(low) + size, size, [](auto t) {
    Entry({t.fctx, t.data});
  });
}

[[gnu::always_inline]] inline arrival jump(context to, void* data) noexcept {
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
