#pragma once
// Names to addresses.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weft/io/endpoint.hpp"

namespace weft::io {

enum class address_family : std::uint8_t { any, v4, v6 };

/// getaddrinfo(3) tells of no time to live, so how long an answer is good for is the program's choice.
struct resolver_options {
  std::chrono::nanoseconds positive_ttl = std::chrono::seconds(30);  ///< of addresses; 0: they are not kept
  std::chrono::nanoseconds negative_ttl = std::chrono::seconds(2);   ///< of "there is no such name"; 0: not kept
  std::size_t max_entries = 1000;  ///< answers that are kept; the one that was not used for longest goes first
  std::size_t max_lookups = 1000;  ///< names that are looked up at a time; beyond it EAI_AGAIN
};

/// Looks names up on threads that may block, remembers the answers for a while, and lets those who ask the same at the
/// same time share one lookup. Failures other than "no such name" are not remembered. Any loop, any thread.
class resolver {
 public:
  /// The addresses of the host, with port 0, in the order to try them. Runs on a thread that may block; several at
  /// once. Throws error with resolve_category() and EAI_NONAME when there are none.
  using lookup = std::function<std::vector<endpoint>(const std::string& host, address_family family)>;

  /// getaddrinfo(3), or another lookup, a test's say. Throws std::invalid_argument for max_lookups 0.
  explicit resolver(resolver_options options = {});
  resolver(lookup how, resolver_options options = {});
  /// Lookups that are under way end by themselves.
  ~resolver();
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;

  /// The addresses of `host`, in the order to try them, with this port. Not empty.
  ///
  /// Suspends: a checkpoint always; switches when the answer is not at hand.
  /// Cancel:   throws cancelled at once; a lookup that has started goes on for others, and for the next who asks.
  /// Threads:  any agent.
  /// Ordering: none.
  /// Throws:   error with resolve_category(), or the system's code; it names the host. no_runtime.
  std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, address_family family = address_family::any);

  /// Forgets all answers.
  void clear();
  /// How many answers it keeps, also those whose time is over.
  [[nodiscard]] std::size_t size() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

/// The one that resolve() and connect() use, with the options above. In a simulation, whose clock is another, those two
/// keep nothing.
resolver& default_resolver();

/// default_resolver().resolve().
std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, address_family family = address_family::any);

/// The codes of getaddrinfo(3), EAI_NONAME and so on.
const std::error_category& resolve_category() noexcept;

}  // namespace weft::io
