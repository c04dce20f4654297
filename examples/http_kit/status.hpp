#pragma once
// Status codes (RFC 9110, 15), and the exception that answers with one.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "http_kit/headers.hpp"

namespace http {

/// Any number from 100 to 999 may be cast to it.
enum class status : std::uint16_t {
  continue_ = 100,
  switching_protocols = 101,
  ok = 200,
  created = 201,
  accepted = 202,
  no_content = 204,
  partial_content = 206,
  moved_permanently = 301,
  found = 302,
  see_other = 303,
  not_modified = 304,
  temporary_redirect = 307,
  permanent_redirect = 308,
  bad_request = 400,
  unauthorized = 401,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  not_acceptable = 406,
  request_timeout = 408,
  conflict = 409,
  gone = 410,
  length_required = 411,
  precondition_failed = 412,
  content_too_large = 413,
  uri_too_long = 414,
  unsupported_media_type = 415,
  range_not_satisfiable = 416,
  expectation_failed = 417,
  unprocessable_content = 422,
  upgrade_required = 426,
  too_many_requests = 429,
  header_fields_too_large = 431,
  internal_server_error = 500,
  not_implemented = 501,
  bad_gateway = 502,
  service_unavailable = 503,
  gateway_timeout = 504,
  version_not_supported = 505,
};

constexpr unsigned number(status s) noexcept { return static_cast<unsigned>(s); }
/// "Not Found"; empty for one that has no name here.
std::string_view reason(status s) noexcept;

/// 499, as nginx logs it: the client did not wait for its answer.
inline constexpr auto client_gone = static_cast<status>(499);

/// Thrown by a handler, it is the answer: the status, and what() as a line of text.
class error : public std::runtime_error {
 public:
  error(status code, const std::string& why) : std::runtime_error(why), code_(code) {}
  [[nodiscard]] status code() const noexcept { return code_; }

  /// Fields of the answer: throw error(status::service_unavailable, "busy").with("Retry-After", "1")
  error& with(std::string_view name, std::string_view value) & {
    fields_.set(name, value);
    return *this;
  }
  error&& with(std::string_view name, std::string_view value) && { return std::move(with(name, value)); }
  [[nodiscard]] const headers& fields() const noexcept { return fields_; }

 private:
  status code_;
  headers fields_;
};

}  // namespace http
