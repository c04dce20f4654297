// A load for TLS echo servers, as that of echo/. OpenSSL works on memory here; bytes go the way of the other loads. All
// servers are made to use one cipher.
//
//   load --port P [--pid P] [--connections 50] [--bytes 64] [--seconds 1] [--threads 1]

#include <openssl/ssl.h>

#include <memory>

#include "../support/load.hpp"
#include "../support/long_text.hpp"

namespace {

struct free_ssl {
  void operator()(SSL* s) const noexcept { SSL_free(s); }
};

class conversation {
 public:
  conversation(SSL_CTX* context, int fd, const bench::echoed& inside) : inside_(inside), ssl_(SSL_new(context)) {
    SSL_set_fd(ssl_.get(), fd);
    if (SSL_connect(ssl_.get()) != 1) bench::die("the handshake fails");
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    encrypt();
  }

  [[nodiscard]] std::string_view request() const { return sealed_; }

  bool take(std::string_view bytes) {
    std::size_t n = 0;
    if (BIO_write_ex(SSL_get_rbio(ssl_.get()), bytes.data(), bytes.size(), &n) != 1) bench::die("no memory");
    std::array<char, 16 * 1024> clear;
    bool whole = false;
    while (SSL_read_ex(ssl_.get(), clear.data(), clear.size(), &n) == 1) whole = inside_.take({clear.data(), n});
    if (SSL_get_error(ssl_.get(), 0) != SSL_ERROR_WANT_READ) bench::die("TLS fails");
    if (whole) encrypt();
    return whole;
  }

 private:
  void encrypt() {
    const auto clear = inside_.request();
    std::size_t n = 0;
    if (SSL_write_ex(ssl_.get(), clear.data(), clear.size(), &n) != 1) bench::die("TLS fails");
    BIO* out = SSL_get_wbio(ssl_.get());
    sealed_.resize(BIO_ctrl_pending(out));
    BIO_read_ex(out, sealed_.data(), sealed_.size(), &n);
  }

  bench::echoed inside_;
  std::unique_ptr<SSL, free_ssl> ssl_;
  std::string sealed_;  // the next request, or the one under way
};

}  // namespace

int main(int argc, char** argv) {
  bench::options given(argc, argv);
  const std::size_t size = std::max<std::size_t>(1, given.take_count("--bytes", 64));
  const bench::closed_options with(given);
  given.finish();
  const std::string text = bench::long_text(size);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  bench::closed_load<conversation>(with, [&](std::size_t i, int fd) {
    return conversation(context, fd, bench::echoed(text, size, i * 31));
  }).run();
  return 0;
}
