#pragma once
// A line for each request, in the combined format that log analysers read, and the seconds it took.
//
//   http::access_log log(STDOUT_FILENO);
//   http::server server(listener, routes, {.log = log.sink()});
//   server.run();
//   log.close();
//
// A loop only makes the line and queues it. A thread that may block writes, all that is there at once. A disk that is
// too slow costs lines, which are counted, and no request waits for it. So does a pipe that nobody reads any more, in a
// program that ignores SIGPIPE, and others end of it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http_kit/server.hpp"

namespace http {

/// `127.0.0.1 - - [28/Nov/2026:20:51:32 +0000] "GET / HTTP/1.1" 200 148 "-" "curl/7.88.1" 0.000213`, without an end.
/// What a client sent is made harmless: quotes, backslashes and what is not to be printed come as \xHH.
std::string combined_line(const access& done);

class access_log {
 public:
  /// Lines go to a descriptor, which stays the caller's, or to a function, which is called on a thread that may block.
  explicit access_log(int file, std::size_t lines_queued = 16 * 1024);
  explicit access_log(std::function<void(const std::string&)> write, std::size_t lines_queued = 16 * 1024);
  /// close(), if it was not called.
  ~access_log();
  access_log(const access_log&) = delete;
  access_log& operator=(const access_log&) = delete;

  /// For options::log. The log must outlive the server.
  [[nodiscard]] std::function<void(const access&)> sink();

  /// Writes what is queued, and no more.
  ///
  /// Suspends: always.
  /// Cancel:   not a cancellation point.
  /// Threads:  fibers, once.
  /// Ordering: none.
  void close();

  /// Lines that were not written, for the queue was full or the write failed.
  [[nodiscard]] std::uint64_t dropped() const noexcept;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace http
