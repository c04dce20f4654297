#pragma once
// TLS over any stream (TLS 1.2, RFC 5246; TLS 1.3, RFC 8446), by OpenSSL. Link weft::tls for it.
//
//   stream s = tls_connect("example.org", 443, tls_context::client());
//   stream s = tls_accept(l.accept(), server_context);
//
// What comes out is a stream as any other, which ends with the stream below it:
// * shutdown_write() sends close_notify, and then ends the stream below. It may wait here, as long as write_timeout()
//   allows: see tls_connect().
// * read_some() gives 0 after their close_notify. A connection that ends without it may have been cut by anybody:
//   that is tls_error with tls_problem::truncated.
// * close() sends close_notify, after what is left of earlier writes; where there is no room for it at once, in the
//   background, for 5 seconds at most. So does a client of TLS 1.3 that has read nothing, until the other side ends: a
//   server's tickets would be answered by a reset. Not a close() while another fiber waits in a write: they shall see
//   that this is not all.
// * A cancelled write has moved what bytes_written() tells; of its last record (16 KiB at most) a part may still be
//   here, and goes with the next operation that begins on the stream.
//
// OpenSSL keeps its state on the heap: a handshake takes a few KiB of stack (the test TlsStack.* measures and prints
// it, and fails at a quarter of the default stack), so tasks need no larger one.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weft/io/error.hpp"
#include "weft/io/stream.hpp"
#include "weft/io/tcp.hpp"

namespace weft::io {

enum class tls_problem : std::uint8_t {
  protocol,     ///< code() has tls_category()
  certificate,  ///< theirs is not to be trusted, or not for that name: code() has certificate_category()
  truncated     ///< the connection ended, the stream had not
};

/// What TLS has against the other side, or it against us. After one the stream is of no more use.
class tls_error : public error {
 public:
  tls_error(tls_problem problem, std::error_code code, std::string_view operation, std::string_view peer,
            std::string_view advice = {})
      : error(code, operation, peer, 0, advice), problem_(problem) {}
  [[nodiscard]] tls_problem problem() const noexcept { return problem_; }

 private:
  tls_problem problem_;
};

/// OpenSSL's packed error codes (ERR_get_error(3)), and its results of verification (X509_STORE_CTX_get_error(3)).
const std::error_category& tls_category() noexcept;
const std::error_category& certificate_category() noexcept;

enum class tls_version : std::uint8_t { v1_2, v1_3 };

/// The text of a file, for the PEM fields below. Blocks: for the start of a program. Throws error.
std::string read_pem(const std::filesystem::path& file);

struct tls_client_options {
  bool verify = true;                  ///< off: anybody may sit at the other end
  bool system_store = true;            ///< believe whom this system believes (SSL_CERT_FILE, SSL_CERT_DIR change that)
  std::string authorities = {};        ///< PEM: believe these, too
  std::string certificates = {};       ///< PEM: who we are, if they ask; own first, then the chain
  std::string key = {};                ///< PEM, without a password
  std::vector<std::string> alpn = {};  ///< what we speak, best first ("h2", "http/1.1"; RFC 7301)
  tls_version lowest = tls_version::v1_2;
  std::chrono::nanoseconds handshake = std::chrono::seconds(10);  ///< the longest it may take as a whole
  std::size_t max_sessions = 1000;  ///< of so many hosts, to resume: less work and one trip less; 0: none
};

struct tls_server_options {
  std::string certificates = {};        ///< PEM: who we are; own first, then the chain
  std::string key = {};                 ///< PEM, without a password
  std::string client_authorities = {};  ///< PEM: if not empty, clients must show a certificate of these
  std::vector<std::string> alpn = {};   ///< what we speak, best first. A client that speaks none of it is refused
  tls_version lowest = tls_version::v1_2;
  std::chrono::nanoseconds handshake = std::chrono::seconds(10);  ///< the longest it may take as a whole
};

/// What connections have in common. A handle; any thread. Throws tls_error for certificates and keys that cannot be
/// used, std::invalid_argument for protocol names that cannot be.
class tls_context {
 public:
  static tls_context client(const tls_client_options& options = {});
  static tls_context server(const tls_server_options& options);

 private:
  friend class tls_transport;
  friend stream tls_connect(stream over, std::string_view host, const tls_context& context);
  friend stream tls_accept(stream over, const tls_context& context);
  struct state;
  explicit tls_context(std::shared_ptr<state> s) noexcept : state_(std::move(s)) {}
  std::shared_ptr<state> state_;
};

/// Shakes hands as a client, over a stream that it takes over, buffer and timeouts included. The other side must show a
/// certificate for `host`, a name or the number of an address, which must be trusted; a name is sent to it (SNI).
/// shutdown_write() of the new stream: a checkpoint; switches while the way is full; one that was cancelled or
/// timed_out can be repeated.
///
/// Suspends: always.
/// Cancel:   throws cancelled; `over` was closed.
/// Threads:  fibers of the stream's loop.
/// Ordering: none.
/// Throws:   tls_error, timed_out; as stream::read_some() and stream::write_some(). `over` was closed.
///           std::invalid_argument for a server's context, and for a host that is empty, begins with a dot (to OpenSSL
///           it would mean all names below) or has a zero in it.
stream tls_connect(stream over, std::string_view host, const tls_context& context);

/// io::connect() and tls_connect(), each with its own time limit.
///
/// Suspends: always.
/// Cancel:   throws cancelled; nothing is left open.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   as the two.
stream tls_connect(std::string_view host, std::uint16_t port, const tls_context& context,
                   const connect_options& options = {});

/// Shakes hands as a server; otherwise as tls_connect(). In a server, call it first thing in the handler: the time
/// limits of serve_options go over to the new stream.
///
/// Suspends: always.
/// Cancel:   throws cancelled; `over` was closed.
/// Threads:  fibers of the stream's loop.
/// Ordering: none.
/// Throws:   as tls_connect(). std::invalid_argument for a client's context.
stream tls_accept(stream over, const tls_context& context);

/// What was agreed on.
struct tls_facts {
  std::string protocol;      ///< "TLSv1.3"
  std::string cipher;        ///< "TLS_AES_256_GCM_SHA384"
  std::string alpn;          ///< empty for none
  std::string server_name;   ///< that the client asked for; empty for none
  std::string peer_subject;  ///< of the certificate they showed (RFC 2253); empty for none
  bool resumed = false;      ///< an earlier session went on
};
/// Throws std::invalid_argument when the stream is no TLS stream.
tls_facts tls_facts_of(const stream& s);

}  // namespace weft::io
