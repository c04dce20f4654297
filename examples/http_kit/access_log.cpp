#include "http_kit/access_log.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <exception>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <weft/cancel.hpp>
#include <weft/channel.hpp>
#include <weft/spawn.hpp>

namespace http {

namespace {

void append_safely(std::string& to, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      to += c;
      continue;
    }
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
    to += escaped;
  }
}

void write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(file, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "access log");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

std::string combined_line(const access& done) {
  const request& what = done.what;
  std::string line = what.peer ? what.peer.address() : "-";
  char text[64];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(text, sizeof text, " - - [%d/%b/%Y:%H:%M:%S +0000] \"", &utc);
  line += text;
  if (what.method.empty()) {
    line += '-';
  } else {
    append_safely(line, what.method);
    line += ' ';
    append_safely(line, what.target);
    line += what.version == 11 ? " HTTP/1.1" : " HTTP/1.0";
  }
  std::snprintf(text, sizeof text, "\" %u %llu \"", number(done.code), static_cast<unsigned long long>(done.sent));
  line += text;
  append_safely(line, what.field("Referer").value_or("-"));
  line += "\" \"";
  append_safely(line, what.field("User-Agent").value_or("-"));
  std::snprintf(text, sizeof text, "\" %.6f", std::chrono::duration<double>(done.took).count());
  return line += text;
}

struct access_log::state {
  state(std::function<void(const std::string&)> w, std::size_t most) : write(std::move(w)), lines(most) {}

  void keep_writing() {
    std::string batch;
    try {
      for (;;) {
        batch = lines.recv() + "\n";
        std::uint64_t count = 1;
        while (batch.size() < 256 * 1024) {
          const std::optional<std::string> next = lines.try_recv();
          if (!next) break;
          batch += *next + "\n";
          ++count;
        }
        try {
          weft::spawn_blocking([&] { write(batch); }).get();
        } catch (const std::exception&) {
          dropped.fetch_add(count, std::memory_order_relaxed);
        }
      }
    } catch (const weft::channel_closed&) {
    }
  }

  const std::function<void(const std::string&)> write;
  weft::channel<std::string> lines;
  std::atomic<std::uint64_t> dropped{0};
  weft::future<void> writing;
};

access_log::access_log(int file, std::size_t lines_queued)
    : access_log([file](const std::string& text) { write_all(file, text); }, lines_queued) {}

access_log::access_log(std::function<void(const std::string&)> write, std::size_t lines_queued)
    : state_(std::make_shared<state>(std::move(write), lines_queued)) {
  // Under nobody's scope: who is cancelled still wants what was done before in the log.
  state_->writing = weft::spawn(weft::detached, {.name = "access log"}, [s = state_] { s->keep_writing(); });
}

access_log::~access_log() { close(); }

void access_log::close() {
  weft::shield([&] {
    state_->lines.close();
    state_->writing.wait();
  });
}

std::function<void(const access&)> access_log::sink() {
  return [s = state_](const access& done) {
    bool queued = false;
    try {
      queued = s->lines.try_send(combined_line(done));
    } catch (const weft::channel_closed&) {
    }
    if (!queued) s->dropped.fetch_add(1, std::memory_order_relaxed);
  };
}

std::uint64_t access_log::dropped() const noexcept { return state_->dropped.load(std::memory_order_relaxed); }

}  // namespace http
