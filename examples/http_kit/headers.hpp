#pragma once
// The fields of a message's header.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace http {

/// Equal but for case, in ASCII: as names and most tokens of HTTP are compared.
bool equal_names(std::string_view a, std::string_view b) noexcept;
/// What names of fields and methods are (RFC 9110, 5.6.2).
bool is_token(std::string_view text) noexcept;

/// In the order they came, with names as they were written. They are kept as the text that is sent, in one string:
/// views that they give are good until the next change.
class headers {
 public:
  struct field {
    std::string_view name;
    std::string_view value;
  };

  /// The first with that name.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept;
  [[nodiscard]] bool has(std::string_view name) const noexcept { return find(name, 0) != npos; }
  [[nodiscard]] std::size_t count(std::string_view name) const noexcept;
  /// Whether a field of that name lists this among its values, which commas part: `lists("Connection", "upgrade")`.
  [[nodiscard]] bool lists(std::string_view name, std::string_view what) const noexcept;

  /// Adds one more. Throws std::invalid_argument for what is no name, or no value in a single line.
  void add(std::string_view name, std::string_view value);
  /// Takes the place of all of that name.
  void set(std::string_view name, std::string_view value);
  void erase(std::string_view name);
  void clear() noexcept;
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  /// As they are sent: each a line that ends with "\r\n".
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  /// For parsers, which have checked it.
  void add_parsed(std::string_view name, std::string_view value);

  class iterator {
   public:
    using value_type = field;
    using reference = field;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    iterator(const headers& of, std::size_t at) noexcept : of_(&of), at_(at) {}
    field operator*() const noexcept { return of_->at(at_); }
    iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_ == b.at_; }

   private:
    const headers* of_;
    std::size_t at_;
  };
  [[nodiscard]] iterator begin() const noexcept { return {*this, 0}; }
  [[nodiscard]] iterator end() const noexcept { return {*this, entries_.size()}; }

 private:
  struct entry {  // "name: value\r\n" begins at `at`
    std::uint32_t at;
    std::uint32_t name;
    std::uint32_t value;
  };
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

  [[nodiscard]] field at(std::size_t i) const noexcept {
    const entry& e = entries_[i];
    const std::string_view text = text_;
    return {text.substr(e.at, e.name), text.substr(e.at + e.name + 2, e.value)};
  }
  [[nodiscard]] std::size_t find(std::string_view name, std::size_t from) const noexcept;

  std::string text_;
  std::vector<entry> entries_;
};

/// Calls f with each value of a list that commas part, without the spaces around it.
template <class F>
void for_each_of_list(std::string_view list, F&& f) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view one = list.substr(0, comma);
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) one.remove_prefix(1);
    while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) one.remove_suffix(1);
    if (!one.empty()) f(one);
  }
}

}  // namespace http
