// The HTTP kit of the examples reads requests and responses. What it makes of a text does not depend on the pieces in
// which that comes, keeps its limits, and, written once more, reads the same: so nobody behind a proxy sees others.

#include <string>
#include <utility>
#include <vector>

#include "fuzz.hpp"
#include "http_kit/message_reader.hpp"
#include "weft/io/error.hpp"
#include "weft/io/memory.hpp"
#include "weft/spawn.hpp"
#include "weft/this_fiber.hpp"

using weft::fuzz::expect;
using weft::io::stream;

namespace {

constexpr http::message_reader::limits most{.header = 256, .body = 200};

struct message {
  std::string method;  ///< of a request
  std::string target;
  unsigned code = 0;  ///< of a response
  int version = 0;
  std::string fields;
  std::string body;
  bool keep_alive = false;
  bool operator==(const message&) const = default;
};

struct reading {
  std::vector<message> messages;  ///< the whole ones
  unsigned problem = 0;           ///< what ended it
  /// Of several faults, which one is seen first may depend on the pieces.
  bool operator==(const reading& other) const {
    return messages == other.messages && (problem != 0) == (other.problem != 0);
  }
};

enum class kind { requests, responses, responses_to_head };

bool read_head(http::message_reader& from, kind what, message& m, http::headers& fields) {
  if (what == kind::requests) return from.read({m.method, m.target, m.version, fields});
  http::response_head head;
  const bool is_there = from.read(head, what == kind::responses_to_head);
  m.code = number(head.code);
  m.version = head.version;
  fields = std::move(head.fields);
  return is_there;
}

std::string read_body(http::message_reader& from, std::size_t at_once) {
  std::string all;
  std::string some(at_once, '\0');
  while (const std::size_t n = from.read_some(some)) {
    all.append(some, 0, n);
    expect(all.size() <= most.body, "no more of a body is given than is allowed");
  }
  expect(from.body_done(), "0 is the end of a body");
  return all;
}

void write_in_pieces(stream& to, std::string_view text) {
  const std::size_t most_at_once = 1 + weft::sim::draw(3) * weft::sim::draw(40);
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, 1 + weft::sim::draw(most_at_once));
    to.write_all(piece);
    text.remove_prefix(piece.size());
    weft::yield();
  }
  to.shutdown_write();
}

/// All messages of the text, which comes in pieces that the simulation draws.
reading read(std::string_view text, kind what, std::size_t at_once) {
  auto [near, far] = weft::io::memory_pair();
  auto writing = weft::spawn([&text, &far = far] { write_in_pieces(far, text); });
  reading all;
  http::message_reader from(near, most);
  try {
    for (;;) {
      message m;
      http::headers fields;
      if (!read_head(from, what, m, fields)) break;
      m.fields = fields.text();
      expect(m.fields.size() <= most.header + 2 * fields.size(), "no header is larger than is allowed");  // "a:b"
      m.body = read_body(from, at_once);
      expect(!from.length() || what == kind::responses_to_head || *from.length() == m.body.size(),
             "a body is as long as was said");
      m.keep_alive = from.keep_alive();
      all.messages.push_back(std::move(m));
      if (!all.messages.back().keep_alive) break;
    }
  } catch (const http::error& e) {
    all.problem = number(e.code());
  }
  writing.get();
  return all;
}

/// As a proxy would send it on.
std::string written(const message& m) {
  http::headers fields;
  const auto& text = m.fields;
  for (std::size_t at = 0, end = 0; (end = text.find("\r\n", at)) != text.npos; at = end + 2) {
    const std::size_t colon = text.find(": ", at);
    expect(colon < end, "a field has a name");
    const std::string name = text.substr(at, colon - at);
    if (!http::equal_names(name, "Content-Length") && !http::equal_names(name, "Transfer-Encoding"))
      fields.add(name, text.substr(colon + 2, end - colon - 2));  // throws for what is no field
  }
  const std::string start = m.method.empty()
                                ? "HTTP/1." + std::to_string(m.version % 10) + " " + std::to_string(m.code) + " \r\n"
                                : m.method + " " + m.target + " HTTP/1." + std::to_string(m.version % 10) + "\r\n";
  return start + std::string(fields.text()) + "Content-Length: " + std::to_string(m.body.size()) + "\r\n\r\n" + m.body;
}

bool may_have_body(const message& m) { return m.code == 0 || (m.code >= 200 && m.code != 204 && m.code != 304); }

}  // namespace

void fuzz(weft::fuzz::input in) {
  const auto what = static_cast<kind>(in.choose(2));
  const std::size_t at_once = 1 + in.choose(100);
  const std::uint64_t seed = in.choose(255);
  const std::string_view text = in.text(in.left());
  weft::fuzz::simulate(seed, [&] {
    const reading one = read(text, what, at_once);
    expect(one == read(text, what, 1 + seed), "what is read does not depend on how it comes");
    for (const message& m : one.messages) {
      if (what == kind::responses_to_head || !may_have_body(m)) continue;
      const reading again = read(written(m), what, at_once);
      if (again.problem == 414 || again.problem == 431) continue;  // it was near the limit
      expect(again.problem == 0 && again.messages.size() == 1, "what was read can be sent on");
      const message& same = again.messages.front();
      expect(same.method == m.method && same.target == m.target && same.code == m.code && same.body == m.body,
             "what is sent on reads the same");
    }
  });
}
