#include "weft/io/resolve.hpp"

#include <netdb.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "sockaddr.hpp"
#include "weft/deadline.hpp"
#include "weft/io/error.hpp"
#include "weft/simulation.hpp"
#include "weft/spawn.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

[[noreturn]] void throw_resolve(int code, const std::string& host, std::string_view advice = {}) {
  throw error(std::error_code(code, resolve_category()), "resolve", host, 0, advice);
}

bool is_no_such_name(const std::error_code& code) noexcept {
  return code.category() == resolve_category() &&
         (code.value() == EAI_NONAME || code.value() == EAI_NODATA || code.value() == EAI_ADDRFAMILY);
}

// getaddrinfo(3).
std::vector<endpoint> ask_the_system(const std::string& host, address_family family) {
  ::addrinfo hints{};
  hints.ai_family = family == address_family::v4 ? AF_INET : family == address_family::v6 ? AF_INET6 : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // each address once
  ::addrinfo* list = nullptr;
  const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (code == EAI_SYSTEM) throw error(std::error_code(errno, std::system_category()), "resolve", host);
  if (code != 0) throw_resolve(code, host);
  const std::unique_ptr<::addrinfo, decltype(&::freeaddrinfo)> guard(list, &::freeaddrinfo);
  std::vector<endpoint> all;
  for (const ::addrinfo* i = list; i; i = i->ai_next) {
    detail::socket_address address;
    std::memcpy(&address.storage, i->ai_addr, i->ai_addrlen);
    if (const endpoint e = address.value()) all.push_back(e.with_port(0));
  }
  return all;
}

// What a lookup came to: a value, since an error of one that nobody waits for any more is no news.
struct answer {
  std::vector<endpoint> addresses;
  std::exception_ptr problem;
  bool no_such_name = false;
};
using shared_answer = std::shared_ptr<const answer>;

shared_answer ask(const resolver::lookup& how, const std::string& host, address_family family) {
  auto a = std::make_shared<answer>();
  try {
    a->addresses = how(host, family);
    if (a->addresses.empty()) throw_resolve(EAI_NONAME, host);
  } catch (const error& e) {
    a->problem = std::current_exception();
    a->no_such_name = is_no_such_name(e.code());
  } catch (...) {
    a->problem = std::current_exception();
  }
  return a;
}

bool in_simulation() noexcept {
  try {
    (void)sim::seed();
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

// Who may touch what: all under mutex_, held for a look into a map; no user code runs under it.
struct resolver::state : std::enable_shared_from_this<state> {
  using key = std::pair<std::string, address_family>;
  struct entry {
    shared_answer what;
    deadline until;
    std::list<key>::iterator use;
  };

  state(lookup h, resolver_options o) : how(std::move(h)), options(o) {
    if (!how) throw std::invalid_argument("resolver: the lookup is empty");
    if (options.max_lookups == 0) throw std::invalid_argument("resolver_options.max_lookups is 0");
  }

  // The answer, if it is at hand and good.
  shared_answer kept(const key& k) {
    const auto found = answers.find(k);
    if (found == answers.end()) return nullptr;
    if (found->second.until.passed()) {
      forget(found);
      return nullptr;
    }
    uses.splice(uses.begin(), uses, found->second.use);
    return found->second.what;
  }

  void keep(const key& k, const shared_answer& what) {
    const auto ttl = what->no_such_name ? options.negative_ttl : options.positive_ttl;
    if ((what->problem && !what->no_such_name) || ttl <= ttl.zero() || options.max_entries == 0) return;
    if (const auto old = answers.find(k); old != answers.end()) forget(old);
    while (answers.size() >= options.max_entries) forget(answers.find(uses.back()));
    uses.push_front(k);
    answers.emplace(k, entry{what, deadline::after(ttl), uses.begin()});
  }

  void forget(std::map<key, entry>::iterator i) {
    uses.erase(i->second.use);
    answers.erase(i);
  }

  // The lookup that is under way, or a new one. Under the mutex, but for the spawn: a task's record comes from memory
  // of the loop's own, and its fiber runs later.
  //
  // The fiber is under no scope of the caller, for others may wait for it. What it waits for is abandonable: a lookup
  // that hangs holds up neither a cancellation nor the end of the runtime.
  future<shared_answer> join(const key& k) {
    if (const auto found = flights.find(k); found != flights.end()) {
      if (!found->second.ready()) return found->second;
      flights.erase(found);  // it was cancelled before it began, by the end of its runtime
    }
    if (flights.size() >= options.max_lookups)
      throw_resolve(EAI_AGAIN, k.first, std::to_string(flights.size()) + " names are being looked up already");
    auto flight = spawn(detached, {.name = "resolve"}, [self = shared_from_this(), k] { return self->fly(k); });
    flights.emplace(k, flight);
    return flight;
  }

  shared_answer fly(const key& k) {
    struct landing {
      state& s;
      const key& k;
      ~landing() {
        const std::lock_guard lock(s.mutex);
        s.flights.erase(k);
      }
    } const at_the_end{*this, k};
    auto found =
        spawn_blocking(abandonable, {.name = "resolve"}, [how = how, k] { return ask(how, k.first, k.second); }).get();
    const std::lock_guard lock(mutex);
    keep(k, found);
    return found;
  }

  const lookup how;
  const resolver_options options;
  mutable std::mutex mutex;
  std::map<key, entry> answers;
  std::list<key> uses;  ///< the latest first
  std::map<key, future<shared_answer>> flights;
};

resolver::resolver(resolver_options options) : resolver(&ask_the_system, options) {}
resolver::resolver(lookup how, resolver_options options) : state_(std::make_shared<state>(std::move(how), options)) {}
resolver::~resolver() = default;

std::vector<endpoint> resolver::resolve(std::string_view host, std::uint16_t port, address_family family) {
  checkpoint();
  // getaddrinfo(3) would look up what is before the zero: another name than the one that somebody may have approved.
  if (host.find('\0') != host.npos) throw_resolve(EAI_NONAME, std::string(host), "there is a zero in it");
  const state::key k(host, family);
  shared_answer found;
  future<shared_answer> flight;
  {
    const std::lock_guard lock(state_->mutex);
    found = state_->kept(k);
    if (!found) flight = state_->join(k);
  }
  if (!found) found = flight.get();
  if (found->problem) std::rethrow_exception(found->problem);
  std::vector<endpoint> all = found->addresses;
  for (endpoint& e : all) e = e.with_port(port);
  return all;
}

void resolver::clear() {
  const std::lock_guard lock(state_->mutex);
  state_->answers.clear();
  state_->uses.clear();
}

std::size_t resolver::size() const {
  const std::lock_guard lock(state_->mutex);
  return state_->answers.size();
}

resolver& default_resolver() {
  static resolver one;
  return one;
}

std::vector<endpoint> resolve(std::string_view host, std::uint16_t port, address_family family) {
  if (!in_simulation()) return default_resolver().resolve(host, port, family);
  return resolver({.max_entries = 0}).resolve(host, port, family);
}

const std::error_category& resolve_category() noexcept {
  static const struct getaddrinfo_category final : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "getaddrinfo"; }
    [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
  } category;
  return category;
}

}  // namespace weft::io
