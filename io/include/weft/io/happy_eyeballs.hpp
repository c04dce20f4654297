#pragma once
// Which address of a name to connect to, when there are many and some do not answer: RFC 8305.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <deque>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/deadline.hpp"
#include "weft/io/endpoint.hpp"
#include "weft/io/error.hpp"
#include "weft/io/resolve.hpp"
#include "weft/task_group.hpp"
#include "weft/waiter.hpp"

namespace weft::io {

struct happy_eyeballs_options {
  std::chrono::nanoseconds attempt_delay = std::chrono::milliseconds(250);    ///< before the next address is tried, too
  std::chrono::nanoseconds resolution_delay = std::chrono::milliseconds(50);  ///< for the first family to be resolved
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);  ///< for all of it; then error with ETIMEDOUT
  address_family first = address_family::v6;                    ///< whose addresses are preferred
};

namespace detail {

/// What to try when. Belongs to one loop's fibers: one that asks for the next address, others that tell it what became
/// of lookups and attempts.
class attempt_plan {
 public:
  attempt_plan(std::string name, const happy_eyeballs_options& options);

  void resolved(address_family family, const std::vector<endpoint>& addresses);
  void unresolved(address_family family, std::exception_ptr problem);
  void failed(const endpoint& to, std::exception_ptr problem, const char* what);
  void won() noexcept;

  /// Waits until it is time to try the next address, and gives it; none once an attempt has won.
  /// Throws cancelled; error when all have failed, or the time is up.
  std::optional<endpoint> next();

 private:
  struct side {
    std::deque<endpoint> addresses;
    bool answered = false;
  };
  [[nodiscard]] side& of(address_family family) noexcept { return family == options_.first ? preferred_ : other_; }
  [[nodiscard]] bool has_more() const noexcept { return !preferred_.addresses.empty() || !other_.addresses.empty(); }
  endpoint take();
  void tell() noexcept;
  void wait(deadline until);
  [[noreturn]] void fail();
  [[nodiscard]] std::string tried() const;

  const std::string name_;
  const happy_eyeballs_options options_;
  const deadline give_up_;
  side preferred_;
  side other_;
  clock::time_point not_before_ = clock::time_point::min();
  bool preferred_is_next_ = true;
  std::size_t started_ = 0;
  std::size_t running_ = 0;
  bool won_ = false;
  std::exception_ptr lookup_problem_;
  std::exception_ptr last_problem_;
  std::vector<std::string> failures_;
  bool told_ = false;
  waker waiting_;
};

}  // namespace detail

/// Connects to whichever address answers first. `lookup(family)` gives the addresses of v6 and of v4, or throws error,
/// and `connect(endpoint)` gives a connection; both may wait, and are called at the same time, each in a fiber of the
/// caller's loop. Addresses of both families take turns, the preferred one's first. The next one is tried when an
/// attempt fails, or has not succeeded within attempt_delay; the first success wins. Connections that come second, and
/// attempts and lookups under way, are cancelled and have ended before it returns. `name` is for errors.
///
/// Suspends: always.
/// Cancel:   throws cancelled; lookups and attempts were cancelled and have ended.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   what the only attempt threw; for several, error with the last one's code, which tells what became of each;
///           what the lookup threw when there was no address to try; error with ETIMEDOUT. An exception of `connect`
///           that is no std::runtime_error ends it at once.
template <std::invocable<address_family> Lookup, std::invocable<const endpoint&> Connect>
std::invoke_result_t<Connect&, const endpoint&> happy_eyeballs(std::string name, Lookup lookup, Connect connect,
                                                               const happy_eyeballs_options& options = {}) {
  detail::attempt_plan plan(std::move(name), options);
  std::optional<std::invoke_result_t<Connect&, const endpoint&>> winner;
  with_group([&](task_group& all) {
    for (const auto family : {address_family::v6, address_family::v4})
      all.spawn({.name = "resolve"}, [&, family] {
        try {
          plan.resolved(family, lookup(family));
        } catch (const error&) {
          plan.unresolved(family, std::current_exception());
        }
      });
    while (const auto to = plan.next())
      all.spawn({.name = "connect"}, [&, to = *to] {
        try {
          auto made = connect(to);
          if (winner) return;
          winner.emplace(std::move(made));
          plan.won();
        } catch (const std::runtime_error& e) {
          plan.failed(to, std::current_exception(), e.what());
        }
      });
    all.cancel();
  });
  return std::move(*winner);
}

}  // namespace weft::io
