#include "http_kit/stream_writer.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include <weft/io/copy.hpp>
#include <weft/io/error.hpp>
#include <weft/this_fiber.hpp>

namespace http {

void stream_writer::take(std::uint64_t n) {
  if (!left_) return;
  if (n > *left_) throw std::length_error("a body longer than was said");
  *left_ -= n;
}

void stream_writer::write(std::string_view piece) {
  take(piece.size());
  if (piece.empty()) return;  // in chunks it would be the end
  sending_ = true;
  char size[20];
  if (chunked_)
    to_.write_all({digits(piece.size(), 16, size), "\r\n", piece, "\r\n"});
  else
    to_.write_all(piece);
  sending_ = false;
}

void stream_writer::write_file(int file, std::uint64_t offset, std::uint64_t count) {
  take(count);
  if (count == 0) return;
  char size[20];
  sending_ = true;
  if (chunked_) to_.write_all({digits(count, 16, size), "\r\n"});
  if (weft::io::send_file(to_, file, offset, count) != count)
    throw weft::io::error(std::error_code(ENODATA, std::system_category()), "send", "a file that has become shorter");
  if (chunked_) to_.write_all("\r\n");
  sending_ = false;
}

bool stream_writer::pause(std::chrono::nanoseconds time) {
  if (stopping_) return !stopping_->wait_for(time);
  weft::sleep_for(time);
  return true;
}

void stream_writer::finish() {
  if (left_.value_or(0) != 0) throw std::length_error("a body shorter than was said");
  if (!chunked_) return;
  sending_ = true;
  to_.write_all("0\r\n\r\n");
  sending_ = false;
}

}  // namespace http
