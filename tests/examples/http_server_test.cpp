// The HTTP server of the examples, as its clients see it: the built program, spoken to over blocking sockets.

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using steady = std::chrono::steady_clock;

constexpr auto patience = 60s;  // for what should take far less, on a busy machine with a sanitizer

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

/// Tries until it is so. False when that took too long.
template <class F>
bool eventually(F&& is_so) {
  const auto until = steady::now() + patience;
  while (!is_so()) {
    if (steady::now() > until) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

/// False when that took too long.
bool wait_readable(int fd, std::chrono::milliseconds limit = patience) {
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&p, 1, static_cast<int>(limit.count())) > 0;
}

struct answer {
  int status = 0;
  std::map<std::string, std::string> header;
  std::string body;
};

class client {
 public:
  explicit client(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      const int error = errno;
      close(fd_);
      errno = error;
      fail("connect");
    }
  }
  client(client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), got_(std::move(other.got_)) {}
  client& operator=(client&&) = delete;
  ~client() {
    if (fd_ >= 0) close(fd_);
  }

  void send(const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
      const ssize_t n = ::send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n < 0) fail("send");
      sent += static_cast<std::size_t>(n);
    }
  }
  void get(const std::string& target) { send("GET " + target + " HTTP/1.1\r\nHost: here\r\n\r\n"); }

  answer receive(bool with_body = true) {
    while (got_.find("\r\n\r\n") == std::string::npos) more();
    const std::size_t head_size = got_.find("\r\n\r\n") + 4;
    std::string head = got_.substr(0, head_size);
    answer a;
    const std::regex first_line("HTTP/1\\.1 (\\d{3}) [^\r]+\r\n");
    std::smatch match;
    if (!std::regex_search(head, match, first_line, std::regex_constants::match_continuous))
      throw std::runtime_error("no HTTP: " + head);
    a.status = std::stoi(match[1]);
    const std::regex line("([^:\r\n]+): ([^\r\n]*)\r\n");
    for (std::sregex_iterator it(head.begin(), head.end(), line), end; it != end; ++it) a.header[(*it)[1]] = (*it)[2];
    const std::size_t size = with_body ? std::stoul(a.header.at("Content-Length")) : 0;
    while (got_.size() < head_size + size) more();
    a.body = got_.substr(head_size, size);
    got_.erase(0, head_size + size);
    return a;
  }
  answer ask(const std::string& target) {
    get(target);
    return receive();
  }

  /// True when the other side ends the connection and has said nothing more.
  bool ends() {
    char byte = 0;
    return got_.empty() && wait_readable(fd_) && recv(fd_, &byte, 1, 0) == 0;
  }
  bool has_answer() { return !got_.empty() || wait_readable(fd_, 0ms); }

  void end_writing() const { shutdown(fd_, SHUT_WR); }
  /// Ends the connection with a reset.
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(std::exchange(fd_, -1));
  }

 private:
  void more() {
    if (!wait_readable(fd_)) throw std::runtime_error("no answer in time; so far: " + got_);
    char buffer[4096];
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n < 0) fail("recv");
    if (n == 0) throw std::runtime_error("the connection ended; so far: " + got_);
    got_.append(buffer, static_cast<std::size_t>(n));
  }

  int fd_;
  std::string got_;
};

/// The program, with what it prints. Other tests may keep the cores busy: so its CPU tasks are not in the background,
/// where they would wait for those to end.
class program {
 public:
  explicit program(std::vector<std::string> arguments = {"--port", "0"}) {
    arguments.insert(arguments.end(), {"--background", "0"});
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
    std::string path = WEFT_EXAMPLES_DIR "/10_http_server";
    std::vector<char*> argv{path.data()};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) fail("fork");
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    output_fd_ = ends[0];
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;
  /// However it was treated, it ends in order.
  ~program() {
    try {
      if (pid_ > 0) {
        signal(SIGTERM);
        EXPECT_EQ(join(), 0) << output_;
      }
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
      again_ = {};
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(output_fd_);
  }

  /// Where it listens.
  std::uint16_t port() {
    const std::regex said("listening on http://127\\.0\\.0\\.1:(\\d+)\n");
    std::smatch match;
    while (!std::regex_search(output_, match, said))
      if (!read_output()) throw std::runtime_error("the server does not listen: " + output_);
    return static_cast<std::uint16_t>(std::stoul(match[1]));
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) {
    kill(pid_, number);
#ifdef __SANITIZE_THREAD__
    // It may keep a signal for ever (tests/support/tell.py), so the program is told again until it ends.
    again_ = std::jthread([pid = pid_, number](const std::stop_token& stop) {
      for (int i = 1; !stop.stop_requested(); ++i) {
        std::this_thread::sleep_for(100ms);
        if (i % 20 == 0) kill(pid, number);
      }
    });
#endif
  }

  /// Waits for its end. Gives its exit status; -1 when a signal killed it.
  int join() {
    while (read_output()) {
    }
    again_ = {};  // before the number is another program's
    int status = 0;
    if (waitpid(std::exchange(pid_, -1), &status, 0) < 0) fail("waitpid");  // it has closed its output: it is ending
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] const std::string& output() const { return output_; }

  [[nodiscard]] long descriptors() const {
    const std::filesystem::directory_iterator list("/proc/" + std::to_string(pid_) + "/fd");
    return std::distance(begin(list), end(list));
  }

 private:
  /// False when it has closed its output.
  bool read_output() {
    if (!wait_readable(output_fd_)) throw std::runtime_error("the server hangs; it said: " + output_);
    char buffer[4096];
    const ssize_t n = read(output_fd_, buffer, sizeof buffer);
    if (n > 0) output_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  pid_t pid_ = -1;
  int output_fd_ = -1;
  std::jthread again_;
  std::string output_;
};

std::string hex(const unsigned char* bytes, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", bytes[i]);
    text += two;
  }
  return text;
}

/// What /gather must say of a product, by our own reckoning.
void expect_gathered(const answer& a, int id) {
  ASSERT_EQ(a.status, 200) << a.body;
  const json body = json::parse(a.body);
  EXPECT_EQ(body.at("id"), id);
  EXPECT_EQ(body.at("price").at("cents"), 199 * id);
  EXPECT_EQ(body.at("stock").at("pieces"), 7 * id);
  const std::string names[] = {"loom",      "shuttle", "heddle",  "reed",   "bobbin",
                               "warp beam", "treadle", "spindle", "temple", "distaff"};
  EXPECT_EQ(body.at("name"), names[id - 1]);
  EXPECT_FALSE(body.at("maker").get<std::string>().empty());

  std::string digested = body.at("price").dump() + "\n" + body.at("stock").dump() + "\n";
  for (int i = 0; i < body.at("rounds"); ++i) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(digested.data()), digested.size(), digest);
    digested.assign(reinterpret_cast<const char*>(digest), sizeof digest);
  }
  EXPECT_EQ(body.at("digest"), hex(reinterpret_cast<const unsigned char*>(digested.data()), digested.size()));
}

TEST(HttpServer, AnswersEachRoute) {
  program server;
  client c(server.port());
  const answer hello = c.ask("/hello");
  EXPECT_EQ(hello.status, 200);
  EXPECT_EQ(hello.body, "hello\n");
  EXPECT_EQ(hello.header.at("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(hello.header.at("Connection"), "keep-alive");
  EXPECT_EQ(hello.header.count("Date"), 1u);
  expect_gathered(c.ask("/gather?id=3"), 3);
  EXPECT_EQ(json::parse(c.ask("/cpu?ms=5").body).at("ms"), 5);
  const json stats = json::parse(c.ask("/stats").body);
  EXPECT_GE(stats.at("loops").size(), 1u);
  EXPECT_GE(stats.at("cpu_workers"), 1);
  EXPECT_GE(stats.at("tasks").at("run"), 1);

  for (const auto* target : {"/", "/nowhere", "/gather?id=11", "/gather?id=-3"}) EXPECT_EQ(c.ask(target).status, 404);
  for (const auto* target : {"/gather", "/gather?id=", "/gather?id=x", "/cpu?ms=1001", "/cpu"})
    EXPECT_EQ(c.ask(target).status, 400) << target;
  c.send("POST /hello HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody");
  const answer post = c.receive();
  EXPECT_EQ(post.status, 405);
  EXPECT_EQ(post.header.at("Allow"), "GET, HEAD");
  EXPECT_EQ(c.ask("/hello").status, 200);
}

TEST(HttpServer, AnswersHeadWithTheHeaderAlone) {
  program server;
  client c(server.port());
  c.send("HEAD /hello HTTP/1.1\r\nHost: here\r\n\r\n");
  const answer head = c.receive(false);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header.at("Content-Length"), "6");
  EXPECT_EQ(c.ask("/hello").body, "hello\n");
}

TEST(HttpServer, EndsTheConnectionWhenAsked) {
  program server;
  client c(server.port());
  c.send("GET /hello HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(c.receive().header.at("Connection"), "close");
  EXPECT_TRUE(c.ends());

  client old(server.port());
  old.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.receive().header.at("Connection"), "close");
  EXPECT_TRUE(old.ends());
}

TEST(HttpServer, GathersForTwoHundredConnectionsAtOnce) {
  program server;
  std::vector<client> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(server.port());
    clients.back().get("/gather?id=" + std::to_string(i % 10 + 1));
  }
  for (int i = 0; i < 200; ++i) expect_gathered(clients[static_cast<std::size_t>(i)].receive(), i % 10 + 1);
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  program server;
  client c(server.port());
  std::string requests;
  for (int id = 1; id <= 10; ++id)
    requests += "GET /gather?id=" + std::to_string(id) +
                " HTTP/1.1\r\nHost: here\r\n\r\n"
                "POST /hello HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n\r\n"
                "GET /hello HTTP/1.1\r\nHost: here\r\n\r\n";
  c.send(requests);
  for (int id = 1; id <= 10; ++id) {
    expect_gathered(c.receive(), id);
    EXPECT_EQ(c.receive().status, 405);
    EXPECT_EQ(c.receive().body, "hello\n");
  }
}

TEST(HttpServer, PutsTogetherWhatComesByteByByte) {
  program server;
  client c(server.port());
  const std::string request =
      "POST /hello HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
      "GET /gather?id=7 HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
  for (const char byte : request) {
    c.send(std::string(1, byte));
    std::this_thread::sleep_for(100us);
  }
  EXPECT_EQ(c.receive().status, 405);
  expect_gathered(c.receive(), 7);
  EXPECT_TRUE(c.ends());
}

TEST(HttpServer, RefusesWhatIsNoRequest) {
  program server;
  const std::string host = "Host: here\r\n";
  for (const std::string& garbage : {
           std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),  // TLS
           std::string("hello\r\n\r\n"),
           std::string("GET /hello HTTP/1.1\r\n\r\n"),  // no host
           "GET /hello HTTP/1.1\r\n" + host + host + "\r\n",
           "GET /hello HTTP/1.1\r\n" + host + "a b: c\r\n\r\n",
           "GET /hello HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
           "GET /hello HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
           "GET /hello HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "GET /hello HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n",
           "GET /hello HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
           "GET /hello HTTP/1.1\n" + host + "\n\n",
       }) {
    client c(server.port());
    c.send(garbage);
    const answer a = c.receive();
    EXPECT_EQ(a.status, 400) << garbage;
    EXPECT_EQ(a.header.at("Connection"), "close");
    EXPECT_TRUE(c.ends());
  }
  EXPECT_EQ(client(server.port()).ask("/hello").body, "hello\n");
}

TEST(HttpServer, SurvivesNoise) {
  program server({"--port", "0", "--silence-ms", "2000"});
  const std::string request =
      "POST /hello?a=b HTTP/1.1\r\nHost: here\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
      "4;x=\"y\"\r\nbody\r\na\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
      "GET /hello HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc";
  std::mt19937_64 random(1);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int i = 0; i < 500; ++i) {
    std::string noise = request;
    for (std::size_t changes = 1 + below(8); changes > 0; --changes) {
      const std::size_t at = below(noise.size());
      switch (below(4)) {
        case 0:
          noise[at] = static_cast<char>(random());
          break;
        case 1:
          noise.erase(at, below(10));
          break;
        case 2:
          noise.insert(at, noise.substr(below(noise.size()), below(20)));
          break;
        case 3:
          noise.insert(at, 1, "\r\n:;0 "[below(6)]);
          break;
      }
    }
    client c(server.port());
    try {
      const std::size_t first = below(noise.size());
      c.send(noise.substr(0, first));
      if (i % 4 == 0) std::this_thread::sleep_for(200us);
      c.send(noise.substr(first));
      c.end_writing();
      while (c.receive().status != 0) {
      }
    } catch (const std::exception&) {  // it ended, as it must
    }
  }
  EXPECT_EQ(client(server.port()).ask("/hello").body, "hello\n");
}

TEST(HttpServer, RefusesWhatIsTooLarge) {
  program server;
  {
    client c(server.port());
    c.send("GET /hello HTTP/1.1\r\nHost: here\r\nCookie: " + std::string(100'000, 'x') + "\r\n\r\n");
    EXPECT_EQ(c.receive().status, 431);
    EXPECT_TRUE(c.ends());
  }
  {
    client c(server.port());  // each field is small, and comes by itself
    c.send("GET /hello HTTP/1.1\r\nHost: here\r\n");
    for (int i = 0; i < 20 && !c.has_answer(); ++i) {
      c.send("Cookie: " + std::string(1000, 'x') + "\r\n");
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(c.receive().status, 431);
    EXPECT_TRUE(c.ends());
  }
  {
    client c(server.port());  // a body that nobody wants is not waited for
    c.send("POST /hello HTTP/1.1\r\nHost: here\r\nContent-Length: 10000000\r\n\r\n");
    const answer a = c.receive();
    EXPECT_EQ(a.status, 405);
    EXPECT_EQ(a.header.at("Connection"), "close");
    EXPECT_TRUE(c.ends());
  }
  {
    client c(server.port());  // a chunk's size that never ends
    c.send("POST /hello HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'x'));
    EXPECT_EQ(c.receive().status, 405);
    EXPECT_TRUE(c.ends());
  }
  EXPECT_EQ(client(server.port()).ask("/hello").body, "hello\n");
}

TEST(HttpServer, DoesNotWaitForTheSilent) {
  program server({"--port", "0", "--silence-ms", "500"});
  client silent(server.port());
  client half(server.port());
  half.send("GET /hello HTT");
  client dripping(server.port());
  std::jthread drip([&](const std::stop_token& enough) {
    try {
      for (const char byte : "GET /hello HTTP/1.1\r\nHost: " + std::string(10'000, 'x')) {
        if (enough.stop_requested()) return;
        dripping.send(std::string(1, byte));
        std::this_thread::sleep_for(20ms);
      }
    } catch (const std::system_error&) {  // the server has hung up
    }
  });
  EXPECT_TRUE(silent.ends());
  EXPECT_EQ(half.receive().status, 408);
  EXPECT_TRUE(half.ends());
  EXPECT_EQ(dripping.receive().status, 408);
}

TEST(HttpServer, RefusesHalfARequestThatEnds) {
  program server;
  client c(server.port());
  c.send("GET /hello HTT");
  c.end_writing();
  EXPECT_EQ(c.receive().status, 400);
  EXPECT_TRUE(c.ends());
}

TEST(HttpServer, SurvivesResets) {
  program server;
  client other(server.port());
  for (int i = 0; i < 50; ++i) {
    client half(server.port());
    half.send("GET /gather?id=1 HTTP/1.1\r\nHo");
    half.reset();
    client unread(server.port());
    unread.get("/gather?id=1");
    unread.reset();
    if (i % 10 == 0) {
      EXPECT_EQ(other.ask("/hello").body, "hello\n");
    }
  }
  expect_gathered(other.ask("/gather?id=2"), 2);
}

TEST(HttpServer, AnswersSmallRequestsWhileTheCpuPoolIsFull) {
  program server({"--port", "0", "--workers", "2"});
  std::vector<client> heavy;
  for (int i = 0; i < 8; ++i) {
    heavy.emplace_back(server.port());
    heavy.back().get("/cpu?ms=500");
  }
  client small(server.port());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(small.ask("/hello").body, "hello\n");
  // Two seconds of work for two CPUs were not done by then.
  EXPECT_FALSE(std::all_of(heavy.begin(), heavy.end(), [](client& c) { return c.has_answer(); }));
  for (client& c : heavy) EXPECT_EQ(c.receive().status, 200);
}

class HttpServerSignal : public testing::TestWithParam<int> {};

TEST_P(HttpServerSignal, AnswersWhatIsInFlightAndEnds) {
  program server({"--port", "0", "--workers", "2", "--grace-ms", "50000"});
  const std::uint16_t port = server.port();
  client idle(port);
  int asked = 0;
  const auto waiting = [&] {
    ++asked;
    return json::parse(idle.ask("/stats").body).at("tasks").value("future", 0);
  };
  const int before = waiting();
  const client silent(port);
  std::vector<client> busy;
  for (int i = 0; i < 16; ++i) {
    busy.emplace_back(port);
    busy.back().get("/cpu?ms=100");
  }
  asked += 16;
  ASSERT_TRUE(eventually([&] { return waiting() >= before + 16; }));

  const auto start = steady::now();
  server.signal(GetParam());
  EXPECT_TRUE(idle.ends());
  EXPECT_TRUE(eventually([&] {
    try {
      const client late(port);
      return false;
    } catch (const std::system_error& error) {
      return error.code() == std::errc::connection_refused;
    }
  }));
  for (client& c : busy) {
    const answer a = c.receive();
    EXPECT_EQ(a.status, 200);
    EXPECT_EQ(a.header.at("Connection"), "close");
  }
  busy.clear();
  EXPECT_EQ(server.join(), 0);
  EXPECT_LT(steady::now() - start, 45s) << "it waited for its grace";
  std::smatch report;
  ASSERT_TRUE(std::regex_search(server.output(), report,
                                std::regex("\nstopped: (\\d+) requests answered on (\\d+) connections, "
                                           "0 refused, 0 cut off\n")))
      << server.output();
  EXPECT_EQ(std::stoi(report[1]), asked);
  EXPECT_GE(std::stoi(report[2]), 18);
}

INSTANTIATE_TEST_SUITE_P(Both, HttpServerSignal, testing::Values(SIGTERM, SIGINT));

TEST(HttpServer, CutsOffWhatOutlastsTheGrace) {
  program server({"--port", "0", "--workers", "1", "--grace-ms", "200"});
  const std::uint16_t port = server.port();
  client other(port);
  const auto waiting = [&] { return json::parse(other.ask("/stats").body).at("tasks").value("future", 0); };
  const int before = waiting();
  std::vector<client> busy;
  for (int i = 0; i < 4; ++i) {
    busy.emplace_back(port);
    busy.back().get("/cpu?ms=1000");
  }
  ASSERT_TRUE(eventually([&] { return waiting() >= before + 4; }));
  server.signal(SIGTERM);
  for (client& c : busy) EXPECT_TRUE(c.ends());
  EXPECT_EQ(server.join(), 0);
  EXPECT_NE(server.output().find(" 4 cut off"), std::string::npos) << server.output();
}

TEST(HttpServer, SaysThatThePortIsTaken) {
  program first;
  const std::string port = std::to_string(first.port());
  program second({"--port", port});
  EXPECT_EQ(second.join(), 1);
  EXPECT_NE(second.output().find("127.0.0.1:" + port), std::string::npos) << second.output();
  EXPECT_NE(second.output().find("in use"), std::string::npos) << second.output();
}

TEST(HttpServer, SaysWhatItDoesNotUnderstand) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--port", "70000"}, {"--port"}, {"--loops", "0"}, {"--colour", "1"}}) {
    program server(arguments);
    EXPECT_EQ(server.join(), 1) << arguments[0];
    EXPECT_EQ(server.output().find("10_http_server: "), 0u) << server.output();
  }
}

TEST(HttpServer, GivesItsDescriptorsBack) {
  program server;
  const std::uint16_t port = server.port();
  const auto visit = [&](int i) {
    client c(port);
    if (i % 5 == 0)
      expect_gathered(c.ask("/gather?id=1"), 1);
    else if (i % 5 == 1)
      c.send("GET /hel");
    else if (i % 5 == 2)
      c.send("garbage\r\n\r\n");
    else
      EXPECT_EQ(c.ask("/hello").status, 200);
    if (i % 7 == 0) c.reset();
  };
  for (int i = 0; i < 35; ++i) visit(i);
  client last(port);
  EXPECT_EQ(last.ask("/hello").status, 200);
  long before = 0;  // once those of the visitors are closed
  ASSERT_TRUE(eventually([&, last_seen = -1L, same = 0]() mutable {
    before = server.descriptors();
    same = before == last_seen ? same + 1 : 0;
    last_seen = before;
    return same == 50;
  }));
  for (int i = 0; i < 500; ++i) visit(i);
  EXPECT_TRUE(eventually([&] { return server.descriptors() <= before; })) << server.descriptors() << " and " << before;
}

}  // namespace
