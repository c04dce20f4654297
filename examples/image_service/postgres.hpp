#pragma once
// PostgreSQL on fibers: libpq's asynchronous calls, and weft's waits on its socket. No thread blocks.

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <weft/channel.hpp>

namespace postgres {

/// The server said no. `state` is SQLSTATE's five letters.
class query_failed : public std::runtime_error {
 public:
  query_failed(const std::string& why, std::string state) : std::runtime_error(why), state_(std::move(state)) {}
  [[nodiscard]] const std::string& state() const noexcept { return state_; }

 private:
  std::string state_;
};

/// There is no server, or it went away.
class unavailable : public std::runtime_error {
  using runtime_error::runtime_error;
};

using rows = std::vector<std::vector<std::string>>;  ///< null is the empty text
using parameters = std::vector<std::string>;         ///< $1, $2, ...

/// For one fiber at a time, which may be another's, on another loop, the next time.
class connection {
 public:
  /// None.
  connection() = default;
  /// Looks the host up and connects, in five seconds at most.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the attempt was given up.
  /// Throws:   unavailable; query_failed when the server does not let us in.
  explicit connection(const std::string& url);

  /// Runs one statement. Suspends: always. Cancel: throws cancelled; the statement may or may not have been carried
  /// out, and the connection is of no more use. Throws: query_failed, unavailable.
  rows query(const char* text, const parameters& values);
  /// Several statements in one transaction; what they give is dropped. Otherwise as query().
  void script(const char* text);

  /// Connected as far as we know, and idle.
  [[nodiscard]] bool usable() const { return pg_ && !busy_ && PQstatus(pg_.get()) == CONNECTION_OK; }

 private:
  rows finish();
  [[nodiscard]] std::string message() const { return PQerrorMessage(pg_.get()); }

  std::unique_ptr<PGconn, decltype(&PQfinish)> pg_{nullptr, PQfinish};
  bool busy_ = false;  ///< a statement was sent, and its answer has not been read to the end
};

/// A few connections for many fibers, made when they are first needed, and anew when the server was restarted.
class pool {
 public:
  /// `on_connect` is run on each new connection. Throws std::invalid_argument for what is no URL.
  pool(std::string url, unsigned most, const char* on_connect);

  /// Waits for a connection and calls f with it; f may be called twice, so what it does must be repeatable. Throws what
  /// f and connection() throw.
  template <class F>
  auto with(const F& f) {
    lease mine(idle_);
    if (mine->usable()) try {
        return f(*mine);
      } catch (const unavailable&) {
        // The server went away while the connection lay idle. It may be back.
      }
    *mine = connection();
    *mine = connection(url_);
    mine->script(on_connect_);
    return f(*mine);
  }

 private:
  /// Newest first: of many connections the same few are used, and idle places stay idle.
  using places = weft::channel<connection, weft::lifo>;

  class lease {
   public:
    explicit lease(places& from) : from_(from), connection_(from.recv()) {}
    ~lease() {
      if (!connection_.usable()) connection_ = connection();
      (void)from_.try_send(std::move(connection_));  // there is room: it came from there
    }
    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;
    connection& operator*() { return connection_; }
    connection* operator->() { return &connection_; }

   private:
    places& from_;
    connection connection_;
  };

  const std::string url_;
  const char* const on_connect_;
  places idle_;
};

}  // namespace postgres
