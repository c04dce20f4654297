// A load for HTTP servers: connections that each send a GET, wait for the whole answer, check it, and send the next.
// Not wrk, which does not look at what it gets. Prints a line of JSON: requests/s, latencies, and what each request and
// connection cost the server.
//
//   load --port P [--pid P] [--connections 50] [--seconds 1] [--threads 1]

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "../support/load.hpp"

namespace {

namespace http = boost::beast::http;

class conversation {
 public:
  // What a small client sends.
  [[nodiscard]] static std::string_view request() {
    return "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";
  }

  bool take(std::string_view bytes) {
    received_ += bytes;
    // A server's answers are alike, byte for byte, until its Date changes: those before it were parsed.
    if (received_ == last_) return done();
    // Beast's parser is shown the answer from its beginning each time, for it is rarely in two pieces.
    http::response_parser<http::string_body> parser;
    parser.eager(true);
    boost::beast::error_code error;
    const std::size_t used = parser.put({received_.data(), received_.size()}, error);
    if (error == http::error::need_more || (!error && !parser.is_done())) return false;
    if (error) bench::die("no HTTP: " + error.message());
    if (used != received_.size()) bench::die("more than one answer to one request");
    const auto& answer = parser.get();
    if (answer.result() != http::status::ok || answer.body() != "Hello, world!") bench::die("the answer is wrong");
    if (!answer.keep_alive()) bench::die("the server wants to end the connection");
    last_ = received_;
    return done();
  }

 private:
  bool done() {
    received_.clear();
    return true;
  }

  std::string received_;
  std::string last_;
};

}  // namespace

int main(int argc, char** argv) {
  bench::options given(argc, argv);
  const bench::closed_options with(given);
  given.finish();
  bench::closed_load<conversation>(with, [](std::size_t, int) { return conversation(); }).run();
  return 0;
}
