#include "weft/io/listener.hpp"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "weft/error.hpp"
#include "weft/loop.hpp"
#include "weft/waiter.hpp"

namespace weft::io {

listener::listener(std::unique_ptr<acceptor> source)
    : home_(weft::detail::require_loop()), open_(true), source_(std::move(source)) {}

listener::listener(listener&& other) noexcept { *this = std::move(other); }

listener& listener::operator=(listener&& other) noexcept {
  if (this == &other) return *this;
  check_idle("assigned to");
  other.check_idle("moved");
  home_ = other.home_;
  open_ = std::exchange(other.open_, false);
  source_ = std::move(other.source_);
  return *this;
}

listener::~listener() { check_idle("destroyed"); }

void listener::check_idle(const char* what) const noexcept {
  if (!accepting_) return;
  std::fprintf(stderr,
               "weft: a listener was %s while a fiber waits in its accept(); close() it and join the fiber first\n",
               what);
  std::abort();
}

void listener::check_loop() const {
  if (!source_ || weft::detail::this_loop_token() == home_) return;
  throw wrong_loop("a listener of " + weft::detail::describe_loop(home_) + " was used " +
                   (on_a_loop() ? "on loop " + std::to_string(this_loop()) : "off the loops"));
}

std::unique_ptr<transport> listener::accept_transport() {
  check_loop();
  if (accepting_) throw stream_busy("accept on", describe());
  struct turn {
    bool& busy;
    explicit turn(bool& b) noexcept : busy(b) { busy = true; }
    ~turn() { busy = false; }
  } const mine(accepting_);
  checkpoint();
  if (!open_) throw stream_closed("accept on", describe());
  return source_->accept();
}

void listener::close() {
  check_loop();
  open_ = false;
  if (source_) source_->close();
}

}  // namespace weft::io
