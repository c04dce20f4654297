#include "weft/io/tcp.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <future>
#include <span>
#include <string>
#include <vector>

#include "io_test.hpp"
#include "sockaddr.hpp"
#include "socket.hpp"
#include "weft/io/resolve.hpp"

namespace weft::io::tcp_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::read_all;
using testing::reset_on_close;

class Tcp : public testing::WithSockets {};
WEFT_ON_LOOPS(Tcp);

int option(stream& s, int level, int name) {
  int value = -1;
  ::socklen_t size = sizeof(value);
  EXPECT_EQ(::getsockopt(s.native_handle(), level, name, &value, &size), 0);
  return value;
}

TEST_P(Tcp, BothSidesKnowBothEnds) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    EXPECT_NE(l.local().port(), 0);
    stream client = connect(l.local());
    stream server = l.accept();
    EXPECT_EQ(client.peer(), l.local());
    EXPECT_EQ(server.local(), l.local());
    EXPECT_EQ(server.peer(), client.local());
    EXPECT_EQ(server.describe(), to_string(client.local()));
  });
}

TEST_P(Tcp, V6WorksWhereTheSystemHasIt) {
  run([] {
    try {
      listener l = listen(endpoint::parse("[::1]:0"));
      stream client = connect(l.local());
      stream server = l.accept();
      client.write_all("six");
      client.close();
      EXPECT_EQ(read_all(server), "six");
      EXPECT_TRUE(server.peer().is_v6());
    } catch (const error& e) {
      EXPECT_TRUE(e.code() == std::errc::address_not_available || e.code() == std::errc::address_family_not_supported)
          << e.what();
    }
  });
}

TEST_P(Tcp, OptionsReachBothSides) {
  run([] {
    {
      listener l = listen(endpoint::loopback(0), {.keep_alive = true});
      stream client = connect(l.local());
      stream server = l.accept();
      for (stream* s : {&client, &server}) EXPECT_EQ(option(*s, IPPROTO_TCP, TCP_NODELAY), 1);
      EXPECT_EQ(option(client, SOL_SOCKET, SO_KEEPALIVE), 0);
      EXPECT_EQ(option(server, SOL_SOCKET, SO_KEEPALIVE), 1);
    }
    listener l = listen(endpoint::loopback(0), {.no_delay = false});
    stream client = connect(l.local(), {.no_delay = false, .keep_alive = true});
    stream server = l.accept();
    for (stream* s : {&client, &server}) EXPECT_EQ(option(*s, IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
  });
}

// Messages as large as the reader's buffer have it ask for a little more than that; then larger ones come.
TEST_P(Tcp, NoByteIsLostWhereAReadAsksForMoreThanItWasGivenRoomFor) {
  run([] {
    auto [client, server] = testing::tcp_pair();
    auto echoing = spawn([&server = server] {
      std::vector<char> room(1000);
      while (const std::size_t n = server.read_some(std::span(room))) server.write_all({room.data(), n});
    });
    for (const std::size_t size : std::initializer_list<std::size_t>{1000, 1000, 1000, 1001, 1000, 1000, 1063, 1064,
                                                                     1000, 1000, 1065, 5000, 1000, 1, 1000}) {
      const std::string sent = pattern(size);
      std::string got(size, '\0');
      client.write_all(sent);
      client.read_exactly(std::span(got));
      ASSERT_EQ(got, sent);
    }
    client.close();
    echoing.get();
  });
}

// Streams that wait for the rest of a message have lent their buffers to others.
TEST_P(Tcp, PartsOfManyStreamsMessagesStayApart) {
  run([] {
    constexpr std::size_t count = 40;
    std::vector<stream> clients;
    std::vector<future<std::string>> lines;
    for (std::size_t i = 0; i < count; ++i) {
      auto [client, server] = testing::tcp_pair();
      clients.push_back(std::move(client));
      lines.push_back(spawn([s = std::move(server)]() mutable { return s.read_until("\n", 20'000); }));
    }
    // Of 3 to 6,000 bytes: what is left in the buffer at a wait is nothing, little and much.
    const auto text = [](std::size_t i) { return std::string(1 + i * 150, static_cast<char>('!' + i)); };
    for (std::size_t i = 0; i < count; ++i) clients[i].write_all(text(i));
    for (int i = 0; i < 10; ++i) yield();
    for (std::size_t i = 0; i < count; ++i) clients[i].write_all({text(i), "\n"});
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(lines[i].get(), text(i) + text(i) + "\n");
  });
}

TEST_P(Tcp, APortInUseIsAnErrorThatSaysWhatToDo) {
  run([] {
    listener first = listen(endpoint::loopback(0));
    try {
      listener second = listen(first.local());
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::address_in_use);
      EXPECT_EQ(e.peer(), to_string(first.local()));
      EXPECT_NE(std::string(e.what()).find("listen on " + to_string(first.local())), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("choose another port"), std::string::npos) << e.what();
    }
    EXPECT_THROW(listen(endpoint::parse("198.51.100.1:0")), error);
    EXPECT_THROW(listen(endpoint()), std::invalid_argument);
  });
}

TEST_P(Tcp, ListenersMayShareAPort) {
  run([] {
    listener first = listen(endpoint::loopback(0), {.reuse_port = true});
    listener second = listen(first.local(), {.reuse_port = true});
    EXPECT_EQ(first.local(), second.local());
  });
}

TEST_P(Tcp, AnAddressIsFreeAgainAtOnce) {
  run([] {
    endpoint at;
    {
      listener l = listen(endpoint::loopback(0));
      at = l.local();
      stream client = connect(at);
      stream server = l.accept();
      server.close();  // this side closes first, so the connection lingers here
      EXPECT_EQ(read_all(client), "");
    }
    listener again = listen(at);
    EXPECT_EQ(again.local(), at);
  });
}

TEST_P(Tcp, ARefusedConnectionNamesTheEndpoint) {
  run([] {
    endpoint nobody;
    {
      listener l = listen(endpoint::loopback(0));
      nobody = l.local();
    }
    try {
      connect(nobody);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::connection_refused);
      EXPECT_EQ(std::string(e.what()).find("connect to " + to_string(nobody)), 0U) << e.what();
    }
    EXPECT_THROW(connect("localhost", nobody.port()), error);
  });
}

// A listener whose queue is full lets the next attempts hang.
struct deaf_listener {
  listener l = listen(endpoint::loopback(0), {.backlog = 0});
  stream first = connect(l.local());
};

/// The port that the system gives to who connects to `to` now; none is listening there.
std::uint16_t port_for(std::uint16_t to) {
  const unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  detail::socket_address there(endpoint::loopback(to));
  (void)::connect(fd.get(), there.get(), there.size);
  return detail::local_endpoint(fd.get()).port();
}

// The system may give a connection the very port that it is to go to. It goes through the ports in small steps, from
// where depends on the one to go to; so those are tried that it is about to come to. Without what is tested one in five
// connects to itself.
TEST(TcpPorts, NobodyConnectsToHimself) {
  weft::run([] {
    unsigned first = 32768;
    unsigned last = 60999;
    std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first >> last;
    for (unsigned port = first, rounds = 0; port <= last && rounds < 12; port += 2) {
      yield();
      const unsigned next = port_for(static_cast<std::uint16_t>(port));
      if (next >= port || port - next > 30) continue;
      ++rounds;
      for (int i = 0; i < 15; ++i) {
        try {
          const auto to = static_cast<std::uint16_t>(port);
          const stream s = connect(i % 2 == 0 ? endpoint::loopback(to) : endpoint::any(to));
          EXPECT_NE(s.local(), endpoint::loopback(to));  // somebody else's test listens there
        } catch (const error& e) {
          EXPECT_EQ(e.code(), std::errc::connection_refused);
        }
      }
    }
  });
}

TEST_P(Tcp, AConnectThatHangsCanBeCancelled) {
  run([] {
    deaf_listener deaf;
    EXPECT_FALSE(move_on_after(10ms, [&] {
      stream a = connect(deaf.l.local());
      stream b = connect(deaf.l.local());
      return true;
    }));
    // The listener works on.
    stream accepted = deaf.l.accept();
    deaf.first.write_all("x");
    deaf.first.close();
    EXPECT_EQ(read_all(accepted), "x");
  });
}

TEST_P(Tcp, AConnectThatHangsTimesOutByItself) {
  run([] {
    deaf_listener deaf;
    try {
      stream a = connect(deaf.l.local(), {.timeout = 10ms});
      stream b = connect(deaf.l.local(), {.timeout = 10ms});
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::timed_out) << e.what();
    }
  });
}

TEST_P(Tcp, ConnectByNameTriesOneAddressAfterAnother) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    // Where localhost is ::1 first, nobody listens there.
    stream client = connect("localhost", l.local().port());
    stream server = l.accept();
    client.write_all("hello");
    client.close();
    EXPECT_EQ(read_all(server), "hello");
  });
}

TEST_P(Tcp, ConnectToSeveralAddressesTakesTheOneThatAnswers) {
  run([] {
    endpoint nobody;
    {
      listener l = listen(endpoint::loopback(0));
      nobody = l.local();
    }
    listener l = listen(endpoint::loopback(0));
    const std::vector<endpoint> all{nobody, nobody, l.local()};
    stream client = connect(all);
    EXPECT_EQ(client.peer(), l.local());
    EXPECT_THROW(connect(std::span(all).first(2)), error);
    EXPECT_THROW(connect(std::span<const endpoint>()), std::invalid_argument);
    deaf_listener deaf;
    const std::vector<endpoint> slow{deaf.l.local(), l.local()};
    EXPECT_EQ(connect(slow, {.attempt_delay = 5ms}).peer(), l.local());
    EXPECT_FALSE(move_on_after(10ms, [&] { return connect(std::span(slow).first(1)); }));
  });
}

TEST_P(Tcp, ConnectByNameAsksTheResolverItIsGiven) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    resolver names([](const std::string& host, address_family family) -> std::vector<endpoint> {
      if (host == "here" && family == address_family::v4) return {endpoint::loopback(0)};
      throw error(std::error_code(EAI_NONAME, resolve_category()), "resolve", host);
    });
    stream client = connect("here", l.local().port(), {.names = &names});
    EXPECT_EQ(client.peer(), l.local());
    EXPECT_THROW(connect("nowhere", 1, {.names = &names}), error);
    EXPECT_EQ(names.size(), 4U);
  });
}

TEST_P(Tcp, ResolveGivesAddressesOrSaysWhyNot) {
  run([] {
    EXPECT_EQ(resolve("127.0.0.1", 80), std::vector{endpoint::loopback(80)});
    EXPECT_EQ(resolve("::1", 80), std::vector{endpoint::parse("[::1]:80")});
    const auto local = resolve("localhost", 80);
    EXPECT_TRUE(std::any_of(local.begin(), local.end(), [](const endpoint& e) { return e.is_v4() || e.is_v6(); }));
    try {
      resolve("", 1);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code().category(), resolve_category()) << e.what();
    }
  });
}

TEST(Resolve, CanBeCancelledWhileTheLookUpGoesOn) {
  std::promise<void> go_on;
  weft::run(
      [&] {
        auto occupied = spawn_blocking([&] { go_on.get_future().wait(); });  // the only thread, so it cannot be quick
        auto lookup = spawn([] { return resolve("name.invalid", 1); });
        yield();
        lookup.cancel();
        EXPECT_THROW(lookup.get(), cancelled);
        go_on.set_value();
        occupied.get();
      },
      {.loops = 1, .blocking_threads = 1});
}

TEST_P(Tcp, AcceptCanBeCancelledAndLosesNobody) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    EXPECT_FALSE(move_on_after(1ms, [&] { return l.accept(); }));
    stream client = connect(l.local());
    auto task = spawn([&] {
      try {
        sleep_for(1h);
      } catch (const cancelled&) {
      }
      l.accept();
    });
    yield();
    task.cancel();
    EXPECT_THROW(task.get(), cancelled);
    stream server = l.accept();
    EXPECT_EQ(server.peer(), client.local());
  });
}

TEST_P(Tcp, ClosingAListenerEndsItsAccept) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    const endpoint at = l.local();
    auto waiting = spawn([&] { EXPECT_THROW(l.accept(), stream_closed); });
    yield();
    EXPECT_THROW(l.accept(), stream_busy);
    l.close();
    waiting.get();
    EXPECT_THROW(l.accept(), stream_closed);
    EXPECT_THROW(connect(at), error);
    l.close();
  });
}

TEST_P(Tcp, AListenerBelongsToItsLoop) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    const auto use = [&] {
      EXPECT_THROW(l.accept(), wrong_loop);
      EXPECT_THROW(l.close(), wrong_loop);
    };
    if (loop_count() > 1) spawn(on_loop((this_loop() + 1) % loop_count()), use).get();
    spawn_blocking(use).get();
    spawn_blocking([other = std::move(l)] {}).get();
    EXPECT_THROW(l.accept(), stream_closed);
  });
}

TEST_P(Tcp, AnAcceptedConnectionCanGoToAnotherLoop) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    stream client = connect(l.local());
    const unsigned there = loop_count() - 1;
    auto served = spawn(on_loop(there), [t = l.accept_transport(), there]() mutable {
      EXPECT_EQ(this_loop(), there);
      stream s(std::move(t));
      s.write_all(s.read_until("\n"));
    });
    client.write_all("line\n");
    EXPECT_EQ(read_all(client), "line\n");
    served.get();
  });
}

TEST_P(Tcp, AResetIsAnErrorOfTheirs) {
  run([] {
    auto [client, server] = testing::tcp_pair();
    reset_on_close(client);
    auto reader = spawn([&s = server] {
      char c[1];
      s.read_some(std::span(c));
    });
    yield();
    client.close();
    try {
      reader.get();
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::connection_reset) << e.what();
      EXPECT_EQ(e.peer(), server.describe());
    }
  });
}

// Data and reset may reach the reader's loop as one event; then no other follows.
TEST_P(Tcp, AResetThatComesWithTheDataIsSeen) {
  run([] {
    for (int i = 0; i < 20; ++i) {
      auto [client, server] = testing::tcp_pair();
      reset_on_close(client);
      auto reader = spawn([&s = server] { EXPECT_THROW(s.read_until("\n"), error); });
      yield();
      client.write_all("half a line");
      client.close();
      reader.get();
    }
  });
}

TEST_P(Tcp, ManyConnectionsEchoAtOnce) {
  run([] {
    listener l = listen(endpoint::loopback(0));
    auto accepting = spawn([&] {
      for (unsigned i = 0; i < 40; ++i) {
        (void)spawn(on_loop(i % loop_count()), [t = l.accept_transport()]() mutable {
          stream s(std::move(t));
          s.write_all(read_all(s));
        });
      }
    });
    std::vector<future<void>> clients;
    for (unsigned i = 0; i < 40; ++i) {
      clients.push_back(spawn(on_loop((i + 1) % loop_count()), [at = l.local(), i] {
        stream s = connect(at);
        const std::string sent = pattern(1000 * i);
        s.write_all(sent);
        s.shutdown_write();
        EXPECT_EQ(read_all(s), sent);
      }));
    }
    for (auto& c : clients) c.get();
    accepting.get();
  });
}

TEST_P(Tcp, CloseTakesNothingFromOthersWhoHaveTheDescriptor) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    one.write_all("theirs");
    wait_readable(other.native_handle());
    const unique_fd copy(::fcntl(other.native_handle(), F_DUPFD_CLOEXEC, 3));
    other.close();
    char some[10];
    EXPECT_EQ(::recv(copy.get(), some, sizeof(some), 0), 6);
  });
}

TEST(TcpSimulated, RealSocketsAreAnErrorInASimulation) {
  sim::run(1, [] {
    EXPECT_THROW(listen(endpoint::loopback(0)), std::logic_error);
    EXPECT_THROW(connect(endpoint::loopback(1)), std::logic_error);
  });
}

}  // namespace
}  // namespace weft::io::tcp_test
