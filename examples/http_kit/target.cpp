#include "http_kit/target.hpp"

namespace http {

namespace {

int digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "/a?b=c" of "http://host/a?b=c": what proxies are sent (RFC 9112, 3.2.2).
std::string_view without_origin(std::string_view target) noexcept {
  if (target.empty() || target[0] == '/' || target == "*") return target;
  const std::size_t origin = target.find("://");
  if (origin == std::string_view::npos) return target;
  const std::size_t end = target.find_first_of("/?", origin + 3);
  return end == std::string_view::npos ? std::string_view() : target.substr(end);
}

}  // namespace

std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const int high = digit(text[i + 1]);
      const int low = digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return std::nullopt;
    plain += c;
  }
  return plain;
}

std::string_view path_of(std::string_view target) noexcept {
  const std::string_view rest = without_origin(target);
  const std::string_view path = rest.substr(0, rest.find_first_of("?#"));
  return path.empty() ? "/" : path;
}

std::string_view query_of(std::string_view target) noexcept {
  const std::string_view rest = without_origin(target);
  const std::size_t mark = rest.find('?');
  if (mark == std::string_view::npos) return {};
  const std::string_view query = rest.substr(mark + 1);
  return query.substr(0, query.find('#'));
}

std::optional<std::string> value_in(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(pair.size() < query.size() ? pair.size() + 1 : pair.size());
    const std::string_view key = pair.substr(0, pair.find('='));
    // The usual key is plain, and is compared as it is.
    if (key.find_first_of("%+") == std::string_view::npos ? key != name : decode(key, true) != name) continue;
    return decode(pair.substr(pair.size() > key.size() ? key.size() + 1 : key.size()), true);
  }
  return std::nullopt;
}

}  // namespace http
