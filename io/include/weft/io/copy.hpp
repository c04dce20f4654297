#pragma once
// Bytes from one stream to another, and from a file to a stream.
//
// Through the buffer of the stream that is read, not through a pipe with splice(2): what was read and not yet written
// stays in that buffer, so a cancelled copy has lost nothing, over TLS and in memory, too.

#include <cstdint>

#include "weft/io/stream.hpp"

namespace weft::io {

/// Copies up to the end of `from`; gives the number of bytes. `to` is not ended: see shutdown_write().
///
/// Suspends: always, unless `from` is at its end.
/// Cancel:   throws cancelled; `to` got as much as its bytes_written() has grown, and what was read beyond that is the
///           first thing the next read of `from` gives. Both are usable.
/// Threads:  fibers of the streams' loop, as their reader and their writer.
/// Ordering: none.
/// Throws:   as stream::read_some() and stream::write_all(), with the same left; error::bytes() were written.
std::uint64_t copy(stream& from, stream& to);

/// What went which way.
struct copied {
  std::uint64_t to_second = 0;
  std::uint64_t to_first = 0;
};

/// Copies both ways until both have ended; the end of one way is passed on with shutdown_write() while the other goes
/// on. When one way fails the other is cancelled.
///
/// Suspends: always.
/// Cancel:   throws cancelled; each way has left what copy() leaves.
/// Threads:  fibers of the streams' loop, as reader and writer of both.
/// Ordering: none.
/// Throws:   what a way that failed throws; as copy().
copied copy_bidirectional(stream& first, stream& second);

/// Writes `count` bytes of the file from `offset` on; fewer when the file ends before. Gives the number of bytes. A
/// descriptor, socket or pipe, takes them from the system's cache (sendfile(2)); other streams get them through a
/// buffer. What is not in the cache is read on a thread that may block. The file's own position neither counts nor
/// moves.
///
/// Suspends: a checkpoint always; switches when the way is full or the file is not in the cache.
/// Cancel:   throws cancelled; a beginning was written, as long as bytes_written() has grown.
/// Threads:  fibers of the stream's loop, as its writer.
/// Ordering: none.
/// Throws:   as stream::write_all(); error for the file, whose peer() is "file N". error::bytes() were written.
std::uint64_t send_file(stream& to, int file, std::uint64_t offset, std::uint64_t count);

}  // namespace weft::io
