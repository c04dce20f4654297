// What proxies and long requests need of the HTTP kit: forward() and while_connected(), on memory streams and virtual
// time, under many schedules.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <weft/io/memory.hpp>

#include "http_kit/forward.hpp"
#include "http_kit/while_connected.hpp"
#include "kit_serving.hpp"
#include "weft_test.hpp"

namespace http_forward_test {
namespace {

using namespace kit_serving;
using namespace std::chrono_literals;
using http::request;
using http::response;
using http::status;
using weft::testing::simulate;

/// A client's view of a proxy before `routes`: f(connector of the proxy). Gives the proxy's report.
template <class F>
http::server_report behind_proxy(const http::router& routes, F f, const http::options& most = {}) {
  http::server_report did;
  serving(routes, {}, [&](auto& there, auto&) {
    http::client behind([&there] { return there.connect(); });
    did = serving([&](request& r) { return http::forward(r, behind, {.scheme = "https"}); }, most,
                  [&](auto& at, auto&) { f(at); });
  });
  return did;
}

TEST(HttpForward, PassesOnWhatIsNotOfOneConnection) {
  http::router routes;
  std::string asked;
  routes.post("/x", [&](request& r) {
    asked = r.fields.text();
    return http::text(r.body() + " and back").with("X-There", "1").with("Proxy-Authenticate", "Basic");
  });
  simulate([&] {
    behind_proxy(routes, [&](auto& at) {
      const std::string said = answer_to(at,
                                         "POST /x HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nX-Mine: 1\r\n"
                                         "X-Yours: 2\r\nTE: trailers\r\nProxy-Authorization: secret\r\n"
                                         "X-Forwarded-Proto: gopher\r\nConnection: close, x-mine\r\n\r\nthere");
      EXPECT_EQ(status_of(said), 200u) << said;
      EXPECT_EQ(body_of(said), "there and back");
      EXPECT_EQ(count(said, "X-There: 1\r\n"), 1u);
      EXPECT_EQ(count(said, "Proxy-Authenticate"), 0u) << said;
      EXPECT_EQ(count(said, "Content-Length"), 1u);
    });
    for (const char* gone : {"X-Mine", "TE:", "secret", "gopher", "close", "X-Forwarded-For"})
      EXPECT_EQ(count(asked, gone), 0u) << gone << " in " << asked;  // nobody knows where a memory stream comes from
    for (const char* there : {"X-Yours: 2\r\n", "Host: here\r\n", "X-Forwarded-Proto: https\r\n", "Via: 1.1 weft\r\n"})
      EXPECT_EQ(count(asked, there), 1u) << there << " in " << asked;
  });
}

TEST(HttpForward, SaysOfAHeadHowLongTheBodyWouldBe) {
  http::router routes;
  routes.get("/x", [](request&) { return http::text("hello"); });
  simulate([&] {
    behind_proxy(routes, [](auto& at) {
      const std::string said = answer_to(at, "HEAD /x HTTP/1.1\r\nHost: here\r\n\r\n" + get("/x", last));
      EXPECT_EQ(count(said, "Content-Length: 5\r\n"), 2u) << said;
      EXPECT_EQ(count(said, "hello"), 1u) << said;
    });
  });
}

constexpr std::string_view upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n";

/// Speaks lines after an upgrade, until the other side ends its half.
response lines_of_its_own(request& r) {
  response answer(status::switching_protocols);
  answer.take_over = [key = std::string(r.field("Sec-WebSocket-Key").value_or("none"))](weft::io::stream s) {
    s.write_all({"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: ", key,
                 "\r\n\r\nwelcome\n"});
    for (const auto& line : s.lines()) s.write_all({"heard ", line, "\n"});
    s.write_all("bye\n");
  };
  return answer;
}

TEST(HttpForward, IsATunnelForAWebSocket) {
  http::router routes;
  routes.get("/chat", lines_of_its_own);
  simulate([&] {
    const auto did = behind_proxy(routes, [](auto& at) {
      weft::io::stream s = at.connect();
      s.write_all(get("/chat", upgrade) + "at once\n");  // it did not wait for the answer
      const std::string head = s.read_until("\r\n\r\n");
      EXPECT_TRUE(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << head;
      EXPECT_EQ(count(head, "Upgrade: websocket\r\n"), 1u) << head;
      EXPECT_EQ(count(head, "X-Key: a\r\n"), 1u) << head;
      EXPECT_EQ(s.read_until("\n"), "welcome\n");
      EXPECT_EQ(s.read_until("\n"), "heard at once\n");
      weft::sleep_for(1s);
      s.write_all("more\n");
      EXPECT_EQ(s.read_until("\n"), "heard more\n");
      s.shutdown_write();
      EXPECT_EQ(rest_of(s), "bye\n") << "the end of one way leaves the other open";
    });
    EXPECT_EQ(did.answered, 1u);
    EXPECT_EQ(did.cut_off, 0u);
  });
}

TEST(HttpForward, BearsASilentWebSocketForLongerThanASilentRequest) {
  http::router routes;
  routes.get("/chat", [](request& r) {
    response answer = lines_of_its_own(r);
    answer.take_over = [f = std::move(answer.take_over)](weft::io::stream s) mutable {
      s.read_timeout(weft::io::no_timeout);
      f(std::move(s));
    };
    return answer;
  });
  http::options most;
  most.connections.idle = 30s;
  simulate([&] {
    behind_proxy(
        routes,
        [](auto& at) {
          weft::io::stream s = at.connect();
          s.write_all(get("/chat", upgrade));
          (void)s.read_until("welcome\n");
          for (int i = 0; i < 3; ++i) {
            weft::sleep_for(9min);
            s.write_all("x\n");
            EXPECT_EQ(s.read_until("\n"), "heard x\n");
          }
          const auto begun = weft::clock::now();
          EXPECT_EQ(rest_of(s), "");
          EXPECT_GE(weft::clock::now() - begun, http::websocket_silence);
          EXPECT_LE(weft::clock::now() - begun, 2 * http::websocket_silence);
        },
        most);
  });
}

TEST(HttpForward, BearsAWebSocketOnWhichOneSideOnlyListens) {
  http::router routes;
  routes.get("/news", [](request&) {
    response answer(status::switching_protocols);
    answer.take_over = [](weft::io::stream s) {
      s.write_all("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      for (int i = 0; i < 20; ++i) {
        weft::sleep_for(7min);
        s.write_all("news\n");
      }
    };
    return answer;
  });
  simulate([&] {
    for (const bool ends_its_half : {false, true})
      behind_proxy(routes, [&](auto& at) {
        weft::io::stream s = at.connect();
        s.write_all(get("/news", upgrade));
        (void)s.read_until("\r\n\r\n");
        if (ends_its_half) s.shutdown_write();
        EXPECT_EQ(count(rest_of(s), "news\n"), 20u);
      });
  });
}

TEST(HttpForward, LetsGoWhenTheAnswerOrTheTunnelHasEnded) {
  http::router routes;
  routes.get("/chat", lines_of_its_own);
  routes.get("/slow", [](request&) {
    return http::streamed("text/plain", [](http::body_writer& to) {
      to.write("a");
      weft::sleep_for(5s);
      to.write("b");
    });
  });
  simulate([&] {
    std::weak_ptr<int> held;
    serving(routes, {}, [&](auto& there, auto&) {
      http::client behind([&there] { return there.connect(); });
      const auto pass = [&](request& r) {
        const auto seat = std::make_shared<int>(1);
        held = seat;
        return http::forward(r, behind, {.until_done = seat});
      };
      serving(pass, {}, [&](auto& at, auto&) {
        weft::io::stream slow = at.connect();
        slow.write_all(get("/slow"));
        (void)slow.read_until("a");
        EXPECT_FALSE(held.expired());
        (void)slow.read_until("0\r\n\r\n");
        weft::sleep_for(1s);
        EXPECT_TRUE(held.expired());

        weft::io::stream s = at.connect();
        s.write_all(get("/chat", upgrade));
        (void)s.read_until("welcome\n");
        EXPECT_FALSE(held.expired());
        s.close();
        weft::sleep_for(1s);
        EXPECT_TRUE(held.expired());
      });
    });
  });
}

TEST(HttpForward, PassesNoOtherUpgradeAndNoConnect) {
  http::router routes;
  routes.get("/", [](request& r) {
    return http::text(r.fields.has("Upgrade") || r.fields.has("Connection") ? "asked" : "not asked");
  });
  routes.get("/forced", lines_of_its_own);
  simulate([&] {
    behind_proxy(routes, [](auto& at) {
      for (const char* other :
           {"Connection: Upgrade, close\r\nUpgrade: h2c\r\n", "Connection: close\r\nUpgrade: websocket\r\n"})
        EXPECT_EQ(body_of(answer_to(at, get("/", other))), "not asked");
      EXPECT_EQ(status_of(answer_to(at, get("/forced", last))), 502u) << "a switch that nobody asked for";
      EXPECT_EQ(status_of(answer_to(at, "CONNECT there:443 HTTP/1.1\r\nHost: there:443\r\nConnection: close\r\n\r\n")),
                501u);
    });
  });
}

TEST(HttpForward, MayRepeatWhatIsIdempotentAndStillWhole) {
  http::request r;
  for (const auto& [method, may] :
       std::vector<std::pair<const char*, bool>>{{"GET", true}, {"PUT", true}, {"POST", false}}) {
    r.begin(nullptr);
    r.method = method;
    EXPECT_EQ(http::may_repeat(r), may) << method;
    char some[1];
    (void)r.read_some(some);
    EXPECT_FALSE(http::may_repeat(r)) << method;
  }
}

// --- while_connected ---

/// A route that works for a minute while its client is there; what became of it.
struct long_work {
  bool ended = false;
  bool cancelled = false;
  std::vector<unsigned> thrown;

  response operator()(request& r) {
    try {
      return http::while_connected(r, [&] {
        const struct mark {
          bool& at;
          ~mark() { at = true; }
        } at_the_end{ended};
        try {
          weft::sleep_for(1min);
        } catch (const weft::cancelled&) {
          cancelled = true;
          weft::shield([] { weft::sleep_for(1s); });  // it takes its time to end, and is waited for
          throw;
        }
        return http::text("done");
      });
    } catch (const http::error& e) {
      EXPECT_TRUE(ended);
      thrown.push_back(number(e.code()));
      throw;
    }
  }
};

http::router works(long_work& w) {
  http::router routes;
  routes.get("/work", [&w](request& r) { return w(r); });
  routes.get("/hello", [](request&) { return http::text("hello"); });
  routes.post("/unread", [&w](request& r) { return w(r); });
  routes.post("/void", [](request& r) {
    (void)r.body();
    http::while_connected(r, [] { throw http::error(status::conflict, "f threw"); });
    return http::text("");
  });
  return routes;
}

/// The default would take a client that waits for a minute for one that is gone.
http::options patient() {
  http::options most;
  most.connections.idle = 10s;
  return most;
}

TEST(HttpWhileConnected, WorksForAClientThatWaitsAndForItsNextRequest) {
  simulate([] {
    long_work w;
    serving(works(w), patient(), [](auto& at, auto&) {
      const std::string said = answer_to(at, get("/work") + get("/hello", last));
      EXPECT_EQ(count(said, "HTTP/1.1 200 OK\r\n"), 2u) << said;
      EXPECT_EQ(count(said, "\r\n\r\ndone"), 1u);
      EXPECT_EQ(body_of(said.substr(said.find("done"))), "hello") << "nothing is lost of what came meanwhile";
    });
    EXPECT_FALSE(w.cancelled);
  });
}

TEST(HttpWhileConnected, EndsTheWorkOfAClientThatGoes) {
  for (const bool orderly : {true, false})
    simulate([&] {
      long_work w;
      serving(works(w), patient(), [&](auto& at, auto&) {
        weft::io::stream s = at.connect();
        s.write_all(get("/work"));
        weft::sleep_for(5s);
        EXPECT_FALSE(w.ended);
        if (orderly)
          s.shutdown_write();
        else
          s.close();
        weft::sleep_for(5s);
        EXPECT_TRUE(w.ended && w.cancelled);
        EXPECT_EQ(w.thrown, std::vector<unsigned>{499});
      });
    });
}

TEST(HttpWhileConnected, ThrowsWhatTheWorkThrew) {
  simulate([] {
    long_work w;
    serving(works(w), {}, [](auto& at, auto&) {
      EXPECT_EQ(status_of(answer_to(
                    at, "POST /void HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")),
                409u);
    });
  });
}

TEST(HttpWhileConnected, IsNotForARequestWithABodyThatIsStillToCome) {
  simulate([] {
    long_work w;
    http::options most;
    unsigned complaints = 0;
    most.connections.on_error = [&](const std::string&, const std::exception_ptr& problem) {
      EXPECT_THROW(std::rethrow_exception(problem), std::logic_error);
      ++complaints;
    };
    serving(works(w), most, [](auto& at, auto&) {
      EXPECT_EQ(status_of(answer_to(at, "POST /unread HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\nx")), 500u);
    });
    EXPECT_EQ(complaints, 1u);
    EXPECT_TRUE(w.ended && w.cancelled);
  });
}

TEST(HttpWhileConnected, IsEndedByADrainWithoutGrace) {
  simulate([] {
    long_work w;
    http::options most = patient();
    most.connections.grace = 2s;
    const auto did = serving(works(w), most, [](auto& at, auto& server) {
      weft::io::stream s = at.connect();
      s.write_all(get("/work"));
      weft::sleep_for(5s);
      server.stop();
      EXPECT_EQ(rest_of(s), "");
    });
    EXPECT_TRUE(w.ended && w.cancelled);
    EXPECT_EQ(w.thrown, std::vector<unsigned>{}) << "that is no client that went";
    EXPECT_EQ(did.cut_off, 1u);
  });
}

}  // namespace
}  // namespace http_forward_test
