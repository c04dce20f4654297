#pragma once
// Servers of the HTTP kit on memory streams, for tests in simulation.

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <weft/io/memory.hpp>
#include <weft/task_group.hpp>

#include "http_kit/client.hpp"
#include "http_kit/server.hpp"

namespace kit_serving {

/// Everything that comes until the other side ends the connection.
inline std::string rest_of(weft::io::stream& s) {
  std::string all;
  char some[1024];
  while (const std::size_t n = s.read_some(std::span(some))) all.append(some, n);
  return all;
}

/// What a server answers to this text, and then the end. With "Connection: close" in the last request, or garbage.
inline std::string answer_to(const weft::io::memory_connector& at, std::string_view text) {
  weft::io::stream s = at.connect();
  s.write_all(text);
  return rest_of(s);
}

/// A server that runs while f(connector, server) does.
template <class F>
http::server_report serving(http::handler answer, const http::options& most, F f) {
  auto [listener, at] = weft::io::memory_listen();
  http::server server(std::move(listener), std::move(answer), most);
  weft::with_group([&](weft::task_group& both) {  // so that it has ended, also when f throws
    auto running = both.spawn([&] { server.run(); });
    f(at, server);
    server.stop();
    running.get();
  });
  return server.report();
}

inline std::string get(std::string_view target, std::string_view fields = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: here\r\n" + std::string(fields) + "\r\n";
}
inline constexpr std::string_view last = "Connection: close\r\n";

inline unsigned status_of(std::string_view text) {
  return text.starts_with("HTTP/1.1 ") ? static_cast<unsigned>(std::atoi(text.data() + 9)) : 0;
}
inline std::string body_of(std::string_view text) { return std::string(text.substr(text.find("\r\n\r\n") + 4)); }

inline std::size_t count(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

/// The kit's own server and client, together.
template <class F>
http::server_report calling(http::handler answer, const http::client_options& most, F f) {
  http::options server;
  server.connections.idle = std::chrono::seconds(3);
  return serving(std::move(answer), server, [&](auto& at, auto&) {
    http::client c([&at = at] { return at.connect(); }, most);
    f(c);
  });
}

}  // namespace kit_serving
