#pragma once
// What can go wrong on a stream. Three different things end one, and they have three different types:
//   end_of_stream   they ended it properly, before the operation had what it wanted;
//   stream_closed   you closed it;
//   error           they, or the network, broke it: a system code.

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace weft::io {

/// A system call failed: which operation, on what, and how many bytes it had moved before.
class error : public std::system_error {
 public:
  /// `advice`, if there is any, says what to do about it.
  error(std::error_code code, std::string_view operation, std::string_view peer, std::size_t bytes = 0,
        std::string_view advice = {});

  [[nodiscard]] const std::string& operation() const noexcept { return operation_; }
  /// The other side, or what was to be bound.
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  /// So many bytes more had been moved: for an operation that is made of several, and passes the exception on as it is.
  void add_bytes(std::size_t more);

 private:
  std::string operation_;
  std::string peer_;
  std::size_t bytes_;
  std::string text_;
};

/// The other side ended the stream before a read had all it was to read. What had come stays in the stream.
class end_of_stream : public std::runtime_error {
 public:
  end_of_stream(std::string_view operation, std::string_view peer, std::size_t bytes);
  /// How many bytes had come.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_;
};

/// The stream or listener was closed on this side: before the operation, or by another fiber while it waited.
class stream_closed : public std::runtime_error {
 public:
  stream_closed(std::string_view operation, std::string_view peer);
};

/// No delimiter among the first `limit` bytes. They stay in the stream.
class line_too_long : public std::runtime_error {
 public:
  line_too_long(std::string_view peer, std::size_t limit);
  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }

 private:
  std::size_t limit_;
};

/// Two fibers read, or write, or accept, at once: their bytes would be mixed at random.
class stream_busy : public std::logic_error {
 public:
  stream_busy(std::string_view operation, std::string_view peer);
};

}  // namespace weft::io
