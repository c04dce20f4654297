// The environment that service managers leave: three texts, held against a reading of their own.

#include <optional>

#include "fuzz.hpp"
#include "passed_listing.hpp"

using weft::fuzz::expect;

namespace {

// The number that a text of digits and a sign before them is; none when it is not one, or larger than an int.
std::optional<long> number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return {};
  const auto digits = text.find_first_not_of('0');
  if (digits == text.npos) return 0;
  if (text.size() - digits > 10) return {};
  const long n = std::stol(std::string(text)) * (negative ? -1 : 1);
  if (n > 2'147'483'647 || n < -2'147'483'648L) return {};
  return n;
}

// A line is a variable: lines[i], or unset when there is no such line.
std::optional<std::string> line(std::string_view& rest) {
  if (rest.empty()) return {};
  const auto end = std::min(rest.find('\n'), rest.size());
  std::string one(rest.substr(0, end));
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return one.c_str();  // an environment has no zeros
}

}  // namespace

void fuzz(weft::fuzz::input in) {
  constexpr ::pid_t self = 42;
  const std::string all(in.text(in.left()));
  std::string_view rest = all;
  const auto pid = line(rest);
  const auto count = line(rest);
  const auto names = line(rest);
  const auto text = [](const std::optional<std::string>& of) { return of ? of->c_str() : nullptr; };
  weft::io::detail::passed_listing listed(text(pid), text(count), text(names), self);

  const long expected = pid && count && number(*pid) == self ? std::max(0L, number(*count).value_or(0)) : 0;
  std::string joined;
  long found = 0;
  constexpr long enough = 300;
  for (; listed.has_next() && found < enough; ++found) {
    const std::string name = listed.next();
    expect(name.find(':') == name.npos, "a name has no colon");
    joined += (found == 0 ? "" : ":") + name;
  }
  expect(found == std::min(expected, enough), "as many as were told");
  if (found == 0) return;
  // Those that were told, cut off or filled up with empty ones.
  std::string told = names.value_or("");
  long number_told = 1;
  for (std::size_t at = 0; at < told.size(); ++at)
    if (told[at] == ':' && number_told++ == found) told.resize(at);
  if (number_told < found) told.append(static_cast<std::size_t>(found - number_told), ':');
  expect(joined == told, "the names are those that were told, in their order");
}
