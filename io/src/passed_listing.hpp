#pragma once
// What the variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES tell of descriptors: sd_listen_fds(3).

#include <sys/types.h>

#include <string>
#include <string_view>

namespace weft::io::detail {

/// The descriptors that process `self` was passed, one after the other. None when a variable is unset (null) that must
/// not be, is no number, or means another process.
class passed_listing {
 public:
  passed_listing(const char* pid, const char* count, const char* names, ::pid_t self) noexcept;

  [[nodiscard]] bool has_next() const noexcept { return left_ > 0; }
  /// Its name; empty when there is none. Only if has_next().
  std::string next();

 private:
  int left_ = 0;
  std::string_view names_;
};

}  // namespace weft::io::detail
