#pragma once
// What a request asks for: "/files/a%20b?size=3" (RFC 3986, RFC 9112, 3.2).

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace http {

/// Text with its percent signs decoded. None when one is not followed by two hexadecimal digits, or for a zero byte.
std::optional<std::string> decode(std::string_view text, bool plus_is_space = false);

/// "/a" of "/a?b=c" and of "http://host/a?b=c", as sent. "/" when there is none; "*" of "*".
std::string_view path_of(std::string_view target) noexcept;
/// "b=c" of "/a?b=c", as sent.
std::string_view query_of(std::string_view target) noexcept;
/// The value of the first `name=value` of a query, both decoded; none when there is none, or not to be decoded.
std::optional<std::string> value_in(std::string_view query, std::string_view name);

/// The whole of `text` as a decimal number; none when it is none, or too large for a T.
template <class T>
std::optional<T> number_in(std::string_view text) {
  T n{};
  const char* const end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, n);
  return problem == std::errc() && stop == end ? std::optional(n) : std::nullopt;
}

}  // namespace http
