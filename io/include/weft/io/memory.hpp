#pragma once
// Streams without a network: for tests, above all in sim::run, and for two fibers of one program.
//
// In a simulation every read and write moves a drawn number of bytes, as networks may. For latency, cuts and resets see
// sim_network.hpp.

#include <cstddef>
#include <memory>
#include <utility>

#include "weft/io/listener.hpp"
#include "weft/io/stream.hpp"

namespace weft::io {

/// Two ends of one connection, both of the calling loop (see stream::move_to()). Each direction holds up to `capacity`
/// bytes. Throws std::invalid_argument when that is 0, no_runtime off a loop.
std::pair<stream, stream> memory_pair(std::size_t capacity = 64 * 1024);

/// Connects to one memory listener. Copies connect to the same one. Any loop.
class memory_connector {
 public:
  /// The stream belongs to the calling loop. Does not wait. Throws error with ECONNREFUSED when the listener was closed
  /// or 1,024 connections wait to be accepted.
  stream connect() const;

 private:
  friend std::pair<listener, memory_connector> memory_listen(std::size_t);
  struct shared;
  class source;
  explicit memory_connector(std::shared_ptr<shared> s) noexcept : shared_(std::move(s)) {}
  std::shared_ptr<shared> shared_;
};

/// A listener of the calling loop, and what connects to it.
std::pair<listener, memory_connector> memory_listen(std::size_t capacity = 64 * 1024);

}  // namespace weft::io
