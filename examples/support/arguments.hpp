#pragma once
// Options of a program: "--port 8080 --loops 2".

#include <charconv>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

/// The whole of `text` as a number; nothing when it is none, or too large for a T.
template <class T>
std::optional<T> number(std::string_view text) {
  T n{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, n);
  return error == std::errc() && stop == end ? std::optional(n) : std::nullopt;
}

class arguments {
 public:
  arguments(int count, char** values) {
    for (int i = 1; i < count; i += 2)
      given_[values[i]] = i + 1 < count ? std::optional<std::string>(values[i + 1]) : std::nullopt;
  }

  /// The number given for `name`, else `otherwise`. Throws std::invalid_argument when it is no such number.
  template <class T>
  T take(const std::string& name, T otherwise) {
    const auto given = take(name);
    if (!given) return otherwise;
    if (const auto n = number<T>(*given)) return *n;
    using limits = std::numeric_limits<T>;
    throw std::invalid_argument(name + " " + *given + ": it takes a number from " + std::to_string(limits::min()) +
                                " to " + std::to_string(limits::max()));
  }
  /// The same for a time, in milliseconds, which is not 0: that would be none at all, not one without end.
  std::chrono::milliseconds take(const std::string& name, std::chrono::milliseconds otherwise) {
    const auto n = take(name, static_cast<std::uint32_t>(otherwise.count()));
    if (n == 0) throw std::invalid_argument(name + " 0: it takes a number of milliseconds, at least 1");
    return std::chrono::milliseconds(n);
  }
  std::string take(const std::string& name, const std::string& otherwise) { return take(name).value_or(otherwise); }

  /// Throws std::invalid_argument when something was given that nobody took.
  void finish() const {
    if (!given_.empty())
      throw std::invalid_argument("unknown option " + given_.begin()->first + "; there are:" + known_);
  }

 private:
  std::optional<std::string> take(const std::string& name) {
    known_ += " " + name;
    const auto given = given_.extract(name);
    if (given.empty()) return std::nullopt;
    if (!given.mapped()) throw std::invalid_argument(name + " what? It takes a value");
    return given.mapped();
  }

  std::map<std::string, std::optional<std::string>> given_;
  std::string known_;
};
