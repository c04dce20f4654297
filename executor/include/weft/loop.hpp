#pragma once
// The event loops, as a program sees them.

namespace asio {
class io_context;
}

namespace weft {

namespace detail {
class loop_core;
}

/// The index of the loop the caller runs on, 0 to loop_count() - 1. Throws no_runtime off a loop.
unsigned this_loop();

/// True on a thread that is a loop of a running runtime (or of a simulation).
bool on_a_loop() noexcept;

/// How many loops the running runtime has. Throws no_runtime when there is none.
unsigned loop_count();

/// The io_context of the calling loop, for use with Asio. Only this thread may use it; a handler runs on the loop's
/// own stack and must not wait: have it set a promise, or spawn. Throws no_runtime off a loop, std::logic_error in a
/// simulation, where there is no real IO.
asio::io_context& this_io_context();

}  // namespace weft
