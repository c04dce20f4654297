// A client for other people's servers. Checks every answer, and that none of its descriptors is left.
//
//   client --to HOST:PORT --speaks lines|reversed|http [--loops N] [--connections N] [--requests N] [--rounds N]
//          [--authorities PEM --name NAME [--certificates PEM --key PEM] [--alpn NAME]]
//
// In each round all connections are made, asked and ended. Prints what the last connection of each round agreed on.

#include <cstdio>
#include <filesystem>
#include <iterator>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "options.hpp"
#include "weft/io/tls.hpp"
#include "weft/weft.hpp"

namespace io = weft::io;

namespace {

std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

void check(bool right, const char* what) {
  if (!right) throw std::runtime_error(what);
}

void ask_lines(io::stream& s, unsigned requests) {
  // Half of them at once, then one by one.
  std::string many;
  for (unsigned i = 0; i < requests; ++i) many += "line " + std::to_string(i) + "\n";
  auto writing = weft::spawn([&] { s.write_all(many); });
  for (unsigned i = 0; i < requests; ++i)
    check(s.read_until("\n") == "line " + std::to_string(i) + "\n", "another line came back");
  writing.get();
  for (unsigned i = 0; i < requests; ++i) {
    s.write_all({"again ", std::to_string(i), "\n"});
    check(s.read_until("\n") == "again " + std::to_string(i) + "\n", "another line came back");
  }
  s.shutdown_write();
  char more = 0;
  check(s.read_some(std::span(&more, 1)) == 0, "there is more after the end");
}

void ask_reversed(io::stream& s, unsigned requests) {
  for (unsigned i = 0; i < requests; ++i) {
    s.write_all("abc\n");
    check(s.read_until("\n") == "cba\n", "another line came back");
  }
}

void ask_http(io::stream& s, unsigned requests) {
  for (unsigned i = 0; i < requests; ++i) {
    s.write_all({"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: ", i + 1 == requests ? "close" : "keep-alive",
                 "\r\n\r\n"});
    const std::string head = s.read_until("\r\n\r\n");
    check(head.starts_with("HTTP/1.1 200 "), "the status is another");
    const auto at = head.find("Content-Length: ");
    check(at != head.npos, "the answer has no length");
    std::string body(std::stoul(head.substr(at + 16)), '\0');
    s.read_exactly(std::span(body));
    check(body == "hello\n", "the body is another");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const counterparts::options given(argc, argv);
  weft::config with;
  with.loops = given.number("--loops", 1);
  weft::run([] {}, with);  // what is opened once and for all is open now
  const auto before = open_descriptors();
  try {
    weft::run(
        [&] {
          const io::endpoint to = io::endpoint::parse(given.text("--to"));
          const unsigned requests = given.number("--requests", 10);
          const std::string how = given.text("--speaks");
          const auto speaks = how == "http" ? ask_http : how == "reversed" ? ask_reversed : ask_lines;
          std::optional<io::tls_context> tls;
          if (const auto file = given.text("--authorities"); !file.empty()) {
            io::tls_client_options o{.system_store = false, .authorities = io::read_pem(file)};
            if (const auto name = given.text("--alpn"); !name.empty()) o.alpn = {name};
            if (const auto own = given.text("--certificates"); !own.empty())
              o.certificates = io::read_pem(own), o.key = io::read_pem(given.text("--key"));
            tls = io::tls_context::client(o);
          }
          for (unsigned round = given.number("--rounds", 1); round > 0; --round) {
            std::string facts = "plain";
            std::vector<weft::future<void>> all;
            for (unsigned i = given.number("--connections", 1); i > 0; --i)
              all.push_back(weft::spawn(weft::anywhere, [&, last = i == 1] {
                io::stream s = io::connect(to);
                if (tls) s = io::tls_connect(std::move(s), given.text("--name"), *tls);
                speaks(s, requests);
                if (!tls || !last) return;
                const auto f = io::tls_facts_of(s);
                facts = f.protocol + " alpn=" + f.alpn + " peer=" + f.peer_subject +
                        " resumed=" + (f.resumed ? "yes" : "no");
              }));
            weft::gather(std::move(all)).get();
            std::printf("%s\n", facts.c_str());
          }
        },
        with);
    check(open_descriptors() == before, "descriptors are left");
  } catch (const std::exception& e) {
    std::printf("failed: %s\n", e.what());
    return 1;
  }
}
