#pragma once
// Writes a body to a stream: for server and client.

#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <weft/event.hpp>
#include <weft/io/stream.hpp>

#include "http_kit/response.hpp"

namespace http {

inline std::string_view digits(std::uint64_t n, int base, std::span<char> to) {
  const char* end = std::to_chars(to.data(), to.data() + to.size(), n, base).ptr;
  return {to.data(), static_cast<std::size_t>(end - to.data())};
}

class stream_writer final : public body_writer {
 public:
  /// `stopping` ends pause(), if there is one.
  stream_writer(weft::io::stream& to, bool chunked, std::optional<std::uint64_t> length, weft::event* stopping) noexcept
      : to_(to), stopping_(stopping), chunked_(chunked), left_(length) {}

  void write(std::string_view piece) override;
  void write_file(int file, std::uint64_t offset, std::uint64_t count) override;
  bool pause(std::chrono::nanoseconds time) override;

  /// The body is complete. Throws std::length_error when it is shorter than was said.
  void finish();

  /// What was thrown came from the stream, not from where the body is from.
  [[nodiscard]] bool stream_failed() const noexcept { return sending_; }

 private:
  void take(std::uint64_t n);

  weft::io::stream& to_;
  weft::event* stopping_;
  const bool chunked_;
  std::optional<std::uint64_t> left_;
  bool sending_ = false;
};

}  // namespace http
