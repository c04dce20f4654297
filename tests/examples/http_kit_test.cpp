// The HTTP kit of the examples, on memory streams and virtual time, under many schedules.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/io/memory.hpp>

#include "http_kit/access_log.hpp"
#include "http_kit/client.hpp"
#include "http_kit/file.hpp"
#include "kit_serving.hpp"
#include "weft_test.hpp"

namespace http_kit_test {
namespace {

using namespace kit_serving;
using namespace std::chrono_literals;
using http::request;
using http::response;
using http::status;
using weft::testing::simulate;

http::router echo_routes() {
  http::router routes;
  routes.get("/hello", [](request&) { return http::text("hello"); });
  routes.post("/echo", [](request& r) { return http::text(r.body()); });
  return routes;
}

// --- the words ---

TEST(HttpHeaders, KeepOrderAndCompareNamesWithoutCase) {
  http::headers h;
  h.add("Accept", "a");
  h.add("X-Twice", "1");
  h.add("x-twice", "2, close");
  EXPECT_EQ(h.get("ACCEPT"), "a");
  EXPECT_EQ(h.count("X-TWICE"), 2u);
  EXPECT_TRUE(h.lists("X-Twice", "Close"));
  EXPECT_FALSE(h.lists("X-Twice", "lose"));
  EXPECT_EQ(h.text(), "Accept: a\r\nX-Twice: 1\r\nx-twice: 2, close\r\n");
  h.set("X-Twice", "3");
  EXPECT_EQ(h.text(), "Accept: a\r\nX-Twice: 3\r\n");
  h.set("Accept", *h.get("X-Twice"));
  EXPECT_EQ(h.text(), "X-Twice: 3\r\nAccept: 3\r\n");
  h.erase((*h.begin()).name);
  EXPECT_EQ(h.text(), "Accept: 3\r\n");
  EXPECT_EQ(h.get("X-Twice"), std::nullopt);
}

TEST(HttpHeaders, TakeNoValueThatWouldBeAnotherField) {
  http::headers h;
  EXPECT_THROW(h.add("Location", "/\r\nSet-Cookie: x"), std::invalid_argument);
  EXPECT_THROW(h.set("Location", std::string("a\0b", 3)), std::invalid_argument);
  EXPECT_THROW(h.add("a b", "x"), std::invalid_argument);
  EXPECT_THROW(h.add("", "x"), std::invalid_argument);
  EXPECT_TRUE(h.empty());
}

TEST(HttpTarget, IsTakenApartAndDecoded) {
  EXPECT_EQ(http::path_of("/a%20b?c=d"), "/a%20b");
  EXPECT_EQ(http::path_of("http://host/a?c"), "/a");
  EXPECT_EQ(http::path_of("http://host"), "/");
  EXPECT_EQ(http::path_of("http://host?c"), "/");
  EXPECT_EQ(http::path_of("?c"), "/");
  EXPECT_EQ(http::path_of("*"), "*");
  EXPECT_EQ(http::query_of("http://host/a?c=d"), "c=d");
  EXPECT_EQ(http::decode("a%2Fb%c3%a9"), "a/b\xc3\xa9");
  for (const char* bad : {"%", "%2", "%zz", "a%2", "%00", "%0g"}) EXPECT_EQ(http::decode(bad), std::nullopt) << bad;
  EXPECT_EQ(http::value_in("a=1&b=x+y%26&c", "b"), "x y&");
  EXPECT_EQ(http::value_in("a=1&b=2&b=3", "b"), "2");
  EXPECT_EQ(http::value_in("a=1&c&b=", "c"), "");
  EXPECT_EQ(http::value_in("a=1&c&b=", "b"), "");
  EXPECT_EQ(http::value_in("%61=1", "a"), "1");
  EXPECT_EQ(http::value_in("a=%f", "a"), std::nullopt);
  EXPECT_EQ(http::value_in("aa=1", "a"), std::nullopt);
}

// --- the router ---

response ask(const http::router& routes, std::string method, std::string target) {
  request r;
  r.method = std::move(method);
  r.target = std::move(target);
  return routes(r);
}
std::string answered(const http::router& routes, std::string method, std::string target) try {
  return ask(routes, std::move(method), std::move(target)).body;
} catch (const http::error& e) {
  return std::to_string(number(e.code()));
}

TEST(HttpRouter, FindsTheMostWrittenOut) {
  http::router routes;
  const auto says = [](std::string what) { return [=](request&) { return http::text(what); }; };
  routes.get("/{any}", [](request& r) { return http::text("any " + r.parameter("any")); })
      .get("/", says("root"))
      .get("/users/me", says("me"))
      .get("/users/{id}", [](request& r) { return http::text("user " + r.parameter("id")); })
      .get("/users/{id}/posts/{post}",
           [](request& r) { return http::text(r.parameter("id") + " wrote " + r.parameter("post")); })
      .post("/users/{id}", says("posted"))
      .get("/files/{path...}", [](request& r) { return http::text("file " + r.parameter("path")); })
      .get("/files/about", says("about"));

  for (const auto& [target, expected] : std::vector<std::pair<std::string, std::string>>{
           {"/", "root"},
           {"/?a", "root"},
           {"/x", "any x"},
           {"http://here/x", "any x"},
           {"/users/me", "me"},
           {"/users/m%65", "me"},
           {"/users/you", "user you"},
           {"/users/a%2Fb", "user a/b"},
           {"/users/..", "user .."},
           {"/users/1/posts/2", "1 wrote 2"},
           {"/users/me/posts/2", "me wrote 2"},
           {"/users/1/posts", "404"},
           {"/users/", "404"},
           {"/x/", "404"},
           {"//", "404"},
           {"/files/about", "about"},
           {"/files/about/us", "file about/us"},
           {"/files", "file "},
           {"/files/", "file "},
           {"/files/a//b/", "file a//b/"},
           {"/files/a%20b", "file a b"},
           {"/files/../etc/passwd", "404"},
           {"/files/%2e%2e/etc/passwd", "404"},
           {"/files/..%2fetc", "404"},
           {"/files/a%2fb", "404"},
           {"/files/.", "404"},
           {"/files/...", "file ..."},
           {"/files/a%00", "400"},
           {"/users/%", "400"},
           {"*", "404"},
           {"here:80", "404"},
       })
    EXPECT_EQ(answered(routes, "GET", target), expected) << target;
  EXPECT_EQ(answered(routes, "POST", "/users/you"), "posted");
}

TEST(HttpRouter, SaysWhichMethodsThereAre) {
  http::router routes;
  const auto nothing = [](request&) { return response(); };
  routes.get("/a", nothing).put("/a", nothing).remove("/b", nothing);
  const auto allowed = [&](std::string method, std::string target) {
    try {
      ask(routes, std::move(method), std::move(target));
    } catch (const http::error& e) {
      EXPECT_EQ(e.code(), status::method_not_allowed);
      return std::string(e.fields().get("Allow").value_or(""));
    }
    return std::string("answered");
  };
  EXPECT_EQ(allowed("POST", "/a"), "GET, HEAD, PUT");
  EXPECT_EQ(allowed("GET", "/b"), "DELETE");
  EXPECT_EQ(allowed("HEAD", "/b"), "DELETE");
  EXPECT_EQ(allowed("HEAD", "/a"), "answered");
  EXPECT_EQ(allowed("get", "/a"), "GET, HEAD, PUT");
  const response options = ask(routes, "OPTIONS", "/a");
  EXPECT_EQ(options.code, status::no_content);
  EXPECT_EQ(options.fields.get("Allow"), "GET, HEAD, PUT, OPTIONS");
  EXPECT_EQ(ask(routes, "OPTIONS", "*").code, status::no_content);
}

TEST(HttpRouter, TakesNoPatternThatIsNone) {
  http::router routes;
  const auto nothing = [](request&) { return response(); };
  routes.get("/a", nothing);
  for (const char* pattern : {"", "a", "/{a...}/b", "/x{a}", "/a%20b", "/a"})
    EXPECT_THROW(routes.get(pattern, nothing), std::invalid_argument) << pattern;
  EXPECT_THROW(routes.get("/b", nullptr), std::invalid_argument);
}

// --- the server ---

TEST(HttpKit, AnswersPipelinedRequestsAndEndsWithTheLast) {
  simulate([] {
    serving(echo_routes(), {}, [](auto& at, auto&) {
      const std::string said = answer_to(
          at,
          get("/hello") + "POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\none" +
              "POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\ntw\r\n1\r\no\r\n0\r\n"
              "Trailer: x\r\n\r\n" +
              "POST /hello HTTP/1.1\r\nHost: here\r\nContent-Length: 8\r\n\r\nnobody's" +
              "HEAD /hello HTTP/1.1\r\nHost: here\r\n\r\n" + get("/hello", last) + get("/never"));
      EXPECT_EQ(count(said, "HTTP/1.1 200 OK\r\n"), 5u) << said;
      EXPECT_EQ(count(said, "HTTP/1.1 405 Method Not Allowed\r\n"), 1u) << said;
      EXPECT_EQ(count(said, "Connection: keep-alive\r\n"), 5u) << said;
      EXPECT_NE(said.find("\r\n\r\none"), said.npos) << said;
      EXPECT_NE(said.find("\r\n\r\ntwo"), said.npos) << said;
      EXPECT_EQ(count(said, "\r\n\r\nhello"), 2u) << said;
      EXPECT_EQ(count(said, "Content-Length: 5\r\n"), 3u) << said;
      EXPECT_TRUE(said.ends_with("Connection: close\r\n\r\nhello")) << said;
    });
  });
}

TEST(HttpKit, SkipsEmptyLinesBeforeARequestHoweverTheyCome) {
  simulate([] {
    serving(echo_routes(), {}, [](auto& at, auto&) {
      weft::io::stream s = at.connect();
      for (const char* piece : {"\r", "\n\r", "\nGET /hello HTTP/1.1\r\nHost: here\r\n\r\n\r\n\r"}) {
        s.write_all(piece);
        weft::sleep_for(10ms);
      }
      s.write_all("\n" + get("/hello", last));
      EXPECT_EQ(count(rest_of(s), "HTTP/1.1 200 OK"), 2u);
    });
  });
}

TEST(HttpKit, SaysWhatIsWrong) {
  const http::options most{.header = 512, .body = 100};
  const std::string host = "Host: here\r\n";
  const std::string post = "POST /echo HTTP/1.1\r\n" + host;
  const std::vector<std::pair<std::string, unsigned>> wrong{
      {"hello\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n" + host + host + "\r\n", 400},
      {"GET /hello HTTP/1.1\n" + host + "\n\n", 400},
      {"GET  /hello HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /hello HTTP/1.1\r\n" + host + "a b: c\r\n\r\n", 400},
      {"GET /hello HTTP/2.0\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\n", 505},
      {"GET /hello HTTP/3\r\n" + host + "\r\n", 505},
      {"GET /hello HTTP/1.15\r\n" + host + "\r\n", 400},
      {"GET /hello FTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /" + std::string(1000, 'x') + " HTTP/1.1\r\n" + host + "\r\n", 414},
      {"GET /hello HTTP/1.1\r\n" + host + "Cookie: " + std::string(1000, 'x') + "\r\n\r\n", 431},
      {post + "Content-Length: -1\r\n\r\n", 400},
      {post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400},
      {post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: gzip\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413},
      {post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'x'), 400},
      {post + "Content-Length: 101\r\n\r\n", 413},
      {post + "Transfer-Encoding: chunked\r\n\r\n3c\r\n" + std::string(60, 'x') + "\r\n29\r\n" + std::string(41, 'x') +
           "\r\n0\r\n\r\n",
       413},
      {post + "Expect: wonders\r\nContent-Length: 1\r\n\r\nx", 417},
  };
  for (const auto& [text, code] : wrong) {
    weft::sim::run(code, [&, text = text, code = code] {
      serving(echo_routes(), most, [&](auto& at, auto&) {
        weft::io::stream s = at.connect();
        s.write_all(text);
        s.shutdown_write();
        const std::string said = rest_of(s);
        EXPECT_EQ(status_of(said), code) << text << said;
        EXPECT_EQ(count(said, "\r\nDate: "), 1u) << said;
        EXPECT_EQ(count(said, code == 417 ? "Connection: keep-alive\r\n" : "Connection: close\r\n"), 1u) << said;
        EXPECT_EQ(body_of(answer_to(at, get("/hello", last))), "hello");
      });
    });
  }
}

TEST(HttpKit, LimitsAHeaderThatComesFieldByField) {
  simulate([] {
    serving(echo_routes(), {.header = 512}, [](auto& at, auto&) {
      weft::io::stream s = at.connect();
      s.write_all("GET /hello HTTP/1.1\r\nHost: here\r\n");
      try {
        for (int i = 0; i < 20; ++i) {
          weft::sleep_for(1ms);
          s.write_all("Cookie: " + std::string(50, 'x') + "\r\n");
        }
      } catch (const weft::io::error&) {  // it has hung up
      }
      EXPECT_EQ(status_of(rest_of(s)), 431u);
    });
  });
}

TEST(HttpKit, WaitsForARequestAsLongAsItSays) {
  http::options most{.receive = 5s};
  most.connections.first_byte = 2s;
  most.connections.idle = 3s;
  simulate([&] {
    serving(echo_routes(), most, [](auto& at, auto&) {
      const auto seconds = [](auto f) {
        return std::chrono::round<std::chrono::seconds>(weft::testing::time_of(std::move(f))).count();
      };
      EXPECT_EQ(seconds([&] { EXPECT_EQ(answer_to(at, ""), ""); }), 2) << "before the first byte";
      EXPECT_EQ(seconds([&] {
                  const std::string said = answer_to(at, get("/hello"));
                  EXPECT_EQ(status_of(said), 200u);
                  EXPECT_TRUE(said.ends_with("hello")) << "no word when an idle one ends: " << said;
                }),
                3)
          << "between requests";
      EXPECT_EQ(seconds([&] { EXPECT_EQ(status_of(answer_to(at, "GET /hel")), 408u); }), 3) << "between bytes";
      const auto drip = [&](std::string_view beginning, std::string_view drop) {
        weft::io::stream s = at.connect();
        s.write_all(beginning);
        auto dripping = weft::spawn([&] {
          for (;;) {
            weft::sleep_for(400ms);
            s.write_all(drop);
          }
        });
        const std::string said = rest_of(s);
        dripping.cancel();
        dripping.wait();
        return status_of(said);
      };
      EXPECT_EQ(seconds([&] { EXPECT_EQ(drip("GET /hello HTTP/1.1\r\nHost: ", "x"), 408u); }), 5) << "a header";
      EXPECT_EQ(
          seconds([&] { EXPECT_EQ(drip("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n", "x"), 408u); }),
          5)
          << "a body";
      EXPECT_EQ(seconds([&] {
                  EXPECT_EQ(drip("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
                            408u);
                }),
                5)
          << "a body in chunks";
    });
  });
}

TEST(HttpKit, GivesUpOnAClientThatTakesNothing) {
  http::options most;
  most.connections.write_stall = 7s;
  int failures = 0;
  most.connections.on_error = [&](const std::string&, const std::exception_ptr& problem) {
    ++failures;
    EXPECT_THROW(std::rethrow_exception(problem), weft::timed_out);
  };
  weft::sim::run(1, [&] {
    http::router routes;
    routes.get("/long", [](request&) { return http::text(std::string(10'000'000, 'x')); });
    const auto report = serving(routes, most, [&](auto& at, auto&) {
      weft::io::stream s = at.connect();
      s.write_all(get("/long"));
      weft::sleep_for(8s);
      EXPECT_LT(rest_of(s).size(), 10'000'000u);
    });
    EXPECT_EQ(report.cut_off, 1u);
  });
  EXPECT_EQ(failures, 1);
}

TEST(HttpKit, ReadsABodyPieceByPiece) {
  http::router routes;
  routes.put("/large", [](request& r) {
    r.body_limit(8'000'000, 1h);
    std::uint64_t sum = 0;
    std::uint64_t size = 0;
    char some[4096];
    while (const std::size_t n = r.read_some(some)) {
      size += n;
      for (std::size_t i = 0; i < n; ++i) sum += static_cast<unsigned char>(some[i]);
    }
    return http::text(std::to_string(size) + " " + std::to_string(sum));
  });
  const std::string piece(100'000, 'a');
  for (std::uint64_t seed = 0; seed < 3; ++seed)
    weft::sim::run(seed, [&] {
      serving(routes, {.receive = 10s}, [&](auto& at, auto&) {
        for (const bool chunked : {false, true}) {
          weft::io::stream s = at.connect();
          s.write_all("PUT /large HTTP/1.1\r\nHost: here\r\n" +
                      std::string(chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Content-Length: 4000000\r\n\r\n"));
          for (int i = 0; i < 40; ++i) {
            weft::sleep_for(1s);  // longer than options::receive, together
            if (chunked)
              s.write_all({"186A0\r\n", piece, "\r\n"});
            else
              s.write_all(piece);
          }
          s.write_all((chunked ? "0\r\n\r\n" : "") + get("/large", last));
          const std::string said = rest_of(s);
          EXPECT_NE(said.find("\r\n\r\n4000000 388000000HTTP/1.1 405"), said.npos) << said;
        }
        EXPECT_EQ(status_of(answer_to(at, "PUT /large HTTP/1.1\r\nHost: here\r\nContent-Length: 8000001\r\n\r\n")),
                  413u);
      });
    });
}

TEST(HttpKit, AsksForABodyOnlyWhenItIsWanted) {
  simulate([] {
    serving(echo_routes(), {}, [](auto& at, auto&) {
      const std::string fields = "Host: here\r\nExpect: 100-continue\r\nContent-Length: 4\r\n";
      {
        weft::io::stream s = at.connect();
        s.write_all("POST /echo HTTP/1.1\r\n" + fields + "\r\n");
        EXPECT_EQ(s.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        s.write_all("body" + get("/hello", last));
        const std::string said = rest_of(s);
        EXPECT_EQ(status_of(said), 200u) << said;
        EXPECT_NE(said.find("\r\n\r\nbodyHTTP/1.1 200"), said.npos) << said;
      }
      {  // refused: who knows whether the body comes, so the connection ends
        const std::string said = answer_to(at, "POST /hello HTTP/1.1\r\n" + fields + "\r\n");
        EXPECT_EQ(status_of(said), 405u) << said;
        EXPECT_EQ(count(said, "Connection: close"), 1u) << said;
      }
      {  // more than it may be
        const std::string said = answer_to(
            at, "POST /echo HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
        EXPECT_EQ(status_of(said), 413u) << said;
      }
      {  // it did not wait
        const std::string said = answer_to(at, "POST /echo HTTP/1.1\r\n" + fields + "Connection: close\r\n\r\nbody");
        EXPECT_TRUE(said.ends_with("\r\n\r\nbody")) << said;
      }
    });
  });
}

TEST(HttpKit, WritesABodyPieceByPiece) {
  http::router routes;
  routes.get("/chunks", [](request&) {
    return http::streamed("text/plain", [](http::body_writer& to) {
      to.write("one ");
      to.write("");
      weft::sleep_for(1s);
      to.write("two and twenty");
    });
  });
  routes.get("/counted", [](request&) {
    return http::streamed(
        "text/plain", [](http::body_writer& to) { to.write("12345"); }, 5);
  });
  routes.get("/short", [](request&) {
    return http::streamed(
        "text/plain", [](http::body_writer& to) { to.write("1234"); }, 5);
  });
  routes.get("/long", [](request&) {
    return http::streamed(
        "text/plain", [](http::body_writer& to) { to.write("123456"); }, 5);
  });
  routes.get("/fails", [](request&) {
    return http::streamed("text/plain", [](http::body_writer& to) {
      to.write("1234");
      throw std::runtime_error("the source is dry");
    });
  });
  simulate([&] {
    http::options most;
    int failures = 0;
    most.connections.on_error = [&](const std::string&, const std::exception_ptr&) { ++failures; };
    const auto report = serving(routes, most, [&](auto& at, auto&) {
      std::string said = answer_to(at, get("/chunks") + get("/counted", last));
      EXPECT_NE(said.find("Transfer-Encoding: chunked\r\n"), said.npos) << said;
      EXPECT_NE(said.find("\r\n\r\n4\r\none \r\ne\r\ntwo and twenty\r\n0\r\n\r\nHTTP/1.1 200"), said.npos) << said;
      EXPECT_TRUE(said.ends_with("\r\n\r\n12345")) << said;
      said = answer_to(at, "HEAD /chunks HTTP/1.1\r\nHost: here\r\n\r\n" + get("/counted", last));
      EXPECT_EQ(count(said, "one"), 0u) << said;
      said = answer_to(at, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
      EXPECT_TRUE(said.ends_with("Connection: close\r\n\r\none two and twenty")) << said;
      EXPECT_EQ(failures, 0);
      EXPECT_TRUE(answer_to(at, get("/short")).ends_with("1234"));
      EXPECT_FALSE(answer_to(at, get("/long")).ends_with("123456"));
      EXPECT_TRUE(answer_to(at, get("/fails")).ends_with("1234\r\n"));  // no last chunk
    });
    EXPECT_EQ(failures, 3);
    EXPECT_EQ(report.cut_off, 3u);
  });
}

TEST(HttpKit, SendsEventsUntilItStops) {
  simulate([] {
    auto [listener, at] = weft::io::memory_listen();
    http::router routes;
    routes.get("/events", [](request&) {
      return http::events([](http::event_writer& to) {
        for (int i = 1; to.pause(1s); ++i)
          to.send("line " + std::to_string(i) + "\nand more", "tick", std::to_string(i));
      });
    });
    http::server server(std::move(listener), routes);
    auto running = weft::spawn([&] { server.run(); });
    weft::io::stream s = at.connect();
    s.write_all(get("/events"));
    (void)s.read_until("\r\n\r\n");
    EXPECT_EQ(s.read_until("\n\n"), "2f\r\nevent: tick\nid: 1\ndata: line 1\ndata: and more\n\n");
    EXPECT_EQ(s.read_until("\n\n"), "\r\n2f\r\nevent: tick\nid: 2\ndata: line 2\ndata: and more\n\n");
    const auto took = weft::testing::time_of([&] {
      server.stop();
      EXPECT_EQ(rest_of(s), "\r\n0\r\n\r\n");
      running.get();
    });
    EXPECT_LT(took, 1500ms) << "it waited for its grace";
    EXPECT_EQ(server.report().cut_off, 0u);
  });
}

// Each of the three ends a line for the client (WHATWG HTML, 9.2.6), so none may end one of ours.
TEST(HttpKit, KeepsAnEventTogetherHoweverItsLinesEnd) {
  struct collector final : http::body_writer {
    std::string all;
    void write(std::string_view piece) override { all += piece; }
    void write_file(int, std::uint64_t, std::uint64_t) override {}
    bool pause(std::chrono::nanoseconds) override { return true; }
  } to;
  http::event_writer events(to);
  events.send("a\revent: b\r\nid: c\n\r\rd\r");
  EXPECT_EQ(to.all, "data: a\ndata: event: b\ndata: id: c\ndata: \ndata: \ndata: d\ndata: \n\n");
  for (const std::string_view two : {"a\nb", "a\rb"}) {
    EXPECT_THROW(events.send("", two), std::invalid_argument);
    EXPECT_THROW(events.send("", "", two), std::invalid_argument);
  }
}

TEST(HttpFile, GivesTheBytesThatAreAskedForAndNoMore) {
  const auto range = [](std::string_view wanted, std::string_view bytes) {
    weft::io::unique_fd opened(::memfd_create("file", MFD_CLOEXEC));
    EXPECT_EQ(::write(opened.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    request r;
    r.method = "GET";
    r.fields.add("Range", wanted);
    try {
      const response answer = http::file(r, std::move(opened), "text/plain");
      return std::string(answer.fields.get("Content-Range").value_or("all")) + ", " + std::to_string(*answer.length);
    } catch (const http::error& e) {
      return std::to_string(number(e.code()));
    }
  };
  EXPECT_EQ(range("bytes=0-0", "0123456789"), "bytes 0-0/10, 1");
  EXPECT_EQ(range("bytes=9-", "0123456789"), "bytes 9-9/10, 1");
  EXPECT_EQ(range("bytes=2-18446744073709551615", "0123456789"), "bytes 2-9/10, 8");
  EXPECT_EQ(range("bytes=0-18446744073709551615", "0123456789"), "bytes 0-9/10, 10");
  EXPECT_EQ(range("bytes=0-18446744073709551616", "0123456789"), "all, 10");
  EXPECT_EQ(range("bytes=18446744073709551615-", "0123456789"), "416");
  EXPECT_EQ(range("bytes=-18446744073709551615", "0123456789"), "bytes 0-9/10, 10");
  EXPECT_EQ(range("bytes=-0", "0123456789"), "416");
  EXPECT_EQ(range("bytes=0-", ""), "416");
  EXPECT_EQ(range("bytes=3-2", "0123456789"), "all, 10");
}

TEST(HttpKit, AnswersWhatAHandlerThrows) {
  http::router routes;
  routes.get("/busy", [](request&) -> response {
    throw http::error(status::service_unavailable, "busy").with("Retry-After", "1");
  });
  routes.get("/broken", [](request&) -> response { throw std::runtime_error("a secret"); });
  simulate([&] {
    http::options most;
    std::string reported;
    most.connections.on_error = [&](const std::string&, const std::exception_ptr& problem) {
      try {
        std::rethrow_exception(problem);
      } catch (const std::exception& e) {
        reported += e.what();
      }
    };
    serving(routes, most, [&](auto& at, auto&) {
      const std::string said = answer_to(at, get("/busy") + get("/broken") + get("/busy"));
      EXPECT_EQ(status_of(said), 503u);
      EXPECT_EQ(count(said, "Retry-After: 1\r\n"), 1u);
      EXPECT_NE(said.find("HTTP/1.1 500 Internal Server Error\r\n"), said.npos) << said;
      EXPECT_EQ(count(said, "secret"), 0u);
      EXPECT_EQ(count(said, "HTTP/1.1"), 2u) << "it ends with the one that broke: " << said;
    });
    EXPECT_EQ(reported, "a secret");
  });
}

TEST(HttpKit, HandsTheStreamOver) {
  http::router routes;
  routes.get("/upgrade", [](request&) {
    response r(status::switching_protocols);
    r.take_over = [](weft::io::stream s) {
      s.write_all("now it is lines\n");
      s.write_all(s.read_until("\n"));
    };
    return r;
  });
  simulate([&] {
    const auto report = serving(routes, {}, [](auto& at, auto&) {
      EXPECT_EQ(answer_to(at, get("/upgrade") + "mine\nnot read\n"), "now it is lines\nmine\n");
    });
    EXPECT_EQ(report.answered, 1u);
  });
}

TEST(HttpKit, DrainsWhatIsInFlightAndClosesWhatIsIdle) {
  http::router routes;
  routes.get("/slow", [](request&) {
    weft::sleep_for(3s);
    return http::text("done");
  });
  simulate([&] {
    auto [listener, at] = weft::io::memory_listen();
    http::server server(std::move(listener), routes);
    auto running = weft::spawn([&] { server.run(); });
    weft::io::stream idle = at.connect();
    weft::io::stream busy = at.connect();
    busy.write_all(get("/slow") + get("/slow"));
    weft::sleep_for(1s);
    server.stop();
    EXPECT_EQ(rest_of(idle), "");
    EXPECT_THROW((void)at.connect(), weft::io::error);
    const std::string said = rest_of(busy);
    EXPECT_TRUE(said.ends_with("Connection: close\r\n\r\ndone")) << said;
    EXPECT_EQ(count(said, "HTTP/1.1"), 1u);
    running.get();
    EXPECT_EQ(server.report().answered, 1u);
    EXPECT_EQ(server.report().cut_off, 0u);
  });
}

TEST(HttpKit, WritesALineForEachRequest) {
  simulate([] {
    std::string written;
    http::access_log log([&](const std::string& text) { written += text; });
    http::options most;
    most.log = log.sink();
    serving(echo_routes(), most, [](auto& at, auto&) {
      answer_to(at, get("/hello", "User-Agent: \"\\\x80\t\r\nReferer: there\r\n") + get("/%22\"?q") + "bad\r\n\r\n");
    });
    log.close();
    EXPECT_EQ(count(written, "\n"), 3u) << written;
    EXPECT_NE(written.find("] \"GET /hello HTTP/1.1\" 200 145 \"there\" \"\\x22\\x5c\\x80\" 0."), written.npos)
        << written;
    EXPECT_NE(written.find("] \"GET /%22\\x22?q HTTP/1.1\" 404 "), written.npos) << written;
    EXPECT_NE(written.find("] \"-\" 400 "), written.npos) << written;
    EXPECT_TRUE(written.starts_with("- - - [")) << written;
    EXPECT_EQ(log.dropped(), 0u);
  });
}

TEST(HttpKit, LosesLinesOfALogThatIsTooSlowAndCountsThem) {
  weft::sim::run(1, [] {
    std::size_t lines = 0;
    http::access_log log([&](const std::string& text) { lines += count(text, "\n"); }, 4);
    const auto sink = log.sink();
    request r;
    r.method = "GET";
    for (int i = 0; i < 10; ++i) sink({r, status::ok, 1, 1us});  // no wait, so nobody writes meanwhile
    log.close();
    EXPECT_EQ(lines + log.dropped(), 10u);
    EXPECT_GE(log.dropped(), 5u);
    sink({r, status::ok, 1, 1us});
    EXPECT_EQ(lines + log.dropped(), 11u);
  });
}

// --- the client ---

/// A client of a server that says `text` to each connection, after the first line, and ends it.
template <class F>
void answered_with(const std::string& text, const http::client_options& most, F f) {
  auto [listener, at] = weft::io::memory_listen();
  auto running = weft::spawn([&, l = std::move(listener)]() mutable {
    for (;;) {
      weft::io::stream s = l.accept();
      (void)s.read_until("\r\n\r\n");
      s.write_all(text);
      s.shutdown_write();
      (void)rest_of(s);
    }
  });
  http::client c([&at = at] { return at.connect(); }, most);
  f(c);
  running.cancel();
  running.wait();
}

unsigned failure_of(http::client& c, http::call what = {}) {
  try {
    (void)c.send(std::move(what)).body();
    return 0;
  } catch (const http::error& e) {
    return number(e.code());
  }
}

TEST(HttpClient, KeepsAConnectionAndMakesANewOneForOneThatWasClosed) {
  simulate([] {
    const auto report = calling(echo_routes(), {}, [](http::client& c) {
      for (int i = 0; i < 3; ++i) EXPECT_EQ(c.send({.target = "/hello"}).body(), "hello");
      EXPECT_EQ(c.send({.method = "POST", .target = "/echo", .body = "a"}).body(), "a");
      http::answer head = c.send({.method = "HEAD", .target = "/hello"});
      EXPECT_EQ(head.fields.get("Content-Length"), "5");
      EXPECT_EQ(head.body(), "");
      EXPECT_EQ(c.kept(), 1u);
      weft::sleep_for(10s);  // the server has closed it
      EXPECT_EQ(c.send({.target = "/hello"}).body(), "hello");
      { const http::answer unread = c.send({.target = "/hello"}); }
      EXPECT_EQ(c.kept(), 0u) << "with half an answer in it a connection is of no use";
      weft::sleep_for(40s);
    });
    EXPECT_EQ(report.connections, 2u);
  });
}

TEST(HttpClient, StreamsBothWaysAtTheSameTime) {
  http::router routes;
  routes.post("/back", [](request& r) {
    r.body_limit(10'000'000);
    return http::streamed("text/plain", [&r](http::body_writer& to) {
      char some[1000];
      while (const std::size_t n = r.read_some(some)) to.write({some, n});
    });
  });
  const std::string piece(10'000, 'x');
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    weft::sim::run(seed, [&] {
      const auto report = calling(routes, {}, [&](http::client& c) {
        for (const bool counted : {true, false}) {  // more than all buffers on the way hold
          http::call what{.method = "POST", .target = "/back"};
          what.stream = [&](http::body_writer& to) {
            for (int i = 0; i < 100; ++i) to.write(piece);
          };
          if (counted) what.length = 1'000'000;
          http::answer a = c.send(std::move(what));
          EXPECT_EQ(a.length(), std::nullopt);
          EXPECT_EQ(a.body().size(), 1'000'000u);
        }
      });
      EXPECT_EQ(report.answered, 2u);
      EXPECT_LE(report.connections, 2u);
    });
}

TEST(HttpClient, ThrowsWhatTheSourceOfABodyThrew) {
  simulate([] {
    calling(echo_routes(), {}, [](http::client& c) {
      http::call what{.method = "POST", .target = "/echo"};
      what.stream = [](http::body_writer& to) {
        to.write("half");
        throw std::logic_error("the source is dry");
      };
      EXPECT_THROW((void)c.send(std::move(what)), std::logic_error);
      EXPECT_EQ(c.kept(), 0u);
    });
  });
}

TEST(HttpClient, GetsAnAnswerThatComesBeforeItsBodyHasGone) {
  simulate([] {
    calling(echo_routes(), {}, [](http::client& c) {
      http::call what{.method = "POST", .target = "/hello", .length = 1'000'000'000};
      what.stream = [](http::body_writer& to) {
        for (int i = 0; i < 10'000; ++i) to.write(std::string(100'000, 'x'));
      };
      EXPECT_EQ(c.send(std::move(what)).code, status::method_not_allowed);
    });
  });
}

TEST(HttpClient, SaysWhatIsWrongAsAGatewayDoes) {
  for (const auto& [text, code] : std::vector<std::pair<std::string, unsigned>>{
           {"", 502},
           {"what?\r\n\r\n", 502},
           {"HTTP/1.1 200 OK\r\nContent-Le", 502},
           {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", 502},
           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n", 502},
           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 502},
           {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n", 502},
           {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end", 0},
       })
    weft::sim::run(code, [&, text = text, code = code] {
      answered_with(text, {}, [&](http::client& c) { EXPECT_EQ(failure_of(c), code) << text; });
    });
  weft::sim::run(1, [] {
    http::router slow;
    slow.get("/", [](request&) {
      weft::sleep_for(8s);
      return http::text("late");
    });
    calling(slow, {.answer = 5s}, [](http::client& c) {
      const auto took = weft::testing::time_of([&] { EXPECT_EQ(failure_of(c), 504u); });
      EXPECT_EQ(std::chrono::round<std::chrono::seconds>(took), 5s);
    });
  });
}

// What is sent comes from strangers, as in a proxy: it must not become another request.
TEST(HttpClient, SendsNoLineThatWouldBeTwo) {
  simulate([] {
    const auto report = calling(echo_routes(), {}, [](http::client& c) {
      for (const std::string_view two : {"/hello HTTP/1.1\r\nHost: here\r\n\r\nGET /x", "/a b", "/a\n", ""}) {
        EXPECT_THROW((void)c.send({.target = std::string(two)}), std::invalid_argument) << two;
        EXPECT_THROW((void)c.send({.method = std::string(two)}), std::invalid_argument) << two;
      }
      EXPECT_EQ(c.send({.target = "/hello"}).body(), "hello");
    });
    EXPECT_EQ(report.answered, 1u);
  });
}

TEST(HttpClient, GivesUpOnAServerThatTakesNothing) {
  weft::sim::run(1, [] {
    auto [listener, at] = weft::io::memory_listen();
    auto running = weft::spawn([l = std::move(listener)]() mutable {
      weft::io::stream s = l.accept();
      weft::sleep_for(1h);
    });
    http::client c([&at = at] { return at.connect(); }, {.idle = 5s});
    http::call what{.method = "PUT", .body = std::string(1'000'000, 'x')};
    const auto took = weft::testing::time_of([&] { EXPECT_EQ(failure_of(c, std::move(what)), 504u); });
    EXPECT_EQ(std::chrono::round<std::chrono::seconds>(took), 5s);
    running.cancel();
    running.wait();
  });
}

}  // namespace
}  // namespace http_kit_test
