// TLS echo on weft: one fiber a connection.

#include <csignal>
#include <cstddef>
#include <string>

#include "../support/papers.h"
#include "../support/server.hpp"
#include "weft/io/tls.hpp"
#include "weft/weft.hpp"

namespace {

template <class Write>
std::string pem(Write write) {
  BIO* to = BIO_new(BIO_s_mem());
  write(to);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(to, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(to);
  return text;
}

weft::io::tls_context identity() {
  const bench_papers p = bench_make_papers();
  return weft::io::tls_context::server(
      {.certificates = pem([&](BIO* to) { PEM_write_bio_X509(to, p.certificate); }),
       .key = pem([&](BIO* to) { PEM_write_bio_PrivateKey(to, p.key, nullptr, nullptr, 0, nullptr, nullptr); }),
       .lowest = weft::io::tls_version::v1_3});
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv);
  return weft::run(
      [&] {
        const auto tls = identity();
        const auto echo = [&](weft::io::stream plain) {
          weft::io::stream s = weft::io::tls_accept(std::move(plain), tls);
          while (const std::size_t n = s.fill()) {
            s.write_all(s.buffered());
            s.consume(n);
          }
        };
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(given.port)), echo,
                                {.max_connections = 20'000});
        auto serving = weft::spawn([&] { return server.run(); });
        bench::announce(server.local().port());
        stop.wait();
        server.stop();
        serving.get();
        return 0;
      },
      {.loops = given.threads, .cpu_workers = 1});
}
