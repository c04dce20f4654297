// A server for other people's clients. Ends on SIGTERM, as a server should, and says what became of its connections.
//
//   server --speaks lines|echo|http|proxy [--loops N] [--certificates PEM --key PEM [--client-authorities PEM]
//          [--alpn NAME]] [--upstream HOST:PORT [--upstream-authorities PEM --upstream-name NAME]]
//
// lines: gives each line back; "facts" is answered with what TLS agreed on. http: GET is answered "hello", /facts as
// above, /large with a megabyte; a POST with its body. proxy: bytes, both ways, to the upstream.

#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "options.hpp"
#include "weft/io/tls.hpp"
#include "weft/weft.hpp"

namespace io = weft::io;

namespace {

std::string facts_of(const io::stream& s, bool tls) {
  if (!tls) return "plain";
  const auto f = io::tls_facts_of(s);
  return f.protocol + " alpn=" + f.alpn + " name=" + f.server_name + " client=" + f.peer_subject +
         " resumed=" + (f.resumed ? "yes" : "no");
}

void serve_lines(io::stream& s, bool tls) {
  for (auto& line : s.lines()) s.write_all({line == "facts" ? facts_of(s, tls) : line, "\n"});
}

void serve_echo(io::stream& s) {
  char buffer[16 * 1024];
  while (const std::size_t n = s.read_some(std::span(buffer))) s.write_all({buffer, n});
}

std::size_t content_length(std::string_view head) {
  constexpr std::string_view name = "\r\ncontent-length: ";
  std::string small(head);
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto at = small.find(name);
  std::size_t length = 0;
  if (at != small.npos) std::from_chars(small.data() + at + name.size(), small.data() + small.size(), length);
  return length;
}

// As little of HTTP/1.1 as curl, wrk and nginx need.
void serve_http(io::stream& s, bool tls) {
  static const std::string large(1024 * 1024, 'x');
  for (;;) {
    if (s.buffered().empty() && s.fill() == 0) return;
    const std::string head = s.read_until("\r\n\r\n");
    std::string body(content_length(head), '\0');
    s.read_exactly(std::span(body));
    const std::string_view first = std::string_view(head).substr(0, head.find('\r'));
    std::string answer = "hello\n";
    if (first.starts_with("POST ")) answer = std::move(body);
    if (first.starts_with("GET /facts ")) answer = facts_of(s, tls) + "\n";
    const std::string_view content = first.starts_with("GET /large ") ? std::string_view(large) : answer;
    const bool last = first.ends_with("HTTP/1.0") || head.find("\r\nConnection: close\r\n") != head.npos;
    s.write_all({"HTTP/1.1 200 OK\r\nContent-Length: ", std::to_string(content.size()),
                 last ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n", content});
    if (last) return s.shutdown_write();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const counterparts::options given(argc, argv);
  const std::string speaks = given.text("--speaks");
  weft::config with;
  with.loops = given.number("--loops", 1);
  return weft::run(
      [&] {
        std::optional<io::tls_context> identity;
        if (const auto file = given.text("--certificates"); !file.empty()) {
          io::tls_server_options o{.certificates = io::read_pem(file), .key = io::read_pem(given.text("--key"))};
          if (const auto a = given.text("--client-authorities"); !a.empty()) o.client_authorities = io::read_pem(a);
          if (const auto name = given.text("--alpn"); !name.empty()) o.alpn = {name};
          identity = io::tls_context::server(o);
        }
        std::optional<io::tls_context> upstream;
        if (const auto file = given.text("--upstream-authorities"); !file.empty())
          upstream = io::tls_context::client({.system_store = false, .authorities = io::read_pem(file)});
        const auto behind = io::endpoint::try_parse(given.text("--upstream"));

        const auto handle = [&](io::stream s) {
          const bool tls = identity.has_value();
          if (tls) s = io::tls_accept(std::move(s), *identity);
          if (speaks == "lines") return serve_lines(s, tls);
          if (speaks == "echo") return serve_echo(s);
          if (speaks == "http") return serve_http(s, tls);
          io::stream to = io::connect(behind.value());
          if (upstream) to = io::tls_connect(std::move(to), given.text("--upstream-name"), *upstream);
          io::copy_bidirectional(s, to);
        };
        io::signals stop{SIGTERM, SIGINT};
        io::server server(io::listen(io::endpoint::loopback(0)), handle);
        auto serving = weft::spawn([&] { return server.run(); });
        std::printf("serving %s\n", to_string(server.local()).c_str());
        std::fflush(stdout);
        stop.wait();
        server.stop();
        const io::serve_report r = serving.get();
        std::printf("accepted %ju cancelled %ju open %ju\n", std::uintmax_t{r.accepted}, std::uintmax_t{r.cancelled},
                    std::uintmax_t{r.open});
        return r.open == 0 ? 0 : 1;
      },
      with);
}
