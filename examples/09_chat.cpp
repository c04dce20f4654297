// A chat room: what one says, all hear, whether they came by TCP with lines or by a browser with a WebSocket.
//
// Run it: build/dev/examples/09_chat --port 7001 --web 8001
//         (port 0 takes any free one; also --silence-ms)
//
//     nc localhost 7001                    the first line is your name, all others are said
//     a browser on http://localhost:8001   the same, on a page
//
// The room is one weft::broadcast: it keeps the last 256 lines for those who have not heard them yet, and whoever is
// too slow for that is told how many they missed, so one bad line holds nobody up. A member is two fibers, one for what
// they say and one for what they hear; when either ends so does the other. Who says nothing for ten minutes is shown
// out (a browser that answers pings may stay). On SIGINT (Ctrl-C) or SIGTERM everybody hears "the room is closed", and
// the server ends with a line such as
//
//     stopped: 5 members came, 40 lines were said

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <optional>
#include <string>

#include <weft/weft.hpp>

#include "http_kit/server.hpp"
#include "http_kit/websocket.hpp"
#include "support/arguments.hpp"
#include "support/chat_page.hpp"

using std::chrono::milliseconds;

class room {
 public:
  void say(std::string line) {
    try {
      lines_.send(std::move(line));
      ++said_;
    } catch (const weft::channel_closed&) {  // closing time
    }
  }
  void close() {
    say("the room is closed");
    lines_.close();
  }

  /// Somebody comes and stays until `listen` has no more for us, or `tell` fails, or the room closes.
  void welcome(const std::function<std::optional<std::string>()>& listen,
               const std::function<void(const std::string&)>& tell, const std::function<void()>& part) {
    ++members_;
    tell("who are you?");
    const auto name = listen();
    if (!name || name->empty() || name->size() > 40) return tell("that is no name");
    weft::broadcast<std::string>::receiver ears(lines_);
    say(*name + " came");
    try {
      weft::with_group([&](weft::task_group& both) {
        both.spawn([&] {
          hear(ears, tell);
          part();
          both.cancel();
        });
        while (const auto line = listen()) say(*name + ": " + *line);
        both.cancel();
      });
    } catch (const std::exception&) {  // the line broke
    }
    say(*name + " went");
  }

  [[nodiscard]] std::uint64_t members() const { return members_; }
  [[nodiscard]] std::uint64_t said() const { return said_; }

 private:
  /// Until the room closes.
  static void hear(weft::broadcast<std::string>::receiver& ears, const std::function<void(const std::string&)>& tell) {
    for (;;) try {
        tell(*ears.recv());
      } catch (const weft::lagged& slow) {
        tell("(you missed " + std::to_string(slow.missed()) + " lines)");
      } catch (const weft::channel_closed&) {
        return;
      }
  }

  weft::broadcast<std::string> lines_{256};
  std::atomic<std::uint64_t> members_ = 0;
  std::atomic<std::uint64_t> said_ = 0;
};

void serve(std::uint16_t port, std::uint16_t web_port, const weft::io::serve_options& limits) {
  room here;

  const auto by_line = [&](weft::io::stream client) {
    const auto listen = [&]() -> std::optional<std::string> {
      try {
        std::string line = client.read_until("\n", 1000);
        while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
        return line;
      } catch (const std::exception&) {  // gone, silent for too long, or a line without an end
        return std::nullopt;
      }
    };
    here.welcome(
        listen,
        [&](const std::string& line) {
          client.write_all({line, "\n"});
        },
        [] {});
  };
  weft::io::server lines(weft::io::listen(weft::io::endpoint::loopback(port)), by_line, limits);

  http::router routes;
  routes.get("/", [](http::request&) { return http::html(chat_page); });
  routes.get("/chat", [&](http::request& r) {
    return http::websocket_response(r,
                                    [&](http::websocket& with) {
                                      here.welcome([&] { return with.read(); },
                                                   [&](const std::string& line) { with.write(line); },
                                                   [&] { with.close(); });
                                    },
                                    {.message = 1000, .idle = limits.idle});
  });
  http::server web(weft::io::listen(weft::io::endpoint::loopback(web_port)), routes, {.connections = limits});

  auto await_signal = weft::lazy([&] {
    weft::io::signals stop{SIGINT, SIGTERM};
    std::cout << "listening on " << to_string(lines.local()) << " and http://" << to_string(web.local()) << std::endl;
    stop.wait();
    here.close();
    lines.stop();
    web.stop();
  });
  weft::gather(std::move(await_signal), weft::lazy([&] { lines.run(); }), weft::lazy([&] { web.run(); })).get();
  std::cout << "stopped: " << here.members() << " members came, " << here.said() << " lines were said" << std::endl;
}

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  const auto port = given.take<std::uint16_t>("--port", 7001);
  const auto web_port = given.take<std::uint16_t>("--web", 8001);
  weft::io::serve_options limits;
  limits.idle = given.take("--silence-ms", milliseconds(600'000));
  limits.first_byte = std::min<std::chrono::nanoseconds>(limits.idle, std::chrono::seconds(10));
  limits.write_stall = milliseconds(10'000);
  limits.grace = milliseconds(1000);
  given.finish();
  weft::run([&] { serve(port, web_port, limits); });
  return 0;
} catch (const std::exception& error) {
  std::cerr << "09_chat: " << error.what() << std::endl;
  return 1;
}
