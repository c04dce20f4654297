#pragma once
// What a load generator prints: one line of JSON.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace bench {

/// The value that the share `q` of the sorted `values` does not exceed; 0 for none.
inline double quantile(const std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

class report {
 public:
  void add(const char* name, double value) { line_ += separator() + quoted(name) + ": " + number(value); }

  /// Latencies in microseconds: "p50_us" and its like, and the curve "latency_us" for a picture.
  void add_latencies(std::vector<double> microseconds) {
    std::sort(microseconds.begin(), microseconds.end());
    add("p50_us", quantile(microseconds, 0.5));
    add("p99_us", quantile(microseconds, 0.99));
    add("p999_us", quantile(microseconds, 0.999));
    line_ += separator() + "\"latency_us\": [";
    // Even steps in the number of nines: 0, 0.2, ... 3 nines.
    for (int i = 0; i <= 15; ++i) {
      const double q = 1 - std::pow(10.0, -0.2 * i);
      line_ += (i == 0 ? "[" : ", [") + number(q) + ", " + number(quantile(microseconds, q)) + "]";
    }
    line_ += "]";
  }

  void print() const { std::printf("{%s}\n", line_.c_str()); }

 private:
  static std::string quoted(const char* name) { return std::string("\"") + name + "\""; }
  static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
  }
  [[nodiscard]] std::string separator() const { return line_.empty() ? "" : ", "; }

  std::string line_;
};

}  // namespace bench
