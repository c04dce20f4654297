#pragma once
// What the HTTP servers in C++ share: Boost.Beast's parser, fed with bytes, and the one answer. So what differs among
// them is who waits for the bytes.

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstddef>
#include <optional>
#include <string_view>

namespace bench {

inline constexpr std::string_view hello =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
inline constexpr std::string_view not_understood = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// One connection's requests, one after the other.
class request_reader {
 public:
  enum class state { incomplete, complete, bad };

  /// Takes a beginning of `bytes` and says in `used` how long it was. Once a request is complete, keep_alive() tells
  /// what it wanted, and the next call begins with the next request.
  state take(std::string_view bytes, std::size_t& used) {
    namespace http = boost::beast::http;
    if (!parser_ || parser_->is_done()) parser_.emplace();
    boost::beast::error_code error;
    used = parser_->put({bytes.data(), bytes.size()}, error);
    if (error && error != http::error::need_more) return state::bad;
    return parser_->is_done() ? state::complete : state::incomplete;
  }

  [[nodiscard]] bool keep_alive() const { return parser_->get().keep_alive(); }

 private:
  // Boost.Beast wants the whole header or more of it than before: a parser that has not seen the end of a header must
  // be shown its beginning again, so the servers keep what was not used.
  std::optional<boost::beast::http::request_parser<boost::beast::http::empty_body>> parser_;
};

}  // namespace bench
