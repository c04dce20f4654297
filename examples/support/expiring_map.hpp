#pragma once
// A map with bounds, in which each entry has its time. For one thread.

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <weft/deadline.hpp>

/// `Value` has a size(), in bytes.
template <class Value>
class expiring_map {
 public:
  struct bounds {
    std::size_t entries;
    std::size_t bytes;  ///< of keys and values; each entry takes 100 to 170 more
  };
  struct entry {
    Value value;
    weft::deadline until;
  };

  explicit expiring_map(bounds most) : most_(most) {}

  /// Null when there is none, or when its time is up. Good until the next put(), erase() or sweep().
  const entry* find(std::string_view key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return nullptr;
    if (!at->second.until.passed()) return &at->second;
    remove(at);
    return nullptr;
  }

  /// Takes the place of what was there. False, and all is as it was, when there is no room for it.
  bool put(std::string_view key, Value value, weft::deadline until) {
    const std::size_t size = key.size() + value.size();
    auto there = entries_.find(key);
    const auto has_room = [&] {
      const bool is_new = there == entries_.end();
      const std::size_t others = bytes_ - (is_new ? 0 : bytes_of(*there));
      return (!is_new || entries_.size() < most_.entries) && others <= most_.bytes && size <= most_.bytes - others;
    };
    while (!has_room()) {  // but for what has had its time?
      if (sweep(1) == 0) return false;
      there = entries_.find(key);
    }
    if (there != entries_.end()) remove(there);
    const auto at = entries_.emplace(std::string(key), entry{std::move(value), until}).first;
    bytes_ += size;
    if (!until.is_never()) ends_.emplace(until, &at->first);
    return true;
  }

  /// False when there was none.
  bool erase(std::string_view key) {
    if (!find(key)) return false;
    remove(entries_.find(key));
    return true;
  }

  /// Forgets those whose time is up, `most` of them. Gives how many.
  std::size_t sweep(std::size_t most) {
    std::size_t n = 0;
    for (; n < most && !ends_.empty() && ends_.begin()->first.passed(); ++n)
      remove(entries_.find(*ends_.begin()->second));
    return n;
  }

  // With those whose time is up and whom nobody has asked for since.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  using map = std::map<std::string, entry, std::less<>>;

  static std::size_t bytes_of(const typename map::value_type& e) { return e.first.size() + e.second.value.size(); }
  void remove(typename map::iterator at) {
    bytes_ -= bytes_of(*at);
    if (!at->second.until.is_never()) ends_.erase({at->second.until, &at->first});
    entries_.erase(at);
  }

  const bounds most_;
  map entries_;
  std::size_t bytes_ = 0;
  std::set<std::pair<weft::deadline, const std::string*>> ends_;  ///< keys of the entries that end, by when
};
