#pragma once
// A loop over the CPU pool's workers that ends when its task is cancelled.

#include <weft/cancel.hpp>

#ifndef WEFT_CPU_POOL_STANDIN
#include <oneapi/tbb/parallel_for.h>

#include <weft/bind.hpp>
#include <weft/cpu_context.hpp>
#endif

namespace images {

/// Calls f(0) to f(n - 1), several at a time. In a CPU task. Throws weft::cancelled, what f throws.
template <class F>
void in_parallel(unsigned n, const F& f) {
#ifndef WEFT_CPU_POOL_STANDIN
  // Bound, so that check_cancelled() inside f sees the task's cancellation, too.
  tbb::parallel_for(0u, n, weft::bind(f), weft::cpu_context());
  weft::check_cancelled();
#else
  for (unsigned i = 0; i < n; ++i) f(i), weft::check_cancelled();  // the stand-in pool has no oneTBB
#endif
}

}  // namespace images
