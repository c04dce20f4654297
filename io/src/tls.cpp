#include "weft/io/tls.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "stream_access.hpp"
#include "weft/error.hpp"
#include "weft/this_fiber.hpp"
#include "weft/waiter.hpp"

// A connection is an SSL object over a BIO of ours, which reads from the carrier and writes to it what can be read and
// written at once, straight to and from OpenSSL's own buffers: as many copies and system calls as over OpenSSL's socket
// BIO. What the carrier does not take is kept here. OpenSSL never waits, and no fiber is suspended inside of it, so its
// thread-local queue of errors belongs to one call at a time. A carrier that cannot try is read by the fiber that
// waits, and its ciphertext kept until OpenSSL asks for it.

namespace weft::io {
namespace {

template <auto Free>
struct freed_by {
  void operator()(auto* p) const noexcept { Free(p); }
};
using context_ptr = std::unique_ptr<::SSL_CTX, freed_by<::SSL_CTX_free>>;
using ssl_ptr = std::unique_ptr<::SSL, freed_by<::SSL_free>>;
using bio_ptr = std::unique_ptr<::BIO, freed_by<::BIO_free>>;
using certificate_ptr = std::unique_ptr<::X509, freed_by<::X509_free>>;
using key_ptr = std::unique_ptr<::EVP_PKEY, freed_by<::EVP_PKEY_free>>;
using session_ptr = std::unique_ptr<::SSL_SESSION, freed_by<::SSL_SESSION_free>>;

constexpr auto shaking_hands = "shake hands with";
constexpr std::size_t largest_record = 16 * 1024;             // what is inside
constexpr std::size_t most_unsent = std::size_t{256} * 1024;  // OpenSSL takes certificates of 100 KiB
// With what surrounds that (RFC 5246, 6.2.3), so that a full record takes one read.
constexpr std::size_t room_to_receive = 5 + largest_record + 2048;

// The queue has errors of earlier calls that nobody has looked at, by OpenSSL's other users. To empty it costs much, to
// look little.
void clear_errors() noexcept {
  if (::ERR_peek_error() != 0) [[unlikely]]
    ::ERR_clear_error();
}

std::error_code last_code() noexcept {
  const unsigned long code = ::ERR_peek_error();
  // Those of the system are marked by the top bit, which an int has no room for.
  if (ERR_SYSTEM_ERROR(code)) return {static_cast<int>(code & 0x7fffffff), std::system_category()};
  return {static_cast<int>(code), tls_category()};
}

[[noreturn]] void throw_setup(const char* operation, const char* what, std::string_view advice = {}) {
  const auto code = last_code();
  ::ERR_clear_error();
  throw tls_error(tls_problem::protocol, code, operation, what, advice);
}

bio_ptr reader_of(const std::string& text) {
  if (text.size() > 100'000'000) throw std::invalid_argument("tls: a PEM text of more than 100 MB");
  bio_ptr b(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!b) throw std::bad_alloc();
  return b;
}

// OpenSSL would ask on the terminal.
int no_password(char*, int, int, void*) noexcept { return -1; }

// The certificates of a PEM text, at least one.
std::vector<certificate_ptr> certificates_in(const std::string& pem, const char* what) {
  ::ERR_clear_error();
  const bio_ptr from = reader_of(pem);
  std::vector<certificate_ptr> all;
  while (certificate_ptr c{::PEM_read_bio_X509(from.get(), nullptr, &no_password, nullptr)})
    all.push_back(std::move(c));
  const bool at_end = ERR_GET_REASON(::ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (all.empty() || !at_end) throw_setup("read", what, "it must be PEM, -----BEGIN CERTIFICATE-----");
  ::ERR_clear_error();
  return all;
}

void set_identity(::SSL_CTX* c, const std::string& certificates, const std::string& key) {
  auto chain = certificates_in(certificates, "the certificate chain");
  if (::SSL_CTX_use_certificate(c, chain.front().get()) != 1) throw_setup("use", "the certificate");
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add0_chain_cert(c, chain[i].get()) != 1) throw_setup("use", "the certificate chain");
    (void)chain[i].release();
  }
  const bio_ptr from = reader_of(key);
  const key_ptr k{::PEM_read_bio_PrivateKey(from.get(), nullptr, &no_password, nullptr)};
  if (!k) throw_setup("read", "the private key", "it must be PEM, and have no password");
  if (::SSL_CTX_use_PrivateKey(c, k.get()) != 1) throw_setup("use", "the private key", "is it that certificate's?");
}

void trust(::SSL_CTX* c, const std::string& authorities) {
  ::X509_STORE* store = ::SSL_CTX_get_cert_store(c);
  for (const auto& a : certificates_in(authorities, "the authorities"))
    if (::X509_STORE_add_cert(store, a.get()) != 1) throw_setup("use", "the authorities");
}

// Protocol names as RFC 7301 puts them, each behind its length.
std::string wire_form(const std::vector<std::string>& names) {
  std::string wire;
  for (const auto& n : names) {
    if (n.empty() || n.size() > 255) throw std::invalid_argument("tls: an ALPN name has 1 to 255 bytes: " + n);
    wire += static_cast<char>(n.size());
    wire += n;
  }
  return wire;
}

const unsigned char* bytes_of(const std::string& s) noexcept {
  return reinterpret_cast<const unsigned char*>(s.data());
}

// While somebody is about something.
struct turn {
  bool& busy;
  explicit turn(bool& b) noexcept : busy(b) { busy = true; }
  ~turn() { busy = false; }
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;
};

bool is_number(const std::string& host) noexcept {
  std::array<unsigned char, 16> room{};
  return ::inet_pton(AF_INET, host.c_str(), room.data()) == 1 || ::inet_pton(AF_INET6, host.c_str(), room.data()) == 1;
}

}  // namespace

const std::error_category& tls_category() noexcept {
  static const struct openssl_category final : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "tls"; }
    [[nodiscard]] std::string message(int code) const override {
      const char* text = ::ERR_reason_error_string(static_cast<unsigned long>(code));
      return text ? text : "error " + std::to_string(code) + " of OpenSSL";
    }
  } category;
  return category;
}

const std::error_category& certificate_category() noexcept {
  static const struct verify_category final : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "certificate"; }
    [[nodiscard]] std::string message(int code) const override { return ::X509_verify_cert_error_string(code); }
  } category;
  return category;
}

std::string read_pem(const std::filesystem::path& file) {
  const std::unique_ptr<std::FILE, freed_by<std::fclose>> in(std::fopen(file.c_str(), "re"));
  std::string text;
  std::array<char, 4096> some;
  if (in)
    while (const std::size_t n = std::fread(some.data(), 1, some.size(), in.get())) text.append(some.data(), n);
  if (!in || std::ferror(in.get())) throw error(std::error_code(errno, std::system_category()), "read", file.string());
  return text;
}

// --- what connections have in common ---

// Who may touch what: context, alpn and the limits any thread, and nobody writes them; sessions under the mutex.
struct tls_context::state {
  explicit state(bool s, tls_version lowest, std::chrono::nanoseconds h)
      : server(s), handshake(h), context(::SSL_CTX_new(s ? ::TLS_server_method() : ::TLS_client_method())) {
    if (!context) throw_setup("make", "a TLS context");
    ::SSL_CTX* c = context.get();
    SSL_CTX_set_min_proto_version(c, lowest == tls_version::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS |
                            SSL_MODE_AUTO_RETRY);
    ::SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  }

  // To be used once, as RFC 8446 advises for its tickets, so that two connections cannot be told to be one client's.
  session_ptr take_session(const std::string& host) {
    const std::lock_guard lock(mutex);
    const auto found = sessions.find(host);
    if (found == sessions.end()) return nullptr;
    if (::SSL_SESSION_get_protocol_version(found->second.get()) < TLS1_3_VERSION) {
      ::SSL_SESSION_up_ref(found->second.get());
      return session_ptr(found->second.get());
    }
    session_ptr s = std::move(found->second);
    sessions.erase(found);
    return s;
  }
  /// Takes it, unless it throws: then it is still the caller's.
  void keep_session(const std::string& host, session_ptr& s) {
    const std::lock_guard lock(mutex);
    if (sessions.size() >= max_sessions && !sessions.contains(host)) sessions.erase(sessions.begin());
    sessions[host] = std::move(s);
  }

  static int choose_protocol(::SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                             unsigned int offered_size, void* self) noexcept {
    const std::string& ours = static_cast<state*>(self)->alpn;
    unsigned char* chosen = nullptr;
    const int how = ::SSL_select_next_proto(&chosen, size, bytes_of(ours), static_cast<unsigned>(ours.size()), offered,
                                            offered_size);
    *out = chosen;
    return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
  }

  const bool server;
  bool verify = false;
  const std::chrono::nanoseconds handshake;
  const context_ptr context;
  std::string alpn;
  std::size_t max_sessions = 0;
  std::mutex mutex;
  std::map<std::string, session_ptr> sessions;
};

// --- a connection ---

// Its loop's fibers: one that reads and one that writes.
class tls_transport final : public transport {
 public:
  tls_transport(stream over, std::shared_ptr<tls_context::state> context, std::string host);
  ~tls_transport() override { tls_transport::close(); }

  void shake_hands();

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override;
  [[nodiscard]] bool tries() const noexcept override { return tries_; }
  std::optional<std::size_t> try_read(std::span<std::byte> to, std::span<std::byte> more) override;
  [[nodiscard]] bool may_have_some() const noexcept override {
    return fed_ < received_.size() || ::SSL_has_pending(ssl_.get()) == 1 || carrier_->may_have_some();
  }
  void wait_readable(wait_limit& limit) override;
  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override;
  void shutdown_write(wait_limit limit) override;
  void close() noexcept override { end({}, false); }
  void close_after(std::span<const std::byte> last) noexcept override { end(last, true); }
  void leave_loop() override { carrier_->leave_loop(); }
  [[nodiscard]] std::string describe() const override {
    return host_.empty() ? carrier_->describe() : host_ + " (" + carrier_->describe() + ")";
  }
  [[nodiscard]] endpoint peer() const override { return carrier_->peer(); }
  [[nodiscard]] endpoint local() const override { return carrier_->local(); }
  [[nodiscard]] int native_handle() noexcept override { return carrier_->native_handle(); }
  [[nodiscard]] transport* below() noexcept override { return carrier_.get(); }
  [[nodiscard]] tls_facts facts() const;

  static int new_session(::SSL* ssl, ::SSL_SESSION* s) noexcept;

 private:
  // The BIO's.
  static ::BIO_METHOD* method();
  static int bio_read(::BIO* bio, char* to, std::size_t size, std::size_t* taken) noexcept;
  static int bio_write(::BIO* bio, const char* from, std::size_t size, std::size_t* taken) noexcept;
  static long bio_control(::BIO* bio, int what, long number, void* pointer) noexcept;
  std::optional<std::size_t> pull(std::span<std::byte> to);
  void push(std::span<const std::byte> from);

  void await(wait_limit& limit, const char* operation);
  void check_not_cut(const char* operation);
  [[nodiscard]] bool gather() noexcept;
  void flush(wait_limit limit);
  bool flush_at_once();
  void end(std::span<const std::byte> last, bool patient) noexcept;
  [[nodiscard]] bool expects_tickets() const noexcept;
  [[noreturn]] void fail(const char* operation);

  const std::shared_ptr<tls_context::state> context_;
  const std::string host_;
  const std::unique_ptr<transport> carrier_;
  const bool tries_;
  const ssl_ptr ssl_;
  std::vector<std::byte> received_;  // ciphertext that OpenSSL has not asked for yet: [fed_, size())
  std::size_t fed_ = 0;
  std::vector<std::byte> sending_;  // ciphertext; what was sent of it is [0, sent_)
  std::size_t sent_ = 0;
  std::vector<std::byte> next_;  // what is to be sent after it
  std::exception_ptr broken_;    // what the carrier threw in the BIO
  bool cut_ = false;             // the carrier's stream has ended
  bool flushing_ = false;        // a fiber waits in flush()
  bool awaiting_ = false;        // a fiber waits in the carrier for bytes
  bool ready_ = false;           // hands were shaken, and nothing has gone wrong since
  bool refused_ = false;         // an alert tells them why, or is to
  bool heard_ = false;           // something came after the handshake
  bool ended_ = false;           // close_notify was made
  bool closed_ = false;
};

tls_transport::tls_transport(stream over, std::shared_ptr<tls_context::state> context, std::string host)
    : context_(std::move(context)),
      host_(std::move(host)),
      carrier_(detail::stream_access::release(over)),
      tries_(carrier_->tries()),
      ssl_(::SSL_new(context_->context.get())) {
  bio_ptr bio(::BIO_new(method()));
  if (!ssl_ || !bio) throw std::bad_alloc();
  ::BIO_set_data(bio.get(), this);
  ::BIO_set_init(bio.get(), 1);
  ::SSL_set_bio(ssl_.get(), bio.get(), bio.get());
  (void)bio.release();
  if (tries_) ::SSL_set_read_ahead(ssl_.get(), 1);  // a record in one read, not its head first
  SSL_set_app_data(ssl_.get(), this);
  const auto buffered = std::as_bytes(std::span(over.buffered()));
  received_.assign(buffered.begin(), buffered.end());
  if (context_->server) {
    ::SSL_set_accept_state(ssl_.get());
    return;
  }
  ::SSL_set_connect_state(ssl_.get());
  const bool number = is_number(host_);
  if (!number && SSL_set_tlsext_host_name(ssl_.get(), host_.c_str()) != 1) throw_setup("send the name", host_.c_str());
  if (context_->verify) {
    ::SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int done = number ? ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl_.get()), host_.c_str())
                            : ::SSL_set1_host(ssl_.get(), host_.c_str());
    if (done != 1) throw_setup("verify the name", host_.c_str());
  }
  if (const session_ptr s = context_->take_session(host_)) ::SSL_set_session(ssl_.get(), s.get());
}

int tls_transport::new_session(::SSL* ssl, ::SSL_SESSION* s) noexcept {
  const auto* self = static_cast<tls_transport*>(SSL_get_app_data(ssl));
  session_ptr kept(s);
  try {
    self->context_->keep_session(self->host_, kept);
    return 1;
  } catch (...) {
    (void)kept.release();  // OpenSSL keeps its reference
    return 0;
  }
}

// --- the BIO ---

::BIO_METHOD* tls_transport::method() {
  static ::BIO_METHOD* const made = [] {
    ::BIO_METHOD* const m = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft stream");
    if (!m) throw std::bad_alloc();
    ::BIO_meth_set_read_ex(m, &bio_read);
    ::BIO_meth_set_write_ex(m, &bio_write);
    ::BIO_meth_set_ctrl(m, &bio_control);
    return m;
  }();
  return made;
}

int tls_transport::bio_read(::BIO* bio, char* to, std::size_t size, std::size_t* taken) noexcept {
  auto& self = *static_cast<tls_transport*>(::BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  try {
    if (const auto n = self.pull(std::as_writable_bytes(std::span(to, size)))) {
      *taken = *n;
      if (*n > 0) return 1;
      self.cut_ = true;
    }
    BIO_set_retry_read(bio);  // at the end, too: who reads finds out why
  } catch (...) {
    self.broken_ = std::current_exception();
  }
  return 0;
}

int tls_transport::bio_write(::BIO* bio, const char* from, std::size_t size, std::size_t* taken) noexcept {
  auto& self = *static_cast<tls_transport*>(::BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  try {
    self.push(std::as_bytes(std::span(from, size)));
    *taken = size;
    return 1;
  } catch (...) {
    self.broken_ = std::current_exception();
    return 0;
  }
}

long tls_transport::bio_control(::BIO*, int what, long, void*) noexcept { return what == BIO_CTRL_FLUSH ? 1 : 0; }

// Ciphertext for OpenSSL: what is there. Nothing when one has to wait.
std::optional<std::size_t> tls_transport::pull(std::span<std::byte> to) {
  if (fed_ == received_.size()) return tries_ ? carrier_->try_read(to, {}) : std::nullopt;
  const std::size_t n = std::min(to.size(), received_.size() - fed_);
  std::memcpy(to.data(), received_.data() + fed_, n);
  fed_ += n;
  if (fed_ == received_.size()) {
    fed_ = 0;
    received_.clear();
    if (tries_) received_.shrink_to_fit();  // it came before the handshake, and nothing else will
  }
  return n;
}

// Takes ciphertext from OpenSSL: a record of a write, which comes after all that was before it; a part of a handshake,
// which is sent before the next; or an answer to something that was read. One who asks without end for those (a new
// handshake of TLS 1.2, say, which is refused), and reads none, is not to fill the memory.
void tls_transport::push(std::span<const std::byte> from) {
  if (tries_ && !flushing_ && !gather()) from = from.subspan(carrier_->try_write(from));
  if (sending_.size() - sent_ + next_.size() > most_unsent)
    throw error(std::error_code(ENOBUFS, std::system_category()), "answer", describe(), 0,
                "the other side reads nothing, and asks for ever more");
  next_.insert(next_.end(), from.begin(), from.end());
}

// Waits until OpenSSL may find something to read; may come back for nothing.
//
// A writer has to wait here, too, when a message after the handshake (a ticket, a new key) has come in part: OpenSSL
// wants the rest of it first. The carrier has room for one who waits, so the second one looks again now and then.
void tls_transport::await(wait_limit& limit, const char* operation) {
  check_not_cut(operation);
  if (awaiting_) {
    const deadline until = limit.start();
    if (until.passed()) throw timed_out("timed out: " + std::string(operation) + " " + describe());
    sleep_until(std::min(deadline::after(std::chrono::milliseconds(1)), until).when());
    if (closed_) throw stream_closed(operation, describe());
    return;
  }
  const turn mine(awaiting_);
  if (tries_) {
    carrier_->wait_readable(limit);
    return;
  }
  received_.resize(room_to_receive);
  fed_ = room_to_receive;  // until something has come there is nothing in it
  struct trim {
    tls_transport& of;
    std::size_t n = 0;
    ~trim() {
      of.received_.resize(n);
      of.fed_ = 0;
    }
  } got{*this};
  got.n = carrier_->read_some(received_, limit);
  cut_ = got.n == 0;
}

void tls_transport::check_not_cut(const char* operation) {
  if (!cut_) return;
  ready_ = false;
  throw tls_error(tls_problem::truncated,
                  {static_cast<int>(ERR_PACK(ERR_LIB_SSL, 0, SSL_R_UNEXPECTED_EOF_WHILE_READING)), tls_category()},
                  operation, describe(), "the connection ended without close_notify: what came may not be all");
}

// True when there is ciphertext to be sent.
bool tls_transport::gather() noexcept {
  if (sent_ < sending_.size()) return true;
  sent_ = 0;
  sending_.clear();
  sending_.swap(next_);
  return !sending_.empty();
}

void tls_transport::flush(wait_limit limit) {
  const turn mine(flushing_);
  while (gather()) {
    const std::span<const std::byte> rest = std::span(sending_).subspan(sent_);
    sent_ += carrier_->write_some(std::span(&rest, 1), limit);
  }
}

// Sends what the carrier takes without waiting. False when something is left.
bool tls_transport::flush_at_once() {
  if (flushing_) return true;  // somebody is about it
  while (gather()) {
    const std::size_t n = carrier_->try_write(std::span(sending_).subspan(sent_));
    if (n == 0) return false;
    sent_ += n;
  }
  return true;
}

void tls_transport::fail(const char* operation) {
  ready_ = false;
  if (broken_) {
    ::ERR_clear_error();
    std::rethrow_exception(std::exchange(broken_, nullptr));
  }
  const auto code = last_code();
  const unsigned long packed = ::ERR_peek_error();
  ::ERR_clear_error();
  refused_ = true;
  (void)flush_at_once();  // the alert that tells them
  const long verified = ::SSL_get_verify_result(ssl_.get());
  const bool of_ssl = ERR_GET_LIB(packed) == ERR_LIB_SSL;
  if (of_ssl && ERR_GET_REASON(packed) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
    throw tls_error(tls_problem::certificate, {static_cast<int>(verified), certificate_category()}, operation,
                    describe());
  throw tls_error(tls_problem::protocol, code, operation, describe());
}

void tls_transport::shake_hands() {
  wait_limit until = context_->handshake == no_timeout ? deadline::never() : deadline::after(context_->handshake);
  for (;;) {
    clear_errors();
    const int done = ::SSL_do_handshake(ssl_.get());
    const int why = done == 1 ? SSL_ERROR_NONE : ::SSL_get_error(ssl_.get(), done);
    if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) fail(shaking_hands);
    // A server of TLS 1.3 ends with tickets, which nobody waits for: the client may want to be read first.
    if (done == 1 && context_->server && ::SSL_version(ssl_.get()) == TLS1_3_VERSION)
      (void)flush_at_once();
    else
      flush(until);
    if (done == 1) break;
    await(until, shaking_hands);
  }
  ready_ = true;
}

std::optional<std::size_t> tls_transport::try_read(std::span<std::byte> to, std::span<std::byte> /*more*/) {
  clear_errors();
  std::size_t n = 0;
  if (::SSL_read_ex(ssl_.get(), to.data(), to.size(), &n) == 1) {
    heard_ = true;
    return n;
  }
  const int why = ::SSL_get_error(ssl_.get(), 0);
  if (why == SSL_ERROR_ZERO_RETURN) return 0;
  // Where an answer is not taken OpenSSL tells nobody.
  if (why != SSL_ERROR_WANT_READ || broken_) fail(detail::reading);
  check_not_cut(detail::reading);
  return {};
}

void tls_transport::wait_readable(wait_limit& limit) {
  // What a cancelled write has left, or OpenSSL wants to say by itself. To wait for room alone could be to wait for
  // one who waits for us to read; so the way out is looked at now and then.
  if (flush_at_once()) {
    await(limit, detail::reading);
    return;
  }
  constexpr auto now_and_then = std::chrono::milliseconds(20);
  const deadline until = limit.start();
  const deadline look_again = deadline::after(now_and_then);
  try {
    wait_limit sooner = std::min(until, look_again);
    await(sooner, detail::reading);
  } catch (const timed_out&) {
    if (until <= look_again) throw;
  }
}

std::size_t tls_transport::read_some(std::span<std::byte> to, wait_limit limit) {
  for (;;) {
    if (const auto n = tls_transport::try_read(to, {})) return *n;
    tls_transport::wait_readable(limit);
  }
}

std::size_t tls_transport::write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) {
  flush(limit);  // what is left of earlier ones; until here nothing was taken
  // Small pieces become one record.
  std::span<const std::byte> record = from.front();
  std::vector<std::byte> joined;
  if (from.size() > 1 && record.size() < largest_record / 4) {
    for (const auto& piece : from) {
      const auto part = piece.first(std::min(piece.size(), largest_record - joined.size()));
      joined.insert(joined.end(), part.begin(), part.end());
    }
    record = joined;
  }
  std::size_t n = 0;
  for (;;) {
    clear_errors();
    if (::SSL_write_ex(ssl_.get(), record.data(), std::min(record.size(), largest_record), &n) == 1) break;
    if (::SSL_get_error(ssl_.get(), 0) != SSL_ERROR_WANT_READ) fail(detail::writing);
    await(limit, detail::writing);
  }
  // It is taken now, whatever comes: a record cannot be taken back.
  try {
    flush(limit);
  } catch (const cancelled&) {
  } catch (const timed_out&) {
  }
  return n;
}

void tls_transport::shutdown_write(wait_limit limit) {
  checkpoint();
  while (!ended_ && ready_ && ::SSL_in_init(ssl_.get()) != 0) {
    clear_errors();
    if (const int done = ::SSL_do_handshake(ssl_.get()); done != 1) {
      if (::SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) fail("end");
      await(limit, "end");
    }
  }
  ::ERR_clear_error();
  if (!std::exchange(ended_, true) && ::SSL_shutdown(ssl_.get()) < 0) fail("end");
  flush(limit);
  carrier_->shutdown_write(limit);
}

// A server of TLS 1.3 sends tickets unasked. Those that come to a closed socket are answered by a reset, which drops
// what a client that never reads has written. They come before all else, if they come.
bool tls_transport::expects_tickets() const noexcept {
  const bool ended = cut_ || (::SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  return !context_->server && !heard_ && !ended && ::SSL_version(ssl_.get()) == TLS1_3_VERSION;
}

void tls_transport::end(std::span<const std::byte> last, bool patient) noexcept {
  if (std::exchange(closed_, true)) return;
  std::vector<std::byte> rest;
  try {
    ::ERR_clear_error();
    if (flushing_) {
      // A write is broken off, and they are to know: no close_notify.
      patient = false;
    } else if (ready_) {
      std::size_t n = 0;
      if (!last.empty() && !ended_) (void)::SSL_write_ex(ssl_.get(), last.data(), last.size(), &n);
      if (!std::exchange(ended_, true)) (void)::SSL_shutdown(ssl_.get());
      patient = patient || expects_tickets();
    }
    if ((ready_ || refused_) && !flushing_ && !flush_at_once()) {
      rest.assign(sending_.begin() + static_cast<std::ptrdiff_t>(sent_), sending_.end());
      rest.insert(rest.end(), next_.begin(), next_.end());
    }
  } catch (...) {
    // No memory: they take it for cut.
  }
  ::ERR_clear_error();
  if (rest.empty() && !patient)
    carrier_->close();
  else
    carrier_->close_after(rest);
}

tls_facts tls_transport::facts() const {
  tls_facts f;
  const ::SSL* s = ssl_.get();
  f.protocol = ::SSL_get_version(s);
  f.cipher = ::SSL_get_cipher_name(s);
  const unsigned char* name = nullptr;
  unsigned size = 0;
  ::SSL_get0_alpn_selected(s, &name, &size);
  f.alpn.assign(reinterpret_cast<const char*>(name), size);
  if (const char* asked = ::SSL_get_servername(s, TLSEXT_NAMETYPE_host_name)) f.server_name = asked;
  f.resumed = ::SSL_session_reused(s) == 1;
  const certificate_ptr theirs(::SSL_get1_peer_certificate(s));
  const bio_ptr text(::BIO_new(::BIO_s_mem()));
  if (theirs && text) {
    ::X509_NAME_print_ex(text.get(), ::X509_get_subject_name(theirs.get()), 0, XN_FLAG_RFC2253);
    f.peer_subject.resize(::BIO_ctrl_pending(text.get()));
    std::size_t taken = 0;
    if (::BIO_read_ex(text.get(), f.peer_subject.data(), f.peer_subject.size(), &taken) != 1) taken = 0;
    f.peer_subject.resize(taken);
  }
  return f;
}

// --- contexts ---

tls_context tls_context::client(const tls_client_options& options) {
  auto s = std::make_shared<state>(false, options.lowest, options.handshake);
  ::SSL_CTX* c = s->context.get();
  s->verify = options.verify;
  s->max_sessions = options.max_sessions;
  ::SSL_CTX_set_verify(c, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (options.verify && options.system_store && ::SSL_CTX_set_default_verify_paths(c) != 1)
    throw_setup("read", "the system's store of certificates");
  if (!options.authorities.empty()) trust(c, options.authorities);
  if (!options.certificates.empty()) set_identity(c, options.certificates, options.key);
  const std::string alpn = wire_form(options.alpn);
  if (!alpn.empty() && ::SSL_CTX_set_alpn_protos(c, bytes_of(alpn), static_cast<unsigned>(alpn.size())) != 0)
    throw_setup("use", "the protocol names");
  if (options.max_sessions > 0) {
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    ::SSL_CTX_sess_set_new_cb(c, &tls_transport::new_session);
  }
  return tls_context(std::move(s));
}

tls_context tls_context::server(const tls_server_options& options) {
  auto s = std::make_shared<state>(true, options.lowest, options.handshake);
  ::SSL_CTX* c = s->context.get();
  set_identity(c, options.certificates, options.key);
  s->alpn = wire_form(options.alpn);
  if (!s->alpn.empty()) ::SSL_CTX_set_alpn_select_cb(c, &state::choose_protocol, s.get());
  if (!options.client_authorities.empty()) {
    trust(c, options.client_authorities);
    ::SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    for (const auto& a : certificates_in(options.client_authorities, "the authorities"))
      if (::SSL_CTX_add_client_CA(c, a.get()) != 1) throw_setup("use", "the authorities");
  }
  constexpr std::string_view id = "weft";  // sessions of servers that verify need one
  ::SSL_CTX_set_session_id_context(c, reinterpret_cast<const unsigned char*>(id.data()),
                                   static_cast<unsigned>(id.size()));
  return tls_context(std::move(s));
}

// --- streams ---

namespace {

// As their certificate has it: without the dot of the root; an address without what connect() takes besides.
std::string name_to_verify(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty()) throw std::invalid_argument("tls_connect(): the name of the host is empty");
  if (host.starts_with('.') || host.find('\0') != host.npos)
    throw std::invalid_argument("tls_connect(): this is no name of a host: " + std::string(host));
  for (const std::string& number : {std::string(host) + ":0", "[" + std::string(host) + "]:0"})
    if (const auto e = endpoint::try_parse(number); e && e->is_v6()) return endpoint(e->address_bytes(), 0).address();
  return std::string(host);
}

stream over_tls(std::unique_ptr<tls_transport> t, stream timeouts) {
  t->shake_hands();
  stream s(std::move(t));
  detail::stream_access::take_timeouts(s, timeouts);
  return s;
}

}  // namespace

stream tls_connect(stream over, std::string_view host, const tls_context& context) {
  if (context.state_->server) throw std::invalid_argument("tls_connect(): this context is a server's");
  std::string name = name_to_verify(host);
  detail::stream_access::check_idle(over, "shake hands over");
  stream timeouts;
  detail::stream_access::take_timeouts(timeouts, over);
  return over_tls(std::make_unique<tls_transport>(std::move(over), context.state_, std::move(name)),
                  std::move(timeouts));
}

stream tls_connect(std::string_view host, std::uint16_t port, const tls_context& context,
                   const connect_options& options) {
  return tls_connect(connect(host, port, options), host, context);
}

stream tls_accept(stream over, const tls_context& context) {
  if (!context.state_->server) throw std::invalid_argument("tls_accept(): this context is a client's");
  detail::stream_access::check_idle(over, "shake hands over");
  stream timeouts;
  detail::stream_access::take_timeouts(timeouts, over);
  return over_tls(std::make_unique<tls_transport>(std::move(over), context.state_, ""), std::move(timeouts));
}

tls_facts tls_facts_of(const stream& s) {
  const auto* t = dynamic_cast<const tls_transport*>(detail::stream_access::carrier(s));
  if (!t) throw std::invalid_argument("tls_facts_of(): " + s.describe() + " is no TLS stream");
  return t->facts();
}

}  // namespace weft::io
