#pragma once
// What load generators share: options, connections, and the closed load, in which each connection sends a request,
// waits for the answer, checks it, and sends the next. Bare epoll, for the load must not be what is measured.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "process_bill.hpp"
#include "report.hpp"

namespace bench {

using steady = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "load: %s\n", what.c_str());
  std::exit(1);
}
[[noreturn]] inline void die_of_errno(const char* what) { die(std::string(what) + ": " + std::strerror(errno)); }

/// "--connections 50 --seconds 1.5": numbers all.
class options {
 public:
  options(int argc, char** argv) {
    for (int i = 1; i < argc; i += 2) {
      if (i + 1 == argc) die(argv[i] + std::string(" what?"));
      given_[argv[i]] = std::atof(argv[i + 1]);
    }
  }
  double take(const std::string& name, double otherwise) {
    const auto given = given_.extract(name);
    return given.empty() ? otherwise : given.mapped();
  }
  std::size_t take_count(const std::string& name, double otherwise) {
    return static_cast<std::size_t>(take(name, otherwise));
  }
  void finish() const {
    if (!given_.empty()) die("unknown option " + given_.begin()->first);
  }

 private:
  std::map<std::string, double> given_;
};

/// A blocking socket, connected to 127.0.0.1. `reset`: closing it leaves no port in TIME_WAIT, for there may be ten
/// thousand. Else it ends as clients end, and comes from another address for another `i`, so that ports last.
inline int connect_to(std::uint16_t port, bool reset = true, std::size_t i = 0) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_of_errno("socket");
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (reset) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  } else {
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    address.sin_addr.s_addr = htonl(static_cast<std::uint32_t>(INADDR_LOOPBACK + i % 200));
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die_of_errno("bind");
  }
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die_of_errno("connect");
  return fd;
}

inline void send_all(int fd, std::string_view bytes) {
  if (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) die_of_errno("send");
}

/// The options of a closed load.
struct closed_options {
  std::uint16_t port;
  pid_t server;  ///< whose CPU time and memory are told; 0: nobody's
  std::size_t connections;
  std::size_t threads;
  double length;  ///< seconds
  bool fresh;     ///< each request comes over a connection of its own, and its time counts from before that
  bool wait;      ///< before the measured part print "ready" and wait for a line; after it for another

  explicit closed_options(options& given)
      : port(static_cast<std::uint16_t>(given.take("--port", 0))),
        server(static_cast<pid_t>(given.take("--pid", 0))),
        connections(given.take_count("--connections", 1)),
        threads(given.take_count("--threads", 1)),
        length(given.take("--seconds", 1)),
        fresh(given.take("--fresh", 0) != 0),
        wait(given.take("--wait", 0) != 0) {
    threads = std::max<std::size_t>(1, std::min(threads, connections));
    if (connections == 0) die("no connections");
  }
};

/// A Conversation is one connection's part: request() is what it sends next; take(bytes) looks at what came, gives true
/// when the answer is complete and dies when it is wrong.
template <class Conversation>
class closed_load {
 public:
  /// `make(i, fd)` gives the Conversation of connection i.
  template <class Make>
  closed_load(const closed_options& with, Make make) : with_(with), shares_(with.threads) {
    for (share& s : shares_) {
      s.epoll = ::epoll_create1(EPOLL_CLOEXEC);
      s.lines.reserve(with.connections / with.threads + 1);
    }
    const process_bill bill(with.server);
    resident_before_ = bill.resident_bytes();
    for (std::size_t i = 0; i < with.connections; ++i) {
      share& s = shares_[i % shares_.size()];
      const int fd = connect_to(with.port, !with.fresh, i);
      s.lines.push_back({fd, make(i, fd), {}});
      watch(s, s.lines.back());
    }
  }

  /// Warms up, measures, reports.
  void run() {
    const process_bill bill(with_.server);
    std::barrier<> all(static_cast<std::ptrdiff_t>(shares_.size() + 1));
    std::vector<std::jthread> threads;
    for (share& s : shares_)
      threads.emplace_back([&] {
        turn(s, seconds(with_.length / 5));
        s.microseconds.clear();
        all.arrive_and_wait();
        all.arrive_and_wait();
        turn(s, seconds(with_.length));
        all.arrive_and_wait();
      });
    all.arrive_and_wait();
    if (with_.wait) wait_for_line();
    const double cpu = bill.cpu_seconds();
    const auto start = steady::now();
    all.arrive_and_wait();
    all.arrive_and_wait();
    const double took = seconds(steady::now() - start).count();
    const double used = bill.cpu_seconds() - cpu;
    const double resident = bill.resident_bytes();

    std::vector<double> microseconds;
    for (share& s : shares_) microseconds.insert(microseconds.end(), s.microseconds.begin(), s.microseconds.end());
    const auto count = static_cast<double>(microseconds.size());
    report out;
    out.add("requests", count);
    out.add("measured_s", took);
    out.add("requests_per_s", count / took);
    if (with_.server != 0) {
      out.add("cpu_us_per_request", used / count * 1e6);
      // Of fewer connections it would be the server's own first steps that are counted.
      if (with_.connections >= 1'000)
        out.add("bytes_per_connection", (resident - resident_before_) / static_cast<double>(with_.connections));
    }
    out.add_latencies(std::move(microseconds));
    out.print();
    std::fflush(stdout);
    if (with_.wait) wait_for_line("");
  }

 private:
  struct line {
    int fd;
    Conversation conversation;
    steady::time_point sent;
  };
  struct share {  // of one thread
    int epoll = -1;
    std::vector<line> lines;
    std::vector<double> microseconds;
  };

  static void wait_for_line(const char* announcement = "ready\n") {
    std::fputs(announcement, stdout);
    std::fflush(stdout);
    for (int c = 0; c != '\n' && c != EOF;) c = std::getchar();
  }

  static void watch(share& s, line& l) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &l;
    if (::epoll_ctl(s.epoll, EPOLL_CTL_ADD, l.fd, &event) != 0) die_of_errno("epoll_ctl");
  }

  void ask(share& s, line& l) {
    if (with_.fresh) ::close(l.fd);
    l.sent = steady::now();
    if (with_.fresh) {
      l.fd = connect_to(with_.port, false, s.microseconds.size());
      watch(s, l);
    }
    send_all(l.fd, l.conversation.request());
  }

  // All connections ask until the time is up; then all answers are waited for.
  void turn(share& s, steady::duration length) {
    std::array<char, 64 * 1024> buffer;
    const auto end = steady::now() + length;
    for (line& l : s.lines) ask(s, l);
    for (std::size_t open = s.lines.size(); open > 0;) {
      std::array<epoll_event, 128> events;
      const int count = ::epoll_wait(s.epoll, events.data(), static_cast<int>(events.size()), 30'000);
      if (count == 0) die("no answer for 30 seconds");
      for (int i = 0; i < count; ++i) {
        line& l = *static_cast<line*>(events[static_cast<std::size_t>(i)].data.ptr);
        const ssize_t n = ::recv(l.fd, buffer.data(), buffer.size(), 0);
        if (n < 0) die_of_errno("recv");
        if (n == 0) die("the server closed a connection");
        if (!l.conversation.take({buffer.data(), static_cast<std::size_t>(n)})) continue;
        const auto now = steady::now();
        s.microseconds.push_back(std::chrono::duration<double, std::micro>(now - l.sent).count());
        if (now < end)
          ask(s, l);
        else
          --open;
      }
    }
  }

  static steady::duration to_duration(seconds s) { return std::chrono::duration_cast<steady::duration>(s); }
  void turn(share& s, seconds length) { turn(s, to_duration(length)); }

  const closed_options with_;
  std::vector<share> shares_;
  double resident_before_ = 0;
};

}  // namespace bench
