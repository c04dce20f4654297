#include "http_kit/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <system_error>
#include <utility>

#include <weft/blocking_pool.hpp>
#include <weft/io/error.hpp>
#include <weft/spawn.hpp>

namespace http {

namespace {

[[noreturn]] void fail(const char* what, const std::string& whom) {
  throw weft::io::error(std::error_code(errno, std::system_category()), what, whom);
}

/// Whether a list of tags names this one. Ours are strong; a weak one names it where weak is enough.
bool names(std::string_view list, std::string_view tag, bool weak_is_enough) {
  bool found = list == "*";
  for_each_of_list(list, [&](std::string_view one) {
    if (weak_is_enough && one.starts_with("W/")) one.remove_prefix(2);
    found = found || one == tag;
  });
  return found;
}

bool changed_since(std::string_view date, std::time_t modified) {
  const auto then = parse_http_date(date);
  return !then || modified > *then;
}

/// RFC 9110, 13.2.2.
std::optional<status> condition_of(const request& r, std::string_view tag, std::time_t modified) {
  if (const auto match = r.field("If-Match")) {
    if (!names(*match, tag, false)) return status::precondition_failed;
  } else if (const auto since = r.field("If-Unmodified-Since"); since && parse_http_date(*since)) {
    if (changed_since(*since, modified)) return status::precondition_failed;
  }
  if (const auto none = r.field("If-None-Match")) {
    if (names(*none, tag, true)) return status::not_modified;
  } else if (const auto since = r.field("If-Modified-Since"); since && !changed_since(*since, modified)) {
    return status::not_modified;
  }
  return std::nullopt;
}

struct range {
  std::uint64_t first = 0;
  std::uint64_t size = 0;  ///< 0: there are no such bytes
};

/// "bytes=0-99", "bytes=100-", "bytes=-100". None for what is no range, or several: all is sent.
std::optional<range> range_of(std::string_view text, std::uint64_t size) {
  if (!text.starts_with("bytes=")) return std::nullopt;
  text.remove_prefix(6);
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view from = text.substr(0, dash);
  const std::string_view to = text.substr(dash + 1);
  const auto first = number_in<std::uint64_t>(from);
  const auto last = number_in<std::uint64_t>(to);
  if ((!first && !from.empty()) || (!last && !to.empty()) || (!first && !last)) return std::nullopt;
  if (!first) {
    const std::uint64_t count = std::min(*last, size);
    return range{size - count, count};
  }
  if (last && *last < *first) return std::nullopt;
  if (*first >= size) return range{};
  return range{*first, std::min(last.value_or(size), size - 1) - *first + 1};
}

}  // namespace

std::string http_date(std::time_t when) {
  std::tm utc{};
  gmtime_r(&when, &utc);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

std::optional<std::time_t> parse_http_date(std::string_view text) {
  const std::string whole(text);
  std::tm utc{};
  const char* end = strptime(whole.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  if (!end || *end != '\0') return std::nullopt;
  return timegm(&utc);
}

std::string_view type_of(std::string_view name) noexcept {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 20> types{{
      {".html", "text/html; charset=utf-8"},
      {".htm", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".mjs", "text/javascript; charset=utf-8"},
      {".json", "application/json"},
      {".txt", "text/plain; charset=utf-8"},
      {".md", "text/markdown; charset=utf-8"},
      {".csv", "text/csv; charset=utf-8"},
      {".xml", "application/xml"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},
      {".webp", "image/webp"},
      {".ico", "image/vnd.microsoft.icon"},
      {".pdf", "application/pdf"},
      {".wasm", "application/wasm"},
      {".mp4", "video/mp4"},
  }};
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos)
    for (const auto& [ending, type] : types)
      if (equal_names(ending, name.substr(dot))) return type;
  return "application/octet-stream";
}

weft::io::unique_fd open_file(const std::string& path) {
  auto opening = weft::spawn_blocking([path] {
    weft::io::unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    return std::pair(std::move(file), errno);
  });
  auto [file, code] = std::move(opening).get();
  if (file) return std::move(file);
  if (code == ENOENT || code == ENOTDIR || code == ENAMETOOLONG || code == ELOOP)
    throw error(status::not_found, "no such file");
  if (code == EACCES) throw error(status::forbidden, "this file is not to be read");
  errno = code;
  fail("open", path);
}

response file(const request& r, weft::io::unique_fd opened, std::string_view type) {
  struct ::stat facts {};
  if (::fstat(opened.get(), &facts) != 0) fail("look at", "a file");
  if (!S_ISREG(facts.st_mode)) throw error(status::not_found, "no such file");
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  char tag[64];
  std::snprintf(tag, sizeof tag, "\"%llx-%llx-%lx\"", static_cast<unsigned long long>(size),
                static_cast<unsigned long long>(facts.st_mtim.tv_sec),
                static_cast<unsigned long>(facts.st_mtim.tv_nsec));

  response answer;
  answer.fields.add("ETag", tag);
  answer.fields.add("Last-Modified", http_date(facts.st_mtim.tv_sec));
  if (const auto instead = condition_of(r, tag, facts.st_mtim.tv_sec)) {
    answer.code = *instead;
    return answer;
  }
  answer.fields.add("Accept-Ranges", "bytes");
  answer.fields.add("Content-Type", type);
  range part{0, size};
  const auto wanted = r.field("Range");
  // A date does for If-Range only when it is exactly this one (13.1.5).
  const auto if_range = r.field("If-Range");
  const bool same = !if_range || *if_range == tag || *if_range == http_date(facts.st_mtim.tv_sec);
  if (wanted && same && r.method == "GET") {
    if (const auto asked = range_of(*wanted, size)) {
      if (asked->size == 0)
        throw error(status::range_not_satisfiable, "there are no such bytes")
            .with("Content-Range", "bytes */" + std::to_string(size));
      part = *asked;
      answer.code = status::partial_content;
      answer.fields.add("Content-Range", "bytes " + std::to_string(part.first) + "-" +
                                             std::to_string(part.first + part.size - 1) + "/" + std::to_string(size));
    }
  }
  answer.length = part.size;
  answer.stream = [file = std::move(opened), part](body_writer& to) {
    to.write_file(file.get(), part.first, part.size);
  };
  return answer;
}

}  // namespace http
