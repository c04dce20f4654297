#pragma once
// What fuzz targets share. A target is one function, `fuzz(input)`, that ends the program when something is wrong.
// Bytes are libFuzzer's or a file's of corpus/; replay.cpp runs a target without libFuzzer.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "weft/config.hpp"
#include "weft/simulation.hpp"

namespace weft::fuzz {

/// Ends the program with a message, for whoever looks at the crash.
inline void expect(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "weft: fuzz: this does not hold: %s\n", claim);
  std::abort();
}

/// Text lies in front and decisions at the end, taken from there: so a corpus can be written by hand, and a longer text
/// keeps its decisions.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size) noexcept : rest_(reinterpret_cast<const char*>(data), size) {}

  /// A decision, at most `most`; 0 when there are no more.
  std::size_t choose(std::size_t most) noexcept {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(rest_.back());
    rest_.remove_suffix(1);
    return byte % (most + 1);
  }
  /// The first n bytes, or as many as there are.
  std::string_view text(std::size_t n) noexcept {
    const auto first = rest_.substr(0, n);
    rest_.remove_prefix(first.size());
    return first;
  }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

 private:
  std::string_view rest_;
};

/// Runs body in a simulation. What it throws is something wrong, a deadlock above all.
inline void simulate(std::uint64_t seed, const std::function<void()>& body) {
  config small;
  small.loops = 1;
  small.cpu_workers = 1;
  small.blocking_threads = 1;
  try {
    sim::run(seed, body, small);
  } catch (const std::exception& e) {
    expect(false, e.what());
  }
}

}  // namespace weft::fuzz

/// The target's.
void fuzz(weft::fuzz::input in);
