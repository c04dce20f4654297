#pragma once
// A map with a bound, in which each entry has its time. For one thread.

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <weft/deadline.hpp>

template <class Value>
class expiring_map {
 public:
  explicit expiring_map(std::size_t most) : most_(most) {}

  struct entry {
    Value value;
    weft::deadline until;
  };

  /// Null when there is none, or when its time is up. Good until the next put(), erase() or sweep().
  entry* find(std::string_view key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return nullptr;
    if (!at->second.until.passed()) return &at->second;
    entries_.erase(at);
    return nullptr;
  }

  /// Takes the place of what was there. False when that was nothing, and the map is full.
  bool put(std::string_view key, Value value, weft::deadline until) {
    if (size() >= most_ && !find(key)) return false;
    entries_.insert_or_assign(std::string(key), entry{std::move(value), until});
    return true;
  }

  /// False when there was none.
  bool erase(std::string_view key) {
    if (!find(key)) return false;
    entries_.erase(entries_.find(key));
    return true;
  }

  /// Forgets all whose time is up.
  void sweep() {
    std::erase_if(entries_, [](const auto& e) { return e.second.until.passed(); });
  }

  /// With those whose time is up and whom nobody has asked for since.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  const std::size_t most_;
  std::map<std::string, entry, std::less<>> entries_;
};
