#pragma once
// The event loops, as a program sees them.

#include <cstdint>
#include <string>

#include "weft/deadline.hpp"
#include "weft/timer.hpp"

namespace asio {
class io_context;
}

namespace weft {

namespace detail {
/// Which loop this thread is, among all that ever were; 0 off the loops. So one comparison tells whether something is
/// used where it was made, for the life of the runtime it was made in.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::uint32_t tl_here;
inline std::uint32_t this_loop_token() noexcept { return tl_here; }
/// this_loop_token(); throws no_runtime off the loops.
std::uint32_t require_loop();
/// Of a loop of the running runtime, by its index; on a loop.
std::uint32_t token_of(unsigned loop) noexcept;
/// For reports: "loop 2", with a word when that loop's runtime has ended.
std::string describe_loop(std::uint32_t token);

/// A number in [0, bound), to be fair among equals. In a simulation it comes from the seed.
std::uint32_t random_below(std::uint32_t bound) noexcept;

/// Who is told what a loop's epoll(7) reports: as a descriptor is added there, its data is the address of one.
class event_taker {
 public:
  /// It is told in the middle of a batch, on the loop's own stack: it wakes others, and may read for them, and no more.
  virtual void happened(std::uint32_t events) noexcept = 0;
  /// It will be told next: asks the core for what that will look at.
  virtual void comes_next() const noexcept {}

 protected:
  ~event_taker() = default;
};
/// The epoll that the calling loop sleeps in. Throws as this_io_context().
int this_epoll();

/// Arms a timer on the calling loop. Throws std::bad_alloc, but not within `expired`.
void arm(timer& t, clock::time_point when);
/// On the loop it was armed on.
void disarm(timer& t) noexcept;
}  // namespace detail

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
