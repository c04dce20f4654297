#pragma once
// Stopping oneTBB's algorithms. Not part of executor.hpp: the one header of weft that needs oneTBB's.

#ifdef WEFT_CPU_POOL_STANDIN
#error \
    "weft/cpu_context.hpp needs oneTBB, and this weft was built with WEFT_CPU_POOL=standin: leave the code that uses it out"
#endif

#include <oneapi/tbb/task_group.h>

namespace weft {

/// The context to pass to algorithms that are to end when their CPU task is cancelled, or another scope around the
/// caller is (a timeout, a cancel_scope; up to a shield). They return early and throw nothing, so check_cancelled()
/// goes behind each. Valid until the innermost scope around the caller is left. Bodies need none: what they start
/// belongs to the algorithm around them.
///
///   tbb::parallel_for(0, n, body, weft::cpu_context());
///   weft::check_cancelled();
///
/// Suspends: never.
/// Cancel:   not a cancellation point; in a cancelled scope it gives a context that is cancelled.
/// Threads:  a CPU task, not the bodies of its algorithms.
/// Ordering: none.
/// Throws:   std::logic_error elsewhere; std::bad_alloc.
tbb::task_group_context& cpu_context();

}  // namespace weft
