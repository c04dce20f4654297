#include "weft/io/tls.hpp"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io_test.hpp"
#include "papers.hpp"
#include "process.hpp"
#include "stream_access.hpp"
#include "weft/inspect.hpp"
#include "weft/io/copy.hpp"
#include "weft/io/serve.hpp"
#include "weft/io/testing/streams.hpp"

namespace weft::io::tls_test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::client_context;
using testing::identity;
using testing::papers;
using testing::pattern;
using testing::process;
using testing::read_all;
using testing::server_context;
using testing::simulate;
using testing::tcp_pair;
using testing::tls_over;
using testing::trusting;

std::pair<stream, stream> tls_pair() { return tls_over(tcp_pair(), client_context(), server_context()); }

/// What the client has against the handshake.
tls_error client_problem(const tls_context& client, const tls_context& server,
                         const std::string& host = "server.test") {
  auto pair = memory_pair();
  auto accepting = spawn([&] {
    try {
      tls_accept(std::move(pair.second), server);
    } catch (const error&) {
    }
  });
  tls_error found(tls_problem::protocol, {}, "nothing", "");
  try {
    stream s = tls_connect(std::move(pair.first), host, client);
    char c[1];
    (void)s.read_some(std::span(c));
    ADD_FAILURE() << "it worked";
  } catch (const tls_error& e) {
    found = e;
  }
  accepting.get();
  return found;
}

class Tls : public testing::WithSockets {};
WEFT_ON_LOOPS(Tls);

TEST_P(Tls, CarriesBytesBothWaysAndEndsEachWayByItself) {
  run([] {
    auto [client, server] = tls_pair();
    const std::string sent = pattern(1'000'000);
    auto echo = spawn([&s = server] {
      copy(s, s);
      s.shutdown_write();
    });
    auto writer = spawn([&, &s = client] {
      s.write_all(sent);
      s.write_all({"a", "b", "", "c"});
      s.shutdown_write();
    });
    EXPECT_EQ(read_all(client), sent + "abc");
    writer.get();
    echo.get();
    EXPECT_EQ(client.bytes_written(), sent.size() + 3);
    EXPECT_EQ(server.bytes_read(), sent.size() + 3);
  });
}

TEST(TlsStreams, KeepTheContractOverTcp) {
  const tls_context client = client_context();
  const tls_context server = server_context();
  const std::size_t before = testing::open_descriptors();
  EXPECT_NO_THROW(testing::check_stream({.name = "TLS over TCP",
                                         .pair = [&] { return tls_over(tcp_pair(), client, server); },
                                         .break_off = testing::break_connection}));
  EXPECT_EQ(testing::open_descriptors(), before);
}

TEST(TlsStreams, KeepTheContractOverMemory) {
  const tls_context client = client_context();
  const tls_context server = server_context();
  EXPECT_NO_THROW(testing::check_stream({.name = "TLS over memory",
                                         .pair = [&] { return tls_over(memory_pair(5000), client, server); },
                                         .simulated = true},
                                        {.seeds = testing::seeds() / 10}));
}

TEST(TlsStreams, KeepTheContractOverASimulatedNetwork) {
  const tls_context client = client_context();
  const tls_context server = server_context();
  const auto check = [&](const char* name, const link_options& link) {
    const auto pair = [&] {
      simulated_network net({.link = link});
      const auto there = net.add_host("server");
      const auto here = net.add_host("client");
      listener l = there.listen(443);
      stream one = here.connect(l.local());
      return tls_over({std::move(one), l.accept()}, client, server);
    };
    EXPECT_NO_THROW(testing::check_stream({.name = name,
                                           .pair = pair,
                                           .break_off = [](stream& s) { simulated_network::reset(s); },
                                           .simulated = true,
                                           .real = false},
                                          {.seeds = testing::seeds() / 10}));
  };
  check("TLS over a usual network", {.window = 4000});
  check("TLS over a network without latency", {.min_latency = 0ns, .max_latency = 0ns, .window = 1000});
  check("TLS over a slow network",
        {.min_latency = 1ms, .max_latency = 100ms, .bytes_per_second = 1'000'000, .window = 20'000});
}

TEST(TlsSimulated, CarriesBytesOverANetworkThatCutsThemAnywhere) {
  const tls_context client = client_context();
  const tls_context server = server_context();
  simulate([&] {
    auto [one, other] = tls_over(memory_pair(1 + sim::draw(3000)), client, server);
    const std::string there = pattern(20'000);
    const std::string back = pattern(30'000);
    const auto exchange = [](stream& s, const std::string& text) {
      auto writer = spawn([&] {
        s.write_all(text);
        s.shutdown_write();
      });
      std::string got = read_all(s);
      writer.get();
      return got;
    };
    auto answering = spawn([&, &s = other] { return exchange(s, back); });
    EXPECT_EQ(exchange(one, there), back);
    EXPECT_EQ(answering.get(), there);
  });
}

TEST_P(Tls, BothSidesKnowWhatWasAgreedOn) {
  run([] {
    auto client = trusting();
    client.alpn = {"h2", "http/1.1"};
    auto server = identity();
    server.alpn = {"http/1.1", "h2"};
    auto [one, other] = tls_over(tcp_pair(), tls_context::client(client), tls_context::server(server));
    const tls_facts ours = tls_facts_of(one);
    EXPECT_EQ(ours.protocol, "TLSv1.3");
    EXPECT_FALSE(ours.cipher.empty());
    EXPECT_EQ(ours.alpn, "http/1.1");
    EXPECT_EQ(ours.peer_subject, "CN=server");
    EXPECT_FALSE(ours.resumed);
    const tls_facts theirs = tls_facts_of(other);
    EXPECT_EQ(theirs.alpn, "http/1.1");
    EXPECT_EQ(theirs.server_name, "server.test");
    EXPECT_EQ(theirs.peer_subject, "");
    EXPECT_EQ(one.peer(), other.local());
    EXPECT_EQ(one.describe(), "server.test (" + to_string(one.peer()) + ")");
    EXPECT_EQ(other.describe(), to_string(other.peer()));
    auto plain = memory_pair();
    EXPECT_THROW(tls_facts_of(plain.first), std::invalid_argument);
    EXPECT_THROW((void)one.detach(), error);
  });
}

TEST_P(Tls, ACertificateOfSomebodyElseIsRefused) {
  run([] {
    const tls_context client = client_context();
    const tls_context server = server_context();
    for (const std::string host : {"other.test", "a.b.wild.test", "127.0.0.2", "::2"}) {
      const tls_error e = client_problem(client, server, host);
      EXPECT_EQ(e.problem(), tls_problem::certificate) << e.what();
      EXPECT_EQ(e.code().category(), certificate_category());
      EXPECT_NE(std::string(e.what()).find("mismatch"), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).find("shake hands with " + host + " (memory)"), 0U) << e.what();
    }
    for (const std::string host : {"a.wild.test", "SERVER.test.", "127.0.0.1"})
      EXPECT_TRUE(tls_over(memory_pair(), client, server, host).first.is_open());
  });
}

// To OpenSSL a name ends at a zero, and one that begins with a dot stands for all below it.
TEST_P(Tls, ANameThatMeansSomethingElseToOpensslIsRefused) {
  run([] {
    const tls_context client = client_context();
    for (const std::string& host : {"server.test\0.example.org"s, ".test"s, "127.0.0.1\0"s, "."s, ""s}) {
      auto [one, other] = memory_pair();
      EXPECT_THROW(tls_connect(std::move(one), host, client), std::invalid_argument) << host;
      EXPECT_EQ(read_all(other), "");
    }
  });
}

TEST_P(Tls, AnAddressIsOneInEveryWayOfWritingIt) {
  run([] {
    const tls_context client = client_context();
    const tls_context server = server_context();
    for (const std::string host : {"::1", "[::1]", "::1%lo"}) {
      auto [one, other] = tls_over(memory_pair(), client, server, host);
      EXPECT_EQ(tls_facts_of(other).server_name, "");
    }
  });
}

TEST_P(Tls, ACertificateThatIsOldOrOfAStrangerIsRefused) {
  run([] {
    const tls_context client = client_context();
    tls_error e = client_problem(client, tls_context::server(identity("expired")));
    EXPECT_EQ(e.problem(), tls_problem::certificate);
    EXPECT_NE(std::string(e.what()).find("certificate has expired"), std::string::npos) << e.what();
    e = client_problem(client, tls_context::server(identity("impostor")));
    EXPECT_EQ(e.problem(), tls_problem::certificate) << e.what();
    e = client_problem(client, tls_context::server(identity("stranger")));
    EXPECT_NE(std::string(e.what()).find("self-signed"), std::string::npos) << e.what();
    // The system does not know ours.
    e = client_problem(tls_context::client({}), server_context());
    EXPECT_EQ(e.problem(), tls_problem::certificate) << e.what();
    const tls_context careless = tls_context::client({.verify = false});
    EXPECT_TRUE(tls_over(memory_pair(), careless, tls_context::server(identity("impostor"))).first.is_open());
  });
}

TEST_P(Tls, TheServerHearsWhyItWasRefused) {
  run([] {
    auto pair = tcp_pair();
    auto accepting = spawn([&] { tls_accept(std::move(pair.second), tls_context::server(identity("impostor"))); });
    EXPECT_THROW(tls_connect(std::move(pair.first), "server.test", client_context()), tls_error);
    try {
      accepting.get();
      ADD_FAILURE();
    } catch (const tls_error& e) {
      EXPECT_EQ(e.problem(), tls_problem::protocol);
      EXPECT_EQ(e.code().category(), tls_category());
      EXPECT_NE(std::string(e.what()).find("alert"), std::string::npos) << e.what();
    }
  });
}

TEST_P(Tls, ClientsMayHaveToShowACertificate) {
  run([] {
    auto strict = identity();
    strict.client_authorities = papers::get().text("authority.pem");
    const tls_context server = tls_context::server(strict);
    auto known = trusting();
    known.certificates = papers::get().text("client.pem");
    known.key = papers::get().text("client.key");
    for (int i = 0; i < 2; ++i) {
      auto [one, other] = tls_over(tcp_pair(), tls_context::client(known), server);
      EXPECT_EQ(tls_facts_of(other).peer_subject, "CN=client");
    }
    EXPECT_EQ(client_problem(client_context(), server).problem(), tls_problem::protocol);
  });
}

TEST_P(Tls, ProtocolsThatDoNotMeetAreAnError) {
  run([] {
    auto client = trusting();
    client.alpn = {"h2"};
    auto server = identity();
    server.alpn = {"http/1.1"};
    EXPECT_EQ(client_problem(tls_context::client(client), tls_context::server(server)).problem(),
              tls_problem::protocol);
    // One that asks for none gets none.
    auto [one, other] = tls_over(memory_pair(), client_context(), tls_context::server(server));
    EXPECT_EQ(tls_facts_of(one).alpn, "");
    client.alpn = {""};
    EXPECT_THROW(tls_context::client(client), std::invalid_argument);
  });
}

TEST_P(Tls, ASessionIsResumed) {
  run([] {
    for (const tls_version v : {tls_version::v1_2, tls_version::v1_3}) {
      auto options = identity();
      options.lowest = v;
      const tls_context client = client_context();
      const tls_context server = tls_context::server(options);
      const auto talk = [&] {
        auto [one, other] = tls_over(tcp_pair(), client, server);
        other.write_all("x");
        char c[1];
        one.read_exactly(std::span(c));  // and what came before it: tickets
        const bool both = tls_facts_of(one).resumed && tls_facts_of(other).resumed;
        EXPECT_EQ(tls_facts_of(one).resumed, tls_facts_of(other).resumed);
        return both;
      };
      EXPECT_FALSE(talk());
      EXPECT_TRUE(talk());
      EXPECT_TRUE(talk());
    }
    auto forgetful = trusting();
    forgetful.max_sessions = 0;
    const tls_context client = tls_context::client(forgetful);
    const tls_context server = server_context();
    for (int i = 0; i < 2; ++i) {
      auto [one, other] = tls_over(tcp_pair(), client, server);
      EXPECT_FALSE(tls_facts_of(one).resumed);
    }
  });
}

TEST_P(Tls, AConnectionThatIsCutIsNotTheEndOfTheStream) {
  run([] {
    for (const bool polite : {true, false}) {
      auto raw = tcp_pair();
      auto cut = tcp_pair();
      // Between the two sits somebody who passes bytes on, and may stop.
      auto between = spawn([&] { copy_bidirectional(raw.second, cut.first); });
      auto [one, other] = tls_over({std::move(raw.first), std::move(cut.second)}, client_context(), server_context());
      other.write_all("half");
      char some[4];
      one.read_exactly(std::span(some));
      if (polite) {
        other.shutdown_write();
        EXPECT_EQ(read_all(one), "");
        between.cancel();
        between.wait();
        continue;
      }
      between.cancel();
      between.wait();
      raw.second.shutdown_write();
      for (int i = 0; i < 2; ++i) {
        try {
          one.read_some(std::span(some));
          ADD_FAILURE();
        } catch (const tls_error& e) {
          EXPECT_EQ(e.problem(), tls_problem::truncated);
          EXPECT_EQ(e.operation(), "read from");
        }
      }
    }
  });
}

TEST_P(Tls, CloseSaysGoodbyeWhenThereIsRoom) {
  run([] {
    auto [client, server] = tls_pair();
    server.write_all("bye");
    server.close();
    EXPECT_EQ(read_all(client), "bye");
    char c[1];
    EXPECT_THROW(server.read_some(std::span(c)), stream_closed);
    EXPECT_THROW(server.write_all("x"), stream_closed);
  });
}

TEST_P(Tls, ACopyOfOneThatIsCutSaysSo) {
  run([] {
    auto [one, other] = tls_over(memory_pair(), client_context(), server_context());
    auto [to, sink] = memory_pair();
    other.write_all("half");
    auto copying = spawn([&, &f = one, &t = to] { return copy(f, t); });
    char some[4];
    sink.read_exactly(std::span(some));
    detail::stream_access::carrier(other)->below()->close();
    try {
      copying.get();
      ADD_FAILURE();
    } catch (const tls_error& e) {
      EXPECT_EQ(e.problem(), tls_problem::truncated);
      EXPECT_EQ(e.bytes(), 4U);
      EXPECT_NE(std::string(e.what()).find(", after 4 bytes: "), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("what came may not be all"), std::string::npos) << e.what();
    }
  });
}

TEST(TlsSimulated, WhoNeverReadsDoesNotHoldUpTheEnd) {
  const tls_context client = client_context();
  const tls_context server = server_context();
  simulate([&] {
    auto [one, other] = tls_over(memory_pair(2000), client, server);
    one.write_timeout(1s);
    EXPECT_THROW(one.write_all(pattern(100'000)), timed_out);
    EXPECT_THROW(one.shutdown_write(), timed_out);
    auto reading = spawn([&s = other] { return read_all(s); });
    one.shutdown_write();  // it can be repeated
    EXPECT_EQ(reading.get(), pattern(one.bytes_written()));
  });
}

// --- a message after the handshake that comes in parts ---

// A server of which the test says which of its records go out when. Its tickets are larger than its records.
class bare_server {
 public:
  explicit bare_server(stream over, int version = TLS1_3_VERSION)
      : raw_(std::move(over)), context_(::SSL_CTX_new(::TLS_server_method())) {
    ::SSL_CTX* const c = context_.get();
    SSL_CTX_set_max_proto_version(c, version);
    EXPECT_EQ(::SSL_CTX_use_certificate_chain_file(c, papers::get().path("server.pem").c_str()), 1);
    EXPECT_EQ(::SSL_CTX_use_PrivateKey_file(c, papers::get().path("server.key").c_str(), SSL_FILETYPE_PEM), 1);
    ::SSL_CTX_set_verify(c, SSL_VERIFY_PEER, [](int, ::X509_STORE_CTX*) { return 1; });
    constexpr unsigned char id = 1;
    ::SSL_CTX_set_session_id_context(c, &id, 1);
    SSL_CTX_set_max_send_fragment(c, 512);
    ssl_.reset(::SSL_new(c));
    ::SSL_set_accept_state(ssl_.get());
    ::SSL_set_bio(ssl_.get(), ::BIO_new(::BIO_s_mem()), ::BIO_new(::BIO_s_mem()));
  }

  /// Gives what comes after it: the tickets.
  std::string shake_hands() {
    for (;;) {
      const int done = ::SSL_do_handshake(ssl_.get());
      std::string out = said();
      if (done == 1) return out;
      raw_.write_all(out);
      receive();
    }
  }
  void send(std::string_view records) { raw_.write_all(records); }
  /// A text of this length.
  std::string read(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t done = 0, n = 0; done < size; done += n) {
      while (::SSL_read_ex(ssl_.get(), text.data() + done, size - done, &n) != 1) receive();
    }
    return text;
  }
  /// A HelloRequest (RFC 5246, 7.4.1.1).
  std::string ask_for_another_handshake() {
    EXPECT_EQ(::SSL_renegotiate(ssl_.get()), 1);
    EXPECT_EQ(::SSL_do_handshake(ssl_.get()), 1);
    return said();
  }
  /// For what is sent from now on; and asks for the same (RFC 8446, 4.6.3).
  void new_keys() { EXPECT_EQ(::SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED), 1); }
  std::string encrypt(std::string_view text) {
    std::size_t n = 0;
    EXPECT_EQ(::SSL_write_ex(ssl_.get(), text.data(), text.size(), &n), 1);
    return said();
  }

 private:
  std::string said() {
    std::string out(::BIO_ctrl_pending(::SSL_get_wbio(ssl_.get())), '\0');
    if (!out.empty()) ::BIO_read(::SSL_get_wbio(ssl_.get()), out.data(), static_cast<int>(out.size()));
    return out;
  }
  void receive() {
    char some[4096];
    const std::size_t n = raw_.read_some(std::span(some));
    ASSERT_GT(n, 0U);
    ::BIO_write(::SSL_get_rbio(ssl_.get()), some, static_cast<int>(n));
  }

  template <auto Free>
  struct freed_by {
    void operator()(auto* p) const noexcept { Free(p); }
  };
  stream raw_;
  std::unique_ptr<::SSL_CTX, freed_by<::SSL_CTX_free>> context_;
  std::unique_ptr<::SSL, freed_by<::SSL_free>> ssl_;
};

void write_while_a_ticket_is_half_here(std::pair<stream, stream> pair, bool reads, bool ends) {
  auto options = trusting();
  options.certificates = papers::get().text("client.pem");
  options.key = papers::get().text("client.key");
  bare_server server(std::move(pair.second));
  auto accepting = spawn([&] { return server.shake_hands(); });
  stream client = tls_connect(std::move(pair.first), "server.test", tls_context::client(options));
  const std::string tickets = accepting.get();
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(tickets[i])); };
  const std::size_t first = 5 + byte(3) * 256 + byte(4);  // RFC 8446, 5.1
  ASSERT_EQ(first, 5 + 512U + 17U);
  server.send(std::string_view(tickets).substr(0, first));
  char some[2];
  EXPECT_FALSE(move_on_after(2ms, [&] { return client.read_some(std::span(some)); }));

  std::optional<future<void>> reader;
  if (reads) reader = spawn([&] { client.read_exactly(std::span(some)); });
  auto writer = spawn([&] {
    if (!ends) client.write_all("hello");
    client.shutdown_write();
  });
  sleep_for(2ms);
  if (!reads) reader = spawn([&] { client.read_exactly(std::span(some)); });
  sleep_for(2ms);
  server.send(std::string_view(tickets).substr(first));
  try {
    writer.get();
  } catch (const error& e) {
    ADD_FAILURE() << e.what();
    client.close();
    reader->wait();
    return;
  }
  if (!ends) {
    EXPECT_EQ(server.read(5), "hello");
  }
  server.send(server.encrypt("ok"));
  reader->get();
  EXPECT_EQ(std::string_view(some, 2), "ok");
}

TEST_P(Tls, AWriteDoesNotMindAMessageThatIsHalfHere) {
  run([] {
    for (const bool reads : {false, true})
      for (const bool ends : {false, true}) {
        write_while_a_ticket_is_half_here(tcp_pair(), reads, ends);
        write_while_a_ticket_is_half_here(memory_pair(), reads, ends);
      }
  });
}

TEST_P(Tls, NewKeysAreFollowedWhileBothSidesWrite) {
  run([] {
    auto pair = tcp_pair();
    bare_server server(std::move(pair.second));
    auto accepting = spawn([&] { server.send(server.shake_hands()); });
    auto options = trusting();
    options.certificates = papers::get().text("client.pem");
    options.key = papers::get().text("client.key");
    stream client = tls_connect(std::move(pair.first), "server.test", tls_context::client(options));
    accepting.get();
    constexpr int rounds = 50;
    auto writing = spawn([&] {
      for (int i = 0; i < rounds; ++i) client.write_all("ping");
    });
    auto reading = spawn([&] {
      char some[4];
      for (int i = 0; i < rounds; ++i) {
        client.read_exactly(std::span(some));
        EXPECT_EQ(std::string_view(some, 4), "pong");
      }
    });
    for (int i = 0; i < rounds; ++i) {
      if (i % 3 == 0) server.new_keys();
      server.send(server.encrypt("pong"));
      EXPECT_EQ(server.read(4), "ping");
    }
    writing.get();
    reading.get();
  });
}

// Each is answered by an alert.
TEST_P(Tls, RequestsWhoseAnswersNobodyReadsAreNotTakenForEver) {
  run([] {
    auto pair = memory_pair(1000);
    bare_server server(std::move(pair.second), TLS1_2_VERSION);
    auto accepting = spawn([&] { server.send(server.shake_hands()); });
    stream client = tls_connect(std::move(pair.first), "server.test", client_context());
    accepting.get();
    auto reader = spawn([&] {
      char some[1];
      try {
        client.read_exactly(std::span(some));
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::errc::no_buffer_space) << e.what();
      }
      client.close();
    });
    std::size_t asked = 0;
    try {
      for (; asked < 30'000; ++asked) server.send(server.ask_for_another_handshake());
    } catch (const error&) {
    }
    EXPECT_LT(asked, 30'000U);
    reader.get();
  });
}

TEST_P(Tls, WhatIsNoTlsIsAnError) {
  run([] {
    auto pair = tcp_pair();
    pair.first.write_all("GET / HTTP/1.1\r\n\r\n");
    try {
      tls_accept(std::move(pair.second), server_context());
      ADD_FAILURE();
    } catch (const tls_error& e) {
      EXPECT_EQ(e.problem(), tls_problem::protocol);
      EXPECT_NE(std::string(e.what()).find("http request"), std::string::npos) << e.what();
    }
    auto gone = tcp_pair();
    gone.first.close();
    try {
      tls_accept(std::move(gone.second), server_context());
      ADD_FAILURE();
    } catch (const tls_error& e) {
      EXPECT_EQ(e.problem(), tls_problem::truncated);
    }
  });
}

TEST_P(Tls, BytesThatWereBufferedBeforeTheHandshakeArePartOfIt) {
  run([] {
    auto pair = tcp_pair();
    auto connecting = spawn([&] {
      pair.first.write_all("STARTTLS\n");
      stream s = tls_connect(std::move(pair.first), "server.test", client_context());
      s.write_all("inside");
      s.shutdown_write();
      EXPECT_EQ(read_all(s), "");
    });
    EXPECT_EQ(pair.second.read_until("\n"), "STARTTLS\n");
    if (pair.second.buffered().empty()) pair.second.fill();
    EXPECT_FALSE(pair.second.buffered().empty());
    stream s = tls_accept(std::move(pair.second), server_context());
    EXPECT_EQ(read_all(s), "inside");
    s.shutdown_write();
    connecting.get();
  });
}

TEST_P(Tls, AHandshakeThatIsCancelledOrTooSlowClosesItsStream) {
  run([] {
    {
      auto pair = tcp_pair();
      EXPECT_FALSE(move_on_after(10ms, [&] { return tls_accept(std::move(pair.second), server_context()); }));
      EXPECT_EQ(read_all(pair.first), "");
    }
    {
      auto pair = tcp_pair();
      EXPECT_FALSE(
          move_on_after(10ms, [&] { return tls_connect(std::move(pair.first), "server.test", client_context()); }));
      EXPECT_GT(read_all(pair.second).size(), 0U);
    }
    auto pair = tcp_pair();
    auto hasty = identity();
    hasty.handshake = 10ms;
    EXPECT_THROW(tls_accept(std::move(pair.second), tls_context::server(hasty)), timed_out);
    EXPECT_EQ(read_all(pair.first), "");
  });
}

TEST(TlsSimulated, AHandshakeCancelledAtAnyTimeLeavesNothing) {
  const tls_context client = client_context();
  const tls_context server = server_context();
  simulate([&] {
    auto pair = memory_pair(1 + sim::draw(50));
    const auto pause = [] { sleep_for(std::chrono::microseconds(sim::draw(100))); };
    auto accepting = spawn([&] {
      pause();
      stream s = tls_accept(std::move(pair.second), server);
      s.write_all("x");
    });
    auto connecting = spawn([&] {
      stream s = tls_connect(std::move(pair.first), "server.test", client);
      char c[1];
      s.read_exactly(std::span(c));
    });
    pause();
    for (std::uint64_t i = sim::draw(200); i > 0; --i) yield();
    (sim::draw(2) == 0 ? accepting : connecting).cancel();
    for (auto* f : {&accepting, &connecting}) {
      try {
        f->get();
      } catch (const cancelled&) {
      } catch (const error&) {      // the other side is gone
      } catch (const timed_out&) {  // it never began
      }
    }
  });
}

TEST_P(Tls, ACancelledReadTakesNothingAndACancelledWriteCountsItsBytes) {
  run([] {
    auto [client, server] = tls_pair();
    char some[4];
    EXPECT_FALSE(move_on_after(1ms, [&, &s = client] { return s.read_some(std::span(some)); }));
    EXPECT_FALSE(move_on_after(1ms, [&, &s = client] { return s.read_until("\n"); }));
    client.read_timeout(1ms);
    EXPECT_THROW(client.read_some(std::span(some)), timed_out);
    client.read_timeout(no_timeout);
    server.write_all("line\n");
    EXPECT_EQ(client.read_until("\n"), "line\n");

    const std::string sent = pattern(20'000'000);
    EXPECT_FALSE(move_on_after(30ms, [&, &s = client] { s.write_all(sent); }));
    const auto written = client.bytes_written();
    EXPECT_GT(written, 0U);
    EXPECT_LT(written, sent.size());
    auto rest = spawn([&, &s = client] {
      s.write_all(std::string_view(sent).substr(written));
      s.shutdown_write();
    });
    EXPECT_EQ(read_all(server), sent);
    rest.get();
  });
}

// Nobody but the reader is there to send what the cancelled write left.
TEST_P(Tls, TheRestOfACancelledWriteGoesOutWithTheNextRead) {
  run([] {
    auto [client, server] = tls_pair();
    EXPECT_FALSE(move_on_after(30ms, [&s = client] { s.write_all(pattern(20'000'000)); }));
    const auto written = client.bytes_written();
    auto answering = spawn([&, &s = server] {
      std::string all(written, '\0');
      s.read_exactly(std::span(all));
      s.write_all("got it\n");
    });
    EXPECT_EQ(client.read_until("\n"), "got it\n");
    answering.get();
  });
}

TEST_P(Tls, CloseEndsTheWaitsOfOtherFibers) {
  run([] {
    auto [client, server] = tls_pair();
    auto reader = spawn([&s = client] {
      char c[1];
      EXPECT_THROW(s.read_some(std::span(c)), stream_closed);
    });
    auto writer = spawn([&s = client] { EXPECT_THROW(s.write_all(pattern(20'000'000)), stream_closed); });
    sleep_for(5ms);
    client.close();
    reader.get();
    writer.get();
    // They are not to take a beginning for all.
    try {
      (void)read_all(server);
      ADD_FAILURE();
    } catch (const tls_error& e) {
      EXPECT_EQ(e.problem(), tls_problem::truncated);
    }
  });
}

/// A connection whose client has written as much as it can; gives how much.
std::uint64_t fill_the_way(stream& s) {
  EXPECT_FALSE(move_on_after(20ms, [&] { s.write_all(pattern(30'000'000)); }));
  return s.bytes_written();
}

TEST_P(Tls, OneThatIsDroppedAnywhereWithAFullWayDeliversAllTheSame) {
  run([] {
    auto [client, server] = tls_pair();
    const std::uint64_t written = fill_the_way(client);
    spawn_blocking([s = std::move(client)] {}).get();
    EXPECT_EQ(read_all(server), pattern(written));
  });
}

TEST_P(Tls, WhatIsLeftOfAStreamEndsWithTheRuntime) {
  run([&] {
    auto pair = tls_pair();
    fill_the_way(pair.first);
    const std::size_t before = inspect().size();
    pair.first.close();
    yield();
    EXPECT_EQ(inspect().size(), before + 1);  // a task that waits for a reader, in vain
  });
}

TEST_P(Tls, MovesToAnotherLoop) {
  run([] {
    auto [client, server] = tls_pair();
    const unsigned there = loop_count() - 1;
    server.move_to(there);
    auto echo = spawn(on_loop(there), [s = std::move(server)]() mutable {
      s.write_all(s.read_until("\n"));
      s.shutdown_write();
      EXPECT_EQ(read_all(s), "");
    });
    client.write_all("line\n");
    EXPECT_EQ(read_all(client), "line\n");
    client.shutdown_write();
    echo.get();
  });
}

TEST_P(Tls, ServesManyOnAllLoops) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "OpenSSL is not instrumented: what its atomics order between loops looks like a race";
#endif
  run([] {
    const tls_context context = server_context();
    const tls_context client = client_context();
    server s(listen(endpoint::loopback(0)), [&](stream raw) {
      stream in = tls_accept(std::move(raw), context);
      for (auto& line : in.lines()) in.write_all({line, "\n"});
      in.shutdown_write();
    });
    const std::uint16_t port = s.local().port();
    auto serving = spawn([&] { return s.run(); });
    std::vector<future<void>> clients;
    for (unsigned i = 0; i < 16; ++i)
      clients.push_back(spawn(on_loop(i % loop_count()), [&, i] {
        stream c = tls_connect("127.0.0.1", port, client);
        for (unsigned n = 0; n < 10; ++n) {
          const std::string line = pattern(i * 100 + n) + "\n";
          c.write_all(line);
          EXPECT_EQ(c.read_until("\n"), line);
        }
        c.shutdown_write();
        EXPECT_EQ(read_all(c), "");
      }));
    for (auto& c : clients) c.get();
    s.stop();
    EXPECT_EQ(serving.get().finished, 16U);
  });
}

TEST(TlsContext, CertificatesAndKeysThatCannotBeUsedSaySo) {
  const auto problem = [](tls_server_options o) {
    try {
      tls_context::server(o);
    } catch (const tls_error& e) {
      return std::string(e.what());
    }
    return "it worked"s;
  };
  EXPECT_NE(problem({}).find("read the certificate chain"), std::string::npos) << problem({});
  auto o = identity();
  o.key = "nonsense";
  EXPECT_NE(problem(o).find("read the private key"), std::string::npos) << problem(o);
  o.key = papers::get().text("client.key");
  EXPECT_NE(problem(o).find("use the private key"), std::string::npos) << problem(o);
  o = identity();
  o.certificates += "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n";
  EXPECT_NE(problem(o).find("read the certificate chain"), std::string::npos) << problem(o);
  EXPECT_THROW(tls_context::client({.authorities = "nonsense"}), tls_error);
  EXPECT_THROW(read_pem("/nowhere"), error);
  weft::run([] {
    auto pair = memory_pair();
    EXPECT_THROW(tls_accept(std::move(pair.first), client_context()), std::invalid_argument);
    pair = memory_pair();
    EXPECT_THROW(tls_connect(std::move(pair.first), "x", server_context()), std::invalid_argument);
    EXPECT_THROW(tls_connect(std::move(pair.second), "", client_context()), std::invalid_argument);
    EXPECT_THROW(tls_connect(stream(), "x", client_context()), stream_closed);
  });
}

// --- against the openssl command ---

TEST_P(Tls, TalksToTheClientOfOpenssl) {
  run([] {
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
      listener l = listen(endpoint::loopback(0));
      process client({"openssl", "s_client", "-connect", to_string(l.local()), "-CAfile",
                      papers::get().path("authority.pem"), "-servername", "server.test", "-verify_return_error",
                      "-verify_hostname", "server.test", "-alpn", "weft", "-quiet", version});
      auto options = identity();
      options.alpn = {"weft"};
      stream s = tls_accept(l.accept(), tls_context::server(options));
      EXPECT_EQ(tls_facts_of(s).alpn, "weft");
      EXPECT_EQ(tls_facts_of(s).server_name, "server.test");
      client.write("from openssl\n");
      EXPECT_EQ(s.read_until("\n"), "from openssl\n");
      s.write_all("from weft\n");
      EXPECT_EQ(client.read_to("\n"), "from weft\n");
      s.shutdown_write();
      EXPECT_EQ(client.read_to("nothing more"), "");
    }
  });
}

TEST_P(Tls, TalksToTheServerOfOpenssl) {
  run([] {
    std::uint16_t port = 0;
    {
      listener l = listen(endpoint::loopback(0));
      port = l.local().port();
    }
    process server({"openssl", "s_server", "-accept", "127.0.0.1:" + std::to_string(port), "-cert",
                    papers::get().path("server.pem"), "-key", papers::get().path("server.key"), "-alpn", "weft",
                    "-rev"});
    EXPECT_NE(server.read_to("ACCEPT\n").find("ACCEPT"), std::string::npos);
    auto options = trusting();
    options.alpn = {"weft"};
    const tls_context context = tls_context::client(options);
    for (int i = 0; i < 2; ++i) {
      stream s = tls_connect("127.0.0.1", port, context);
      EXPECT_EQ(tls_facts_of(s).alpn, "weft");
      EXPECT_EQ(tls_facts_of(s).resumed, i > 0);
      s.write_all("hello\n");
      EXPECT_EQ(s.read_until("\n"), "olleh\n");
    }
    EXPECT_THROW(tls_connect(connect(endpoint::loopback(port)), "other.test", context), tls_error);
  });
}

// --- the stack ---

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

constexpr std::size_t painted = 200 * 1024;

[[gnu::noinline]] volatile std::uint8_t* below() {
  return static_cast<volatile std::uint8_t*>(__builtin_frame_address(0));
}

/// How deep f goes into the stack, in bytes.
template <class F>
[[gnu::noinline]] std::size_t depth_of(F f) {
  volatile std::uint8_t* const top = below() - 1024;
  for (std::size_t i = 0; i < painted; ++i) top[-static_cast<std::ptrdiff_t>(i)] = 0xa5;
  f();
  std::size_t deepest = painted;
  while (deepest > 0 && top[-static_cast<std::ptrdiff_t>(deepest - 1)] == 0xa5) --deepest;
  return deepest;
}

TEST(TlsStack, AHandshakeTakesAFractionOfTheDefaultStack) {
  weft::run([] {
    const tls_context client = client_context();
    const tls_context server = server_context();
    auto pair = memory_pair();
    auto accepting = spawn([&] { return depth_of([&] { tls_accept(std::move(pair.second), server); }); });
    const std::size_t connecting =
        spawn([&] { return depth_of([&] { tls_connect(std::move(pair.first), "server.test", client); }); }).get();
    const std::size_t most = std::max(connecting, accepting.get());
    RecordProperty("stack_bytes", static_cast<int>(most));
    std::printf("stack of a handshake: %zu bytes as a client, %zu at most\n", connecting, most);
    EXPECT_GT(most, 1024U);
    EXPECT_LT(most, config().stack_size / 4);
  });
}

#endif

}  // namespace
}  // namespace weft::io::tls_test
