// A key-value store: one command a line, one answer a line. It keeps everything on one loop, so the fibers of its
// connections share a plain map and need no lock: between two waits nothing else touches it.
//
// Run it: build/dev/examples/11_key_value --port 7002
//         (port 0 takes any free one; also --keys and --bytes, of keys and values, the most it holds; --connections and
//         --silence-ms)
//
//     nc localhost 7002
//     SET colour 60 dark green     OK         kept for 60 seconds; 0 is for ever; the value is the rest of the line
//     GET colour                   VALUE dark green, or NONE
//     TTL colour                   INT 59, or INT 0 for ever, or NONE
//     INCR visits                  INT 1      the number there, plus one; kept for as long as it was
//     DEL colour                   INT 1      how many there were
//     KEYS                         INT 1      how many there are
//     QUIT                         OK, and the end
//
// What it does not understand it answers with "ERROR" and why. When it is full, what would need more room is answered
// "ERROR the store is full", and all that is there stays. Commands may be sent without waiting (pipelined): answers
// come in order, and those that are ready go out together. On SIGINT (Ctrl-C) or SIGTERM it ends with a line such as
//
//     stopped: 4711 commands, 12 keys

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

#include <weft/weft.hpp>

#include "support/arguments.hpp"
#include "support/expiring_map.hpp"

using namespace std::chrono_literals;

constexpr std::size_t longest_line = 64 * 1024;
constexpr std::size_t longest_key = 250;

class store {
 public:
  using map = expiring_map<std::string>;
  explicit store(map::bounds most) : entries_(most) {}

  /// The answer to a line, without its end. Does not wait.
  std::string answer(std::string_view line) {
    ++commands_;
    const std::string_view command = take_word(line);
    if (command == "KEYS") return integer(static_cast<std::int64_t>(keys()));
    if (command != "GET" && command != "SET" && command != "DEL" && command != "TTL" && command != "INCR")
      return "ERROR no such command: GET, SET, DEL, TTL, INCR, KEYS or QUIT";
    const std::string_view key = take_word(line);
    if (key.empty() || key.size() > longest_key) return "ERROR a key has 1 to 250 bytes";
    if (command == "SET") return set(key, line);
    if (!line.empty()) return "ERROR one key is enough";
    const map::entry* const there = entries_.find(key);
    if (command == "GET") return there ? "VALUE " + there->value : "NONE";
    if (command == "TTL") return there ? integer(seconds_to(there->until)) : "NONE";
    if (command == "INCR") return increment(key, there);
    return integer(entries_.erase(key) ? 1 : 0);
  }

  /// Forgets what nobody has asked for since its time was up; some at a time, so that nobody waits for it.
  void sweep() {
    for (weft::interval ticks(1s, weft::missed_tick::delay);; ticks.tick())
      while (entries_.sweep(100) > 0) weft::yield();
  }

  [[nodiscard]] std::size_t keys() const { return entries_.size(); }
  [[nodiscard]] std::uint64_t commands() const { return commands_; }

 private:
  static constexpr const char* full = "ERROR the store is full";

  static std::string_view take_word(std::string_view& line) {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(word.size() + 1, line.size()));
    return word;
  }
  static std::string integer(std::int64_t n) { return "INT " + std::to_string(n); }

  static std::int64_t seconds_to(weft::deadline until) {
    if (until.is_never()) return 0;
    return std::chrono::ceil<std::chrono::seconds>(until.when() - weft::clock::now()).count();
  }

  std::string set(std::string_view key, std::string_view rest) {
    const auto seconds = number<std::uint32_t>(take_word(rest));
    if (!seconds) return "ERROR for how many seconds? SET key seconds value";
    const auto until = *seconds > 0 ? weft::deadline::after(std::chrono::seconds(*seconds)) : weft::deadline::never();
    return entries_.put(key, std::string(rest), until) ? "OK" : full;
  }
  std::string increment(std::string_view key, const map::entry* there) {
    const auto n = there ? number<std::int64_t>(there->value) : 0;
    if (!n || *n == INT64_MAX) return "ERROR that is no number to add to";
    const auto until = there ? there->until : weft::deadline::never();
    return entries_.put(key, std::to_string(*n + 1), until) ? integer(*n + 1) : full;
  }

  map entries_;
  std::uint64_t commands_ = 0;
};

void talk(weft::io::stream client, store& here) {
  std::string answers;
  const auto send = [&] {
    client.write_all(answers);
    answers.clear();
  };
  try {
    for (bool more = true; more;) {
      std::string line = client.read_until("\n", longest_line);
      line.erase(line.find_last_not_of("\r\n") + 1);
      more = line != "QUIT";
      answers += (more ? here.answer(line) : "OK") + "\n";
      // As long as there are whole commands, their answers are gathered.
      if (!more || answers.size() > longest_line || client.buffered().find('\n') == std::string_view::npos) send();
    }
  } catch (const weft::io::line_too_long&) {
    answers += "ERROR a line has 65536 bytes at most\n";
    send();
  } catch (const weft::io::end_of_stream&) {  // a command without its end does not count
  }
  client.finish(1s);  // it may be sending still, and is to hear all the same
}

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  const auto port = given.take<std::uint16_t>("--port", 7002);
  const store::map::bounds most{.entries = given.take<std::size_t>("--keys", 1'000'000),
                                .bytes = given.take<std::size_t>("--bytes", 256'000'000)};
  weft::io::serve_options limits;
  limits.max_connections = given.take<std::size_t>("--connections", 1000);  // each has 200 KB in memory at most
  limits.first_byte = limits.idle = given.take("--silence-ms", std::chrono::milliseconds(5min));
  limits.grace = 500ms;
  given.finish();
  weft::run(
      [&] {
        store here(most);
        weft::io::server server(
            weft::io::listen(weft::io::endpoint::loopback(port)),
            [&](weft::io::stream client) { talk(std::move(client), here); }, limits);
        weft::io::signals stop{SIGINT, SIGTERM};
        std::cout << "listening on " << to_string(server.local()) << std::endl;
        weft::with_group([&](weft::task_group& all) {
          all.spawn([&] { here.sweep(); });
          auto serving = all.spawn([&] { server.run(); });
          stop.wait();
          server.stop();
          serving.get();
          all.cancel();
        });
        std::cout << "stopped: " << here.commands() << " commands, " << here.keys() << " keys" << std::endl;
      },
      {.loops = 1});
  return 0;
} catch (const std::exception& error) {
  std::cerr << "11_key_value: " << error.what() << std::endl;
  return 1;
}
