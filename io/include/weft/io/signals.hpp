#pragma once
// Signals as values.

#include <initializer_list>
#include <memory>

namespace weft::io {

/// From its construction on, these signals no longer do what they used to (end the process, say) but are kept for
/// wait(). Belongs to the loop it was made on. What a signal did before it does again when the last `signals` with that
/// number is destroyed, or its runtime has ended.
class signals {
 public:
  /// Throws std::system_error for a number that cannot be caught, no_runtime off a loop.
  explicit signals(std::initializer_list<int> numbers);
  ~signals();
  signals(const signals&) = delete;
  signals& operator=(const signals&) = delete;

  /// Waits for one of the signals and gives its number.
  ///
  /// Suspends: a checkpoint always; switches until a signal comes.
  /// Cancel:   throws cancelled; no signal is lost.
  /// Threads:  fibers of the loop it was made on; one at a time.
  /// Ordering: none.
  /// Throws:   wrong_loop, stream_busy.
  int wait();

 private:
  struct state;
  struct keeper;
  std::shared_ptr<state> state_;
};

}  // namespace weft::io
