#pragma once
// Where a loop's thread says that it is inside something of its own, so that others can tell (see monitor.hpp).

#include <atomic>

namespace weft::detail {

class monitor;
struct debt;

/// One for each loop; never freed, but handed on to the loops of later runtimes, and with it what is theirs.
///
/// Who may touch what:
///   inside   written by the loop's thread, with plain stores; read by others after a membarrier.
///   owed     others push, the loop's thread takes all.
struct alignas(64) gate {
  std::atomic<const monitor*> inside{nullptr};
  std::atomic<debt*> owed{nullptr};

  /// For a new loop. Throws std::bad_alloc.
  static gate& take();
  static void give_back(gate& g) noexcept;
};

/// What all threads that are no loop look at: nobody is ever inside, and no monitor is ever at home there.
extern constinit gate no_gate;
/// The calling thread's.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local gate* tl_gate;
/// The calling loop's; null for a thread that is none.
inline gate* gate_of_loop() noexcept { return tl_gate == &no_gate ? nullptr : tl_gate; }

/// membarrier(2), the private expedited kind: when it comes back, every thread of the process has been through a full
/// fence since it was called.
void fence_all_threads() noexcept;
/// False where the system does not have it.
bool can_fence_all_threads() noexcept;

}  // namespace weft::detail
