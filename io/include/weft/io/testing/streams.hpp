#pragma once
// The contract of a stream. check_stream() runs any kind of stream, which mostly means any transport, through it.
//
//   testing::check_stream({.name = "memory", .pair = [] { return io::memory_pair(); }, .simulated = true});
//
// A rule that is broken is thrown as contract_broken: the kind, the rule and its line, the number of loops or the seed.

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "weft/io/stream.hpp"
#include "weft/testing/cancel_everywhere.hpp"
#include "weft/testing/contract.hpp"

namespace weft::testing {

/// A kind of stream, and what it can do.
struct stream_kind {
  std::string name = "a stream";

  /// Makes the two ends of a connection, both of the calling loop.
  std::function<std::pair<io::stream, io::stream>()> pair;

  /// Breaks the connection, as a peer that dies does: a reset, and no end of the stream. The stream is only closed
  /// after that. Empty: nothing can break it.
  std::function<void(io::stream&)> break_off = {};

  bool simulated = false;   ///< can be made in sim::run
  bool real = true;         ///< can be made on real loops
  bool descriptor = false;  ///< is one, which detach() gives away; of others it throws

  /// So many bytes are on their way at most: a writer that nobody reads from waits before that.
  std::size_t most_under_way = std::size_t{64} * 1024 * 1024;
};

/// Runs a kind of stream through the contract of streams: on one real loop and on e.loops of them, in e.seeds
/// simulations of each rule, or both. In simulation check_stream_cancellation() is part of it, with fewer seeds.
///
/// Suspends: the calling thread; call it outside a runtime.
/// Cancel:   not a cancellation point.
/// Threads:  a plain thread.
/// Ordering: none.
/// Throws:   contract_broken.
void check_stream(const stream_kind& kind, const effort& e = {});

/// The same for its cancellation, in simulation alone: reads, lines and writes are cancelled at each place where they
/// can be (see cancel_everywhere.hpp), and no byte may be lost, doubled or miscounted. Gives the number of places.
///
/// Suspends: the calling thread; call it outside a runtime.
/// Cancel:   not a cancellation point.
/// Threads:  a plain thread.
/// Ordering: none.
/// Throws:   std::runtime_error, which names seed and place.
std::size_t check_stream_cancellation(const stream_kind& kind, const cancel_options& options = {});

}  // namespace weft::testing
