#pragma once
// For how long a loop looks out for mail before it sleeps.
//
// To be woken costs tens of microseconds, on both sides. So where messages of other threads have come soon after it
// fell asleep, a loop first looks out for the next for about as long as that would cost (Karlin et al., Competitive
// randomized algorithms for non-uniform problems, 1990: at most twice the best that could be done). It halves that each
// time in vain, and then looks out again ever more rarely. (executor/notes/looking_out.md)

#include <chrono>

namespace weft::detail {

class outlook {
 public:
  using duration = std::chrono::nanoseconds;
  static constexpr duration longest{50'000};
  static constexpr duration shortest{2'000};
  static constexpr unsigned longest_patience = 1024;

  /// `ever`: with one usable core nobody looks out, for then the other side could not run.
  explicit outlook(bool ever) noexcept : ever_(ever) {}

  /// Zero: it sleeps at once.
  [[nodiscard]] duration length() const noexcept { return length_; }

  /// A look has ended with mail.
  void found() noexcept {
    length_ = longest;
    patience_ = 1;
  }

  /// A look has lasted its length. The sleep that follows was not worth one, however short it is.
  void in_vain() noexcept {
    length_ = length_ / 2 < shortest ? duration(0) : length_ / 2;
    if (length_.count() == 0 && patience_ < longest_patience) patience_ *= 2;
    looked_ = true;
  }

  /// Whether the next sleep must be timed.
  [[nodiscard]] bool learns() const noexcept { return ever_ && mail_before_ && !looked_; }

  /// A sleep has ended; `lasted` is heeded if learns() was true.
  void slept(bool by_mail, duration lasted) noexcept {
    if (by_mail && learns() && lasted < 2 * longest && ++short_sleeps_ >= patience_) {
      short_sleeps_ = 0;
      length_ = longest;
    }
    mail_before_ = by_mail;
    looked_ = false;
  }

 private:
  duration length_{0};
  unsigned patience_ = 1;  // how many short sleeps it waits for before it looks out again
  unsigned short_sleeps_ = 0;
  const bool ever_;
  bool mail_before_ = false;  // the last sleep was ended by mail
  bool looked_ = false;       // the last look was in vain, and no sleep has ended since
};

}  // namespace weft::detail
