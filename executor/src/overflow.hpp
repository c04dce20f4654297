#pragma once
// Telling a stack overflow from other crashes: a handler of SIGSEGV and SIGBUS on an alternate stack names the task
// whose guard page was hit, and then lets the process die as it would have.

namespace weft::detail {

/// Counts users of the handler; the first installs it, the last puts the earlier one back.
void install_overflow_reporter();
void remove_overflow_reporter() noexcept;

/// Gives the calling thread an alternate signal stack, if it has none.
void prepare_thread_for_overflow() noexcept;

}  // namespace weft::detail
