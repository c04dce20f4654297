#include "weft/io/happy_eyeballs.hpp"

#include <algorithm>
#include <cerrno>

#include "weft/cancel.hpp"

namespace weft::io::detail {

attempt_plan::attempt_plan(std::string name, const happy_eyeballs_options& options)
    : name_(std::move(name)),
      options_(options),
      give_up_(options.timeout == std::chrono::nanoseconds::max() ? deadline::never()
                                                                  : deadline::after(options.timeout)) {
  if (options.first == address_family::any)
    throw std::invalid_argument("happy_eyeballs_options.first: one of the families");
}

void attempt_plan::resolved(address_family family, const std::vector<endpoint>& addresses) {
  side& s = of(family);
  s.addresses.assign(addresses.begin(), addresses.end());
  s.answered = true;
  // The preferred family gets a little longer to be there first (RFC 8305, 3).
  if (started_ == 0 && &s == &other_ && !preferred_.answered)
    not_before_ = clock::now() + options_.resolution_delay;
  else if (started_ == 0)
    not_before_ = clock::time_point::min();
  tell();
}

void attempt_plan::unresolved(address_family family, std::exception_ptr problem) {
  of(family).answered = true;
  if (started_ == 0 && family == options_.first) not_before_ = clock::time_point::min();
  if (!lookup_problem_ || family == options_.first) lookup_problem_ = std::move(problem);
  tell();
}

void attempt_plan::failed(const endpoint& to, std::exception_ptr problem, const char* what) {
  --running_;
  last_problem_ = std::move(problem);
  failures_.push_back(to_string(to) + " (" + what + ")");
  not_before_ = clock::time_point::min();
  tell();
}

void attempt_plan::won() noexcept {
  won_ = true;
  tell();
}

endpoint attempt_plan::take() {
  side& wanted = preferred_is_next_ ? preferred_ : other_;
  side& from = wanted.addresses.empty() ? (preferred_is_next_ ? other_ : preferred_) : wanted;
  preferred_is_next_ = &from == &other_;
  const endpoint e = from.addresses.front();
  from.addresses.pop_front();
  return e;
}

std::optional<endpoint> attempt_plan::next() {
  for (;;) {
    if (won_) return {};
    if (give_up_.passed())
      throw error(std::error_code(ETIMEDOUT, std::system_category()), "connect to", name_, 0, tried());
    deadline until = give_up_;
    if (has_more()) {
      if (not_before_ <= clock::now()) {
        not_before_ = deadline::after(options_.attempt_delay).when();
        ++started_;
        ++running_;
        return take();
      }
      until = std::min(until, deadline(not_before_));
    } else if (running_ == 0 && preferred_.answered && other_.answered) {
      fail();
    }
    wait(until);
  }
}

void attempt_plan::fail() {
  if (!last_problem_ && lookup_problem_) std::rethrow_exception(lookup_problem_);
  if (!last_problem_)
    throw error(std::error_code(EADDRNOTAVAIL, std::system_category()), "connect to", name_, 0, "no address was given");
  if (failures_.size() == 1) std::rethrow_exception(last_problem_);
  try {
    std::rethrow_exception(last_problem_);
  } catch (const error& e) {
    throw error(e.code(), "connect to", name_, 0, tried());
  }
}

std::string attempt_plan::tried() const {
  std::string text;
  for (const auto& f : failures_) text += (text.empty() ? "tried " : ", ") + f;
  if (running_ > 0) text += (text.empty() ? "" : "; ") + std::to_string(running_) + " attempts had no answer yet";
  return text;
}

void attempt_plan::tell() noexcept {
  told_ = true;
  std::exchange(waiting_, {}).wake();
}

void attempt_plan::wait(deadline until) {
  auto how = wake_reason::woken;
  if (!told_) {
    waiter w(wait_kind::io, this);
    waiting_ = w.handle();
    how = w.suspend(until);
    waiting_ = {};
  }
  told_ = false;
  if (how == wake_reason::cancelled) check_cancelled();
}

}  // namespace weft::io::detail
