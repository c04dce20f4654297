#pragma once
// Reads HTTP/1.1 messages from a stream, one after the other: for server and client. What parses is Boost.Beast, which
// only message_reader.cpp knows.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <weft/deadline.hpp>
#include <weft/io/stream.hpp>

#include "http_kit/headers.hpp"
#include "http_kit/request.hpp"
#include "http_kit/status.hpp"

namespace http {

struct request_head {
  std::string& method;
  std::string& target;
  int& version;
  headers& fields;
};
struct response_head {
  status code{};
  int version = 11;
  headers fields;
};

/// What goes wrong with a message is thrown as http::error with the status that a server answers; what goes wrong with
/// the stream, as the stream throws it.
class message_reader : public body_source {
 public:
  struct limits {
    std::size_t header = 8 * 1024;
    std::uint64_t body = 1024 * 1024;
    std::chrono::nanoseconds receive = std::chrono::seconds(30);  ///< from a message's first byte to its last
    std::chrono::nanoseconds idle = std::chrono::seconds(60);     ///< from one byte to the next
  };

  message_reader(weft::io::stream& from, const limits& most);
  ~message_reader() override;

  /// Waits for a request's header. False when the stream ends before its first byte. `to` is overwritten.
  bool read(const request_head& to);
  /// The same for a response; `to_head`: that has no body, whatever it says.
  bool read(response_head& to, bool to_head);

  std::size_t read_some(std::span<char> to) override;
  void limit(std::uint64_t bytes, std::optional<std::chrono::nanoseconds> time) override;
  [[nodiscard]] std::optional<std::uint64_t> length() const override;

  /// Reads the rest of the body and forgets it, if that is at most so much. False when it is more.
  bool skip_body(std::uint64_t most);
  /// False when skip_body() would be, for certain.
  [[nodiscard]] bool may_skip(std::uint64_t most) const noexcept {
    return !bad_ && framing_ != framing::until_end && (framing_ != framing::length || left_ <= most);
  }
  /// It said that it is longer than the limit: read_some() throws.
  [[nodiscard]] bool is_too_long() const noexcept { return framing_ == framing::length && left_ > room_; }
  /// All was read. The next message may be.
  [[nodiscard]] bool body_done() const noexcept { return framing_ == framing::none; }
  /// The body goes on until the stream ends.
  [[nodiscard]] bool until_end() const noexcept { return framing_ == framing::until_end; }
  /// The message said that its connection may be used again.
  [[nodiscard]] bool keep_alive() const noexcept { return keep_alive_; }

 private:
  enum class framing { none, length, chunks, until_end };
  template <bool is_request>
  class parser;
  struct parsers;

  void skip_empty_lines();
  template <bool is_request>
  bool read_header(parser<is_request>& p);
  std::size_t parse_chunks(std::span<char> to);
  void hurry();
  std::size_t fill();
  void count(std::size_t bytes);
  void finish();

  weft::io::stream& from_;
  const limits most_;
  std::unique_ptr<parsers> parsers_;
  framing framing_ = framing::none;
  bool keep_alive_ = false;
  bool request_ = true;
  bool bad_ = false;      ///< the body is: where the next message begins nobody knows
  bool hurried_ = false;  ///< the stream's read_timeout() is ours
  std::optional<weft::deadline> until_;
  std::optional<std::uint64_t> length_;
  std::uint64_t left_ = 0;  ///< of the body, with a length
  std::uint64_t room_ = 0;  ///< what the limit leaves
};

}  // namespace http
