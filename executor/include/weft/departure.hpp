#pragma once
// How a wait in line leaves a fiber's stack: the jump itself, which a library cannot do for its caller at no price.
//
// Problem: a fiber that is resumed inside a function of the library returns from it to its caller. The core has
// remembered where the last call came from, which was another fiber's, and if that has waited elsewhere in the program,
// it goes on there for some twenty cycles before it finds that out (7.5 ns here, as much as the switch itself).
// Solution: the library chooses whom to leave for, and returns; the jump is made, and come back from, in the caller's
// own code. Then each return goes where the core expects it.

#if defined(__x86_64__) && !defined(WEFT_FCONTEXT)
#define WEFT_JUMPS_IN_LINE 1
#else
#define WEFT_JUMPS_IN_LINE 0
#endif

namespace weft::detail {

/// Where a computation was left.
using context = void*;

/// What the one who is jumped to learns: where the jumper was left, and what it says.
struct arrival {
  context left;
  void* data;
};

/// Leaves the running computation for `to`. Comes back when somebody jumps to where it was left.
arrival jump(context to, void* data) noexcept;

#if WEFT_JUMPS_IN_LINE

// An arrival is passed in rdi and rsi, as to a function (System V ABI, AMD64, 3.2.3): so a new computation is jumped to
// like any other.
// (The clobbers are those of the file's target: not to be inlined into a function with a wider target of its own.)
[[gnu::always_inline]] inline arrival jump(context to, void* data) noexcept {
  asm volatile(  // {AT&T|Intel}, as the program's options say
#if !defined(WEFT_NO_RED_ZONE)
      "lea {-128(%%rsp), %%rsp|rsp, [rsp - 128]}\n\t"  // the red zone is the compiler's
#endif
      "lea {1f(%%rip), %%rax|rax, 1f[rip]}\n\t"
      "push {%%rax|rax}\n\t"
      "push {%%rbp|rbp}\n\t"  // these two may be frame and base pointer, which cannot be clobbered
      "push {%%rbx|rbx}\n\t"
      "mov {%%rsp, %%rax|rax, rsp}\n\t"
      "mov {%%rdi, %%rsp|rsp, rdi}\n\t"
      "mov {%%rax, %%rdi|rdi, rax}\n\t"
      "pop {%%rbx|rbx}\n\t"
      "pop {%%rbp|rbp}\n\t"
      "pop {%%rax|rax}\n\t"
      "jmp {*%%rax|rax}\n"
      "1:\n\t"
#if !defined(WEFT_NO_RED_ZONE)
      "lea {128(%%rsp), %%rsp|rsp, [rsp + 128]}"
#endif
      : "+D"(to), "+S"(data)
      :
      : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#if defined(__AVX512F__)
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
        "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#endif
#if defined(__APX_F__)
        "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31",
#endif
        "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory");
  return {to, data};
}

#endif

/// The running fiber is to leave its stack, by its own jump. All but that has been done.
struct departure {
  context to = nullptr;     ///< null: it does not leave, or has left and come back already
  context* from = nullptr;  ///< where it is noted where it was left

  /// Comes back when the fiber is resumed. Not for a null one.
  [[gnu::always_inline]] void take() const noexcept {
#if WEFT_JUMPS_IN_LINE
    const arrival came = jump(to, from);
    *static_cast<context*>(came.data) = came.left;
#endif
  }
};

}  // namespace weft::detail
