#pragma once
// The driver of a simulated loop: time that is told, and no world.

#include <stdexcept>

#include "driver.hpp"

namespace weft::detail {

class sim_driver final : public driver {
 public:
  explicit sim_driver(const clock::time_point& now) noexcept : now_(now) {}

  bool poll(clock::time_point) override { return false; }
  void wake() noexcept override {}
  [[nodiscard]] clock::time_point now() const noexcept override { return now_; }
  [[nodiscard]] asio::io_context& context() override {
    throw std::logic_error("real IO in a simulation: sim::run has no sockets or descriptors; use memory streams");
  }

 private:
  const clock::time_point& now_;
};

}  // namespace weft::detail
