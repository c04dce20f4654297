#pragma once
// Calls into C libraries that report an error by longjmp().

#include <csetjmp>
#include <cstdio>

#include <weft/cancel.hpp>

#include "codec.hpp"

namespace images {

/// Where the library's error handler jumps to.
///
/// A jump over a destructor, or over a weft wait, would be undefined behaviour. So it never leaves guarded(): between
/// setjmp() and the handler there are only frames of C, of the handler, and of a lambda that must hold nothing with a
/// destructor, neither throw nor wait. Out of guarded() comes an exception.
struct escape {
  std::jmp_buf back;
  char why[256] = "";

  /// What the library's error handler calls last.
  [[noreturn]] void jump(const char* reason) {
    std::snprintf(why, sizeof why, "%s", reason);
    std::longjmp(back, 1);
  }
};

/// Runs `calls`. Throws bad_picture when the library gave up; weft::cancelled when it did so because it was asked to.
template <class F>
void guarded(escape& way_out, F&& calls) {
  if (setjmp(way_out.back) != 0) {
    weft::check_cancelled();
    throw bad_picture(bad_picture::problem::corrupt, way_out.why);
  }
  calls();
}

}  // namespace images
