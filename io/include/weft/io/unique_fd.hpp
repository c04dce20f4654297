#pragma once
// A descriptor that has an owner.

#include <utility>

namespace weft::io {

/// Closes the descriptor that it holds, if it holds one. Any thread.
class unique_fd {
 public:
  /// None.
  unique_fd() noexcept = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    unique_fd(std::move(other)).swap(*this);
    return *this;
  }
  ~unique_fd();

  void swap(unique_fd& other) noexcept { std::swap(fd_, other.fd_); }
  /// -1 for none.
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace weft::io
