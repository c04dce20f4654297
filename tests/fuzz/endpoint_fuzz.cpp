// endpoint::try_parse() against the C library's reading of the same parts, and there and back again.

#include <arpa/inet.h>

#include "fuzz.hpp"
#include "weft/io/endpoint.hpp"

using weft::fuzz::expect;
using weft::io::endpoint;

namespace {

// What parse() accepts without a scope, put another way.
bool is_endpoint(std::string text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos || text.find('\0') != text.npos) return false;
  const std::string port = text.substr(colon + 1);
  if (port.empty() || port.find_first_not_of("0123456789") != port.npos) return false;
  const auto digits = port.find_first_not_of('0');
  if (digits != port.npos && (port.size() - digits > 5 || std::stoul(port.substr(digits)) > 65'535)) return false;
  text.resize(colon);
  unsigned char bytes[16];
  if (text.empty() || text[0] != '[') return ::inet_pton(AF_INET, text.c_str(), bytes) == 1;
  if (text.back() != ']') return false;
  return ::inet_pton(AF_INET6, text.substr(1, text.size() - 2).c_str(), bytes) == 1;
}

endpoint from_bytes(std::string_view bytes) {
  const auto at = [&](std::size_t i) {
    return i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : std::uint8_t{};
  };
  const auto port = static_cast<std::uint16_t>(at(0) * 256 + at(1));
  if (at(2) % 2 == 0) return {endpoint::bytes_v4{at(3), at(4), at(5), at(6)}, port};
  endpoint::bytes_v6 address;
  for (std::size_t i = 0; i < address.size(); ++i) address[i] = at(i + 3);
  return {address, port, at(19)};
}

}  // namespace

void fuzz(weft::fuzz::input in) {
  const std::string text(in.text(in.left()));
  const auto parsed = endpoint::try_parse(text);
  if (text.find('%') == text.npos) expect(parsed.has_value() == is_endpoint(text), "it is read as the C library does");
  if (parsed) expect(endpoint::try_parse(to_string(*parsed)) == parsed, "what was read is written so that it is read");
  const endpoint any = from_bytes(text);
  expect(endpoint::try_parse(to_string(any)) == any, "what is written is read");
}
