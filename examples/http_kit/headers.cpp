#include "http_kit/headers.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace http {

namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_one_line(std::string_view text) noexcept {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

}  // namespace

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool equal_names(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return x == y || lower(x) == lower(y); });
}

std::size_t headers::find(std::string_view name, std::size_t from) const noexcept {
  for (; from < entries_.size(); ++from)
    if (entries_[from].name == name.size() && equal_names(at(from).name, name)) return from;
  return npos;
}

std::optional<std::string_view> headers::get(std::string_view name) const noexcept {
  const std::size_t i = find(name, 0);
  return i == npos ? std::nullopt : std::optional(at(i).value);
}

std::size_t headers::count(std::string_view name) const noexcept {
  std::size_t n = 0;
  for (std::size_t i = find(name, 0); i != npos; i = find(name, i + 1)) ++n;
  return n;
}

bool headers::lists(std::string_view name, std::string_view what) const noexcept {
  bool found = false;
  for (std::size_t i = find(name, 0); i != npos && !found; i = find(name, i + 1))
    for_each_of_list(at(i).value, [&](std::string_view one) { found = found || equal_names(one, what); });
  return found;
}

void headers::add(std::string_view name, std::string_view value) {
  if (!is_token(name)) throw std::invalid_argument("no name of a field: \"" + std::string(name) + "\"");
  if (!is_one_line(value)) throw std::invalid_argument("no value of the field " + std::string(name) + ": not a line");
  add_parsed(name, value);
}

void headers::add_parsed(std::string_view name, std::string_view value) {
  if (name.size() + value.size() + text_.size() > std::numeric_limits<std::uint32_t>::max() / 2)
    throw std::length_error("a header of 2 GiB");
  if (text_.empty()) {
    text_.reserve(256);
    entries_.reserve(8);
  }
  entries_.push_back({static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(value.size())});
  text_.append(name).append(": ").append(value).append("\r\n");
}

void headers::set(std::string_view name, std::string_view value) {
  if (!has(name)) return add(name, value);
  const std::string own_name(name);  // as in erase()
  const std::string own_value(value);
  erase(name);
  add(own_name, own_value);
}

void headers::erase(std::string_view name) {
  const std::string own_name(name);  // it may be a view of what is erased
  for (std::size_t i = find(own_name, 0); i != npos; i = find(own_name, i)) {
    const entry gone = entries_[i];
    const std::uint32_t size = gone.name + 2 + gone.value + 2;
    text_.erase(gone.at, size);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(i));
    for (std::size_t later = i; later < entries_.size(); ++later) entries_[later].at -= size;
  }
}

void headers::clear() noexcept {
  text_.clear();
  entries_.clear();
}

}  // namespace http
