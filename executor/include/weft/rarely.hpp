#pragma once
// A word to the compiler about what hardly ever happens.

namespace weft::detail {

/// The condition, which is hardly ever true: what is done then lies out of the way of the rest. (For what is merely
/// [[unlikely]] GCC often has the usual way jump over it, and a wait passes twenty such places. A jump costs a cycle.)
[[gnu::always_inline]] inline bool rarely(bool condition) noexcept {
  return __builtin_expect_with_probability(condition, false, 1.0);
}

}  // namespace weft::detail
