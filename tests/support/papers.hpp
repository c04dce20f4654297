#pragma once
// Certificates for tests, and TLS over any pair of streams. For who links weft::tls.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "weft/future.hpp"
#include "weft/io/tls.hpp"
#include "weft/spawn.hpp"

namespace weft::testing {

// Certificates, made by the openssl command, once.
class papers {
 public:
  static const papers& get() {
    static const papers one;
    return one;
  }
  ~papers() { std::filesystem::remove_all(folder); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder / name; }
  [[nodiscard]] std::string text(const std::string& name) const { return io::read_pem(path(name)); }

  std::filesystem::path folder;

 private:
  papers() {
    std::string name = std::filesystem::temp_directory_path() / "weft-tls-XXXXXX";
    folder = ::mkdtemp(name.data());
    const auto authority = [&](const std::string& who) {
      openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=" + who +
              " -keyout " + who + ".key -out " + who + ".pem");
    };
    authority("authority");
    authority("stranger");
    signed_by("authority", "server", "DNS:server.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1", "-days 30");
    signed_by("authority", "expired", "DNS:server.test", "-days -1");
    signed_by("authority", "client", "DNS:client.test", "-days 30");
    signed_by("stranger", "impostor", "DNS:server.test", "-days 30");
  }
  void signed_by(const std::string& authority, const std::string& who, const std::string& names,
                 const std::string& days) const {
    openssl("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + who +
            " -addext subjectAltName=" + names + " -keyout " + who + ".key -out " + who + ".csr");
    openssl("x509 -req -in " + who + ".csr -CA " + authority + ".pem -CAkey " + authority +
            ".key -CAcreateserial -copy_extensions copy " + days + " -out " + who + ".pem");
  }
  void openssl(const std::string& arguments) const {
    const std::string command = "cd '" + folder.string() + "' && openssl " + arguments + " 2>log </dev/null";
    if (std::system(command.c_str()) != 0) {
      std::fprintf(stderr, "openssl %s: %s\n", arguments.c_str(), io::read_pem(folder / "log").c_str());
      std::abort();
    }
  }
};

inline io::tls_client_options trusting() {
  return {.system_store = false, .authorities = papers::get().text("authority.pem")};
}
inline io::tls_server_options identity(const std::string& who = "server") {
  return {.certificates = papers::get().text(who + ".pem"), .key = papers::get().text(who + ".key")};
}
inline io::tls_context client_context() { return io::tls_context::client(trusting()); }
inline io::tls_context server_context() { return io::tls_context::server(identity()); }

/// Two ends of a TLS connection over two ends of any.
inline std::pair<io::stream, io::stream> tls_over(std::pair<io::stream, io::stream> pair, const io::tls_context& client,
                                                  const io::tls_context& server,
                                                  const std::string& host = "server.test") {
  auto accepting = spawn([&] { return io::tls_accept(std::move(pair.second), server); });
  io::stream one = io::tls_connect(std::move(pair.first), host, client);
  return {std::move(one), std::move(accepting).get()};
}

}  // namespace weft::testing
