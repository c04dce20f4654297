#include "weft/io/error.hpp"

namespace weft::io {
namespace {

std::string said(std::string_view operation, std::string_view peer) {
  return std::string(operation) + " " + std::string(peer);
}

std::string count(std::size_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

std::string after(std::size_t bytes) { return bytes > 0 ? ", after " + count(bytes) : ""; }

}  // namespace

error::error(std::error_code code, std::string_view operation, std::string_view peer, std::size_t bytes,
             std::string_view advice)
    : std::system_error(code), operation_(operation), peer_(peer), bytes_(bytes), text_(said(operation, peer)) {
  text_ += after(bytes_) + ": " + code.message();
  if (!advice.empty()) text_ += "; " + std::string(advice);
}

void error::add_bytes(std::size_t more) {
  text_.replace(said(operation_, peer_).size(), after(bytes_).size(), after(bytes_ + more));
  bytes_ += more;
}

end_of_stream::end_of_stream(std::string_view operation, std::string_view peer, std::size_t bytes)
    : std::runtime_error(said(operation, peer) + ": the other side ended the stream after " + count(bytes) +
                         " of what was to be read"),
      bytes_(bytes) {}

stream_closed::stream_closed(std::string_view operation, std::string_view peer)
    : std::runtime_error(said(operation, peer) + ": closed on this side") {}

line_too_long::line_too_long(std::string_view peer, std::size_t limit)
    : std::runtime_error(said("read from", peer) + ": line too long: no delimiter in the first " + count(limit)),
      limit_(limit) {}

stream_busy::stream_busy(std::string_view operation, std::string_view peer)
    : std::logic_error(said(operation, peer) +
                       ": another fiber is doing so already; let one fiber do it, or take turns with a lock") {}

}  // namespace weft::io
