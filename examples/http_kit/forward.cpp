#include "http_kit/forward.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <weft/error.hpp>
#include <weft/io/copy.hpp>
#include <weft/io/error.hpp>

namespace http {

namespace {

template <class From>
void pump(From& from, body_writer& to) {
  std::array<char, 16 * 1024> some;
  while (const std::size_t n = from.read_some(some)) to.write({some.data(), n});
}

/// The request's body; that the client has gone is not the server's fault.
struct upload {
  request& from;
  std::size_t read_some(std::span<char> to) {
    try {
      return from.read_some(to);
    } catch (const weft::io::error&) {
      throw error(client_gone, "the client has gone");
    }
  }
};

bool asks_for_websocket(const request& r) {
  return r.method == "GET" && r.version == 11 && r.length() == 0 && r.fields.lists("Connection", "upgrade") &&
         r.fields.lists("Upgrade", "websocket");
}

constexpr std::string_view forwarded_for = "X-Forwarded-For";

call call_for(request& r, std::string_view scheme) {
  call c{.method = r.method, .target = r.target, .fields = end_to_end(r.fields)};
  if (r.peer) {  // in one field, for not every program reads a second; the last address is the one to be believed
    std::string through;
    for (const auto& [name, value] : r.fields)
      if (equal_names(name, forwarded_for)) through.append(value).append(", ");
    c.fields.set(forwarded_for, through + r.peer.address());
  }
  c.fields.set("X-Forwarded-Proto", scheme);
  c.fields.add("Via", r.version == 10 ? "1.0 weft" : "1.1 weft");
  if (asks_for_websocket(r)) {
    c.fields.add("Connection", "Upgrade");
    c.fields.add("Upgrade", "websocket");
  }
  if (r.length() == 0) return c;
  c.length = r.length();
  c.stream = [&r](body_writer& to) {
    upload body{r};
    pump(body, to);
  };
  r.body_limit(std::numeric_limits<std::uint64_t>::max(), weft::io::no_timeout);
  return c;
}

/// Copies both ways until both have ended. Throws weft::timed_out when neither has said a word for so long: one alone
/// may be, as a page that only listens is.
void copy_while_alive(weft::io::stream& one, weft::io::stream& other, std::chrono::nanoseconds silence) {
  one.read_timeout(silence);
  other.read_timeout(silence);
  const auto said = [&] { return one.bytes_read() + other.bytes_read(); };
  for (std::uint64_t before = said();;) try {
      weft::io::copy_bidirectional(one, other);
      return;
    } catch (const weft::timed_out&) {  // nothing is lost, and it can go on
      const std::uint64_t now = said();
      if (std::exchange(before, now) == now) throw;
    }
}

response tunnel(answer a, forward_options how) {
  response r(a.code);
  r.take_over = [a = std::move(a), how = std::move(how)](weft::io::stream client) mutable {
    const headers fields = std::move(a.fields);
    weft::io::stream server = a.take_over();
    try {
      client.write_all({"HTTP/1.1 101 Switching Protocols\r\n", fields.text(), "\r\n"});
      copy_while_alive(client, server, how.silence);
    } catch (const std::exception&) {  // a reset, or silence: WebSockets end so, too
    }
  };
  return r;
}

}  // namespace

headers end_to_end(const headers& fields) {
  headers rest;
  for (const auto& [name, value] : fields) {
    bool stays = !fields.lists("Connection", name);
    for (const std::string_view own :
         {"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE", "Proxy-Authorization", "Trailer",
          "Transfer-Encoding", "Upgrade", "Content-Length", "Expect"})
      stays = stays && !equal_names(name, own);
    if (stays) rest.add_parsed(name, value);
  }
  return rest;
}

response forward(request& r, client& to, forward_options how) {
  if (r.method == "CONNECT") throw error(status::not_implemented, "this is no proxy to anywhere");
  answer a = to.send(call_for(r, how.scheme));
  if (a.code == status::switching_protocols) {
    if (!asks_for_websocket(r) || !a.fields.lists("Upgrade", "websocket"))
      throw error(status::bad_gateway, "the server switched to a protocol that nobody asked for");
    return tunnel(std::move(a), std::move(how));
  }
  response passed(a.code);
  passed.fields = end_to_end(a.fields);
  passed.length = a.length();
  // What the body of a GET would have.
  if (r.method == "HEAD") passed.length = number_in<std::uint64_t>(a.fields.get("Content-Length").value_or(""));
  passed.stream = [a = std::move(a), until_done = std::move(how.until_done)](body_writer& out) mutable {
    pump(a, out);
  };
  return passed;
}

}  // namespace http
