#pragma once
// Files as responses: conditions (RFC 9110, 13), a range of bytes (14), and the file by sendfile(2).

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include <weft/io/unique_fd.hpp>

#include "http_kit/request.hpp"
#include "http_kit/response.hpp"

namespace http {

/// Answers GET and HEAD with a regular file: all of it, the one range that is asked for, or 304, 412 or 416. Its tag is
/// made of its size and the time of its last change. Several ranges at once are answered with all of it, as they may
/// be.
///
/// Suspends: never.
/// Cancel:   not a cancellation point.
/// Threads:  any.
/// Ordering: none.
/// Throws:   error 404 when it is no regular file; weft::io::error.
response file(const request& r, weft::io::unique_fd opened, std::string_view type);

/// Opens it for reading, on a thread that may block.
///
/// Suspends: always.
/// Cancel:   throws cancelled; nothing is left open.
/// Threads:  any agent.
/// Ordering: none.
/// Throws:   error 404 or 403; weft::io::error.
weft::io::unique_fd open_file(const std::string& path);

/// The type that a name's ending stands for; "application/octet-stream" for one that is not known.
std::string_view type_of(std::string_view name) noexcept;

/// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::time_t when);
std::optional<std::time_t> parse_http_date(std::string_view text);

}  // namespace http
