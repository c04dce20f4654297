#pragma once
// The real driver: a standalone Asio io_context, used from the loop's thread only, wake-ups apart.

#include <asio/basic_waitable_timer.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <chrono>

#include "driver.hpp"

namespace weft::detail {

class asio_driver final : public driver {
 public:
  asio_driver();

  bool poll(clock::time_point until) override;
  void wake() noexcept override;
  [[nodiscard]] clock::time_point now() const noexcept override;
  [[nodiscard]] asio::io_context& context() override { return context_; }
  void set_poller(poller* p) noexcept override { poller_ = p; }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::basic_waitable_timer<std::chrono::steady_clock> timer_;
  poller* poller_ = nullptr;
  unsigned skipped_ = 0;  // polls in a row that left Asio out
  clock::time_point armed_ = clock::time_point::max();
};

}  // namespace weft::detail
