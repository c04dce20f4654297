#include "http_kit/request.hpp"

#include <weft/this_fiber.hpp>

#include <algorithm>
#include <stdexcept>

namespace http {

const std::string& request::parameter(std::string_view name) const {
  for (const auto& [known, value] : parameters)
    if (known == name) return value;
  throw std::out_of_range("the route has no parameter \"" + std::string(name) + "\"");
}

const std::string& request::body() {
  if (body_) return *body_;
  std::string all;
  constexpr std::uint64_t most_at_once = 64 * 1024;  // what a client announces is not yet there
  for (std::size_t size = 0;;) {
    const std::uint64_t expected = length().value_or(0);
    all.resize(size + std::clamp<std::uint64_t>(expected > size ? expected - size : 0, 512, most_at_once));
    const std::size_t n = read_some(std::span(all).subspan(size));
    size += n;
    if (n > 0) continue;
    all.resize(size);
    return body_.emplace(std::move(all));
  }
}

void request::wait_until_gone() {
  if (source_) return source_->wait_until_gone();
  for (;;) weft::sleep_for(std::chrono::hours(1));  // a test's: nobody there can go
}

void request::begin(body_source* source) noexcept {
  source_ = source;
  body_.reset();
  body_begun_ = false;
  parameters.clear();
}

void request::set_body(std::string text) {
  source_ = nullptr;
  body_begun_ = false;
  body_ = std::move(text);
}

}  // namespace http
