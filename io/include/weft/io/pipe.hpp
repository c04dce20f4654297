#pragma once
// Pipes, and what the program was started with: standard input and output.

#include "weft/io/stream.hpp"

namespace weft::io {

struct pipe_ends {
  stream reader;
  stream writer;
};

/// pipe(2); both ends belong to the calling loop. Reading from the one that writes, and the reverse, is error with
/// EBADF. The writer's shutdown_write() closes its descriptor. A writer whose reader is gone gets error with EPIPE, and
/// never the signal. Throws error; no_runtime.
pipe_ends pipe();

/// Standard input, output and error output as streams of the calling loop. Each has a read buffer of its own: make one
/// stream and keep it. Closing it leaves the descriptor 0, 1 or 2 as it was.
///
/// Problem: O_NONBLOCK belongs to the open file, which a terminal or pipe shares with the shell and whoever else has
/// it; they would find that their reads fail. Solution: no flag of theirs is touched. A terminal or pipe is opened once
/// more (/proc/self/fd), for a file of our own that does not block. A socket is asked not to wait call by call. What
/// cannot be watched or opened (a regular file, /dev/null, another user's terminal) is read and written on a thread
/// that may block. There
/// * a cancelled read goes on in the thread, and the next read gets what it gives; at the end of the program, or after
///   close(), that is lost;
/// * a write that was begun counts as written, when it is cancelled, too.
/// Throws error; no_runtime.
stream standard_input();
stream standard_output();
stream standard_error();

}  // namespace weft::io
