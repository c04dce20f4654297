// TLS with somebody who does not speak it properly, and PEM texts that are none: errors, and nothing else.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <chrono>
#include <stdexcept>
#include <utility>

#include "fuzz.hpp"
#include "weft/error.hpp"
#include "weft/io/memory.hpp"
#include "weft/io/tls.hpp"
#include "weft/spawn.hpp"
#include "weft/this_fiber.hpp"

using namespace std::chrono_literals;
using weft::fuzz::expect;
using weft::fuzz::input;
using weft::io::stream;
using weft::io::tls_context;

namespace {

std::string text_of(::BIO* from) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(from, &data);
  std::string text(data, static_cast<std::size_t>(size));
  ::BIO_free(from);
  return text;
}

weft::io::tls_server_options make_identity() {
  ::EVP_PKEY* key = EVP_EC_gen("P-256");
  ::X509* certificate = ::X509_new();
  ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate), 1);
  ::X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  ::X509_gmtime_adj(X509_getm_notAfter(certificate), 86'400);
  ::X509_set_pubkey(certificate, key);
  ::X509_sign(certificate, key, ::EVP_sha256());
  ::BIO* first = ::BIO_new(::BIO_s_mem());
  ::BIO* second = ::BIO_new(::BIO_s_mem());
  ::PEM_write_bio_X509(first, certificate);
  ::PEM_write_bio_PrivateKey(second, key, nullptr, nullptr, 0, nullptr, nullptr);
  ::X509_free(certificate);
  ::EVP_PKEY_free(key);
  return {.certificates = text_of(first), .key = text_of(second), .alpn = {"http/1.1"}};
}

template <class F>
void expect_only_errors(F f) {
  try {
    f();
  } catch (const weft::io::error&) {
  } catch (const weft::timed_out&) {
  }
}

void read_pem(std::string_view text) {
  weft::io::tls_server_options given = make_identity();
  given.client_authorities = text;
  expect_only_errors([&] { tls_context::server(given); });
  given.client_authorities.clear();
  given.certificates = text;
  expect_only_errors([&] { tls_context::server(given); });
  given.key = text;
  expect_only_errors([&] { tls_context::server(given); });
}

// They say what they like, in pieces, and then nothing more, or they hang up.
void shake_hands(std::string_view text, input& in) {
  static const tls_context server = tls_context::server(make_identity());
  static const tls_context client = tls_context::client({.system_store = false, .alpn = {"http/1.1"}});
  weft::fuzz::simulate(in.choose(255), [&] {
    auto [ours, theirs] = weft::io::memory_pair(1 + in.choose(255) * 16);
    const bool serves = in.choose(1) == 0;
    auto answers = weft::spawn([theirs = std::move(theirs), text, &in]() mutable {
      expect_only_errors([&] {
        while (!text.empty()) {
          const auto piece = text.substr(0, 1 + in.choose(99));
          theirs.write_all(piece);
          text.remove_prefix(piece.size());
        }
        if (in.choose(1) == 0) theirs.shutdown_write();
        while (theirs.fill(1 << 20) > 0) theirs.consume(theirs.buffered().size());
      });
    });
    const auto begin = weft::clock::now();
    expect_only_errors([&] {
      stream s = serves ? tls_accept(std::move(ours), server) : tls_connect(std::move(ours), "localhost", client);
      expect(false, "nobody shakes hands by chance");
    });
    expect(weft::clock::now() - begin <= 11s, "a handshake has its limit");
    answers.get();
  });
}

}  // namespace

void fuzz(input in) {
  const bool pem = in.choose(7) == 7;
  const std::string text(in.text(in.left() - std::min<std::size_t>(in.left(), 16)));
  if (pem)
    read_pem(text);
  else
    shake_hands(text, in);
}
