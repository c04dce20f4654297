#pragma once
// Which oneTBB algorithm a thread is in.

#if !defined(WEFT_CPU_POOL_STANDIN)
#include <oneapi/tbb/task.h>

#if __has_cpp_attribute(gnu::noplt)
// Asked at each wait, and a good part of what a wait costs, most of it jumps: so not over the linker's table.
namespace tbb::detail::r1 {
[[gnu::noplt]] d1::task_group_context* current_context();
}
#endif
#endif

namespace weft::detail {

/// The oneTBB context that the caller runs in; null outside oneTBB, whose stand-in has none. (It throws
/// nothing, but who says so pays for that.)
inline const void* algorithm_context() {
#if defined(WEFT_CPU_POOL_STANDIN)
  return nullptr;
#else
  return tbb::task::current_context();
#endif
}

}  // namespace weft::detail
