#pragma once
// Sizes of stacks, and what the stack pools hold.

#include <cstddef>

namespace weft {

/// The smallest stack a fiber may have: room for weft itself, the C library and one exception in flight.
inline constexpr std::size_t min_stack_size = 16 * 1024;
inline constexpr std::size_t max_stack_size = std::size_t{1} << 30;

/// How the lowest page of each stack is made to fault.
enum class stack_guard {
  automatic,  ///< guard_install where the kernel has it (Linux 6.13), else mprotect
  install,    ///< madvise(MADV_GUARD_INSTALL): no extra mapping per stack
  protect     ///< mprotect(PROT_NONE): two more mappings per stack, bounded by vm.max_map_count
};

}  // namespace weft
