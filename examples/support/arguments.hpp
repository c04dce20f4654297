#pragma once
// Options of a program: "--port 8080 --loops 2".

#include <charconv>
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
    for (int i = 1; i < count; i += 2) {
      if (i + 1 == count) throw std::invalid_argument(values[i] + std::string(" what? It takes a value"));
      given_[values[i]] = values[i + 1];
    }
  }

  /// The number given for `name`, else `otherwise`. Throws std::invalid_argument when it is no such number.
  template <class T>
  T take(const std::string& name, T otherwise) {
    const auto given = given_.extract(name);
    if (given.empty()) return otherwise;
    if (const auto n = number<T>(given.mapped())) return *n;
    throw std::invalid_argument(name + " " + given.mapped() + ": not a number that can be");
  }

  std::string take(const std::string& name, const std::string& otherwise) {
    const auto given = given_.extract(name);
    return given.empty() ? otherwise : given.mapped();
  }

  /// Throws std::invalid_argument when something was given that nobody took.
  void finish() const {
    if (!given_.empty()) throw std::invalid_argument("unknown option " + given_.begin()->first);
  }

 private:
  std::map<std::string, std::string> given_;
};
