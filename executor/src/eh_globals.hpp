#pragma once
// The C++ runtime's exception state of a thread: the exceptions being handled, and how many are in flight. A fiber has
// its own, so that waiting inside a catch block, `throw;` after it and std::uncaught_exceptions() are right.
// Source: Itanium C++ ABI, 2.2.2 (__cxa_eh_globals).

namespace weft::detail {

struct eh_globals {
  void* caught = nullptr;
  unsigned int uncaught = 0;
  unsigned int unused = 0;  ///< for the alignment; copied with the others, which takes half the moves
};
static_assert(sizeof(void*) == 8, "elsewhere that is somebody else's");

/// The state of the calling thread. Never cached over a wait of a CPU task, which may go on on another thread; so it
/// is a function the compiler cannot see into (libstdc++ declares __cxa_get_globals `const`, which allows caching).
eh_globals* thread_eh_globals() noexcept;

}  // namespace weft::detail
