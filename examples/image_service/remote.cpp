#include "remote.hpp"

#include <curl/curl.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <weft/error.hpp>
#include <weft/io/resolve.hpp>
#include <weft/io/tcp.hpp>
#include <weft/timeout.hpp>

#include "http_kit/client.hpp"

namespace images {

namespace {

using http::status;

/// A URL, taken apart by libcurl (RFC 3986, and what browsers make of it).
class url {
 public:
  explicit url(const std::string& text) {
    if (!url_ || !set(text)) throw http::error(status::bad_request, "this is no address: " + text.substr(0, 200));
  }

  /// Where a redirect goes: what it says may be relative.
  void follow(const std::string& location) {
    if (!set(location)) throw http::error(status::bad_gateway, "a redirect to what is no address");
  }

  [[nodiscard]] std::string part(CURLUPart what, unsigned flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(url_.get(), what, &text, flags) != CURLUE_OK) return {};
    const std::unique_ptr<char, decltype(&curl_free)> owner(text, curl_free);
    return text;
  }
  [[nodiscard]] bool is_secure() const { return part(CURLUPART_SCHEME) == "https"; }
  /// Without the brackets of an IPv6 address.
  [[nodiscard]] std::string host() const {
    std::string host = part(CURLUPART_HOST);
    return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
  }
  [[nodiscard]] std::uint16_t port() const {
    const std::string text = part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
    std::uint16_t n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return n;
  }
  /// As a request names it.
  [[nodiscard]] std::string authority() const {
    const std::string port = part(CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
    return part(CURLUPART_HOST) + (port.empty() ? "" : ":" + port);
  }
  [[nodiscard]] std::string target() const {
    const std::string query = part(CURLUPART_QUERY);
    return part(CURLUPART_PATH) + (query.empty() ? "" : "?" + query);
  }
  [[nodiscard]] std::string file_name() const {
    const std::string path = part(CURLUPART_PATH, CURLU_URLDECODE);
    return path.substr(path.rfind('/') + 1);
  }

 private:
  bool set(const std::string& text) {
    if (curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), CURLU_DISALLOW_USER | CURLU_URLENCODE) != CURLUE_OK)
      return false;
    const std::string scheme = part(CURLUPART_SCHEME);
    return scheme == "http" || scheme == "https";
  }
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url_{curl_url(), curl_url_cleanup};
};

/// The addresses of the host that may be asked. It is connected to these, so that a name server that says something
/// else the next time gains nothing.
std::vector<weft::io::endpoint> addresses_of(const url& where, bool local) {
  if (!local && where.port() != 80 && where.port() != 443)
    throw http::error(status::forbidden, "only ports 80 and 443 are asked");
  std::vector<weft::io::endpoint> all = weft::io::resolve(where.host(), where.port());
  if (!local) std::erase_if(all, [](const weft::io::endpoint& e) { return !is_public(e); });
  if (all.empty()) throw http::error(status::forbidden, where.host() + " is no public address");
  return all;
}

bool is_redirect(status code) {
  switch (code) {
    case status::moved_permanently:
    case status::found:
    case status::see_other:
    case status::temporary_redirect:
    case status::permanent_redirect:
      return true;
    default:
      return false;
  }
}

http::answer ask(const url& where, const remote_limits& most, const weft::io::tls_context& tls) {
  http::client client(
      [&] {
        const auto addresses = addresses_of(where, most.local);
        auto s = weft::io::connect(std::span(addresses));
        return where.is_secure() ? weft::io::tls_connect(std::move(s), where.host(), tls) : std::move(s);
      },
      {.host = where.authority()});
  http::call call{.target = where.target()};
  call.fields.add("Accept", "image/jpeg, image/png");
  call.fields.add("User-Agent", "weft-image-service");
  return client.send(std::move(call));
}

std::string read(http::answer& from, std::uint64_t most) {
  const auto check = [&](std::uint64_t size) {
    if (size > most)
      throw http::error(status::content_too_large, "the file there has more than " + std::to_string(most) + " bytes");
  };
  check(from.length().value_or(0));
  std::string bytes;
  std::vector<char> piece(64 * 1024);
  while (const std::size_t n = from.read_some(piece)) {
    bytes.append(piece.data(), n);
    check(bytes.size());
  }
  return bytes;
}

}  // namespace

remote::remote(remote_limits most)
    : most_(std::move(most)), tls_(weft::io::tls_context::client({.authorities = most_.authorities})) {}

remote_file remote::get(const std::string& text) const try {
  return weft::timeout(most_.time, [&] {
    url where(text);
    for (unsigned hops = 0; hops <= most_.redirects; ++hops) {
      http::answer answer = ask(where, most_, tls_);
      if (answer.code == status::ok) return remote_file{where.file_name(), read(answer, most_.bytes)};
      const auto location = answer.fields.get("Location");
      if (!is_redirect(answer.code) || !location)
        throw http::error(status::bad_gateway, where.host() + " answers " + std::to_string(number(answer.code)));
      where.follow(std::string(*location));
    }
    throw http::error(status::bad_gateway, "one redirect after the other");
  });
} catch (const weft::timed_out&) {
  throw http::error(status::gateway_timeout, "it took too long to come");
} catch (const weft::io::error& e) {
  throw http::error(status::bad_gateway, e.what());
} catch (const weft::io::end_of_stream& e) {
  throw http::error(status::bad_gateway, e.what());
}

bool is_public(const weft::io::endpoint& address) {
  struct block {
    std::uint8_t begins[4];
    unsigned bits;
  };
  const auto& bytes = address.address_bytes();
  const auto is_in = [&](const block& b) {
    for (unsigned i = 0; i < b.bits; ++i)
      if ((bytes[i / 8] ^ b.begins[i / 8]) & (0x80 >> i % 8)) return false;
    return true;
  };
  if (address.is_v4()) {
    constexpr block special[] = {{{0, 0, 0, 0}, 8},        // this network
                                 {{10, 0, 0, 0}, 8},       // private
                                 {{100, 64, 0, 0}, 10},    // shared by a provider's customers
                                 {{127, 0, 0, 0}, 8},      // this machine
                                 {{169, 254, 0, 0}, 16},   // link-local, and the clouds' metadata
                                 {{172, 16, 0, 0}, 12},    // private
                                 {{192, 0, 0, 0}, 24},     // protocols
                                 {{192, 0, 2, 0}, 24},     // documentation
                                 {{192, 88, 99, 0}, 24},   // 6to4 relays
                                 {{192, 168, 0, 0}, 16},   // private
                                 {{198, 18, 0, 0}, 15},    // benchmarks
                                 {{198, 51, 100, 0}, 24},  // documentation
                                 {{203, 0, 113, 0}, 24},   // documentation
                                 {{224, 0, 0, 0}, 3}};     // multicast and reserved
    for (const block& b : special)
      if (is_in(b)) return false;
    return true;
  }
  // Of v6 what is given out, without those that stand for others' v4 addresses: Teredo among the protocols, 6to4.
  return address.is_v6() && is_in({{0x20, 0, 0, 0}, 3}) && !is_in({{0x20, 0x01, 0, 0}, 23}) &&
         !is_in({{0x20, 0x01, 0x0d, 0xb8}, 32}) && !is_in({{0x20, 0x02, 0, 0}, 16}) && !is_in({{0x3f, 0xff, 0, 0}, 20});
}

}  // namespace images
