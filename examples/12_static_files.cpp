// A server of static files: by sendfile(2), with ranges, conditions, types, index pages, and no way out of its folder.
//
// Run it: build/dev/examples/12_static_files --root . --port 8003
//         (port 0 takes any free one; also --silence-ms, and --log 1 for a line a request)
//
//     curl localhost:8003/                           index.html if there is one, else what the folder holds
//     curl -r 0-99 localhost:8003/README.md          the first hundred bytes
//     curl -I localhost:8003/README.md               its type, size, date and tag
//     curl -H 'If-None-Match: TAG' ...               304 while it is the same
//
// A loop never waits for a disk: folders and files are opened on threads that may block, and what is not in the
// system's cache is read there. Which file a path means is for the kernel to say: openat2(2) with RESOLVE_BENEATH
// leaves the folder neither by ".." nor by a link. Names that begin with a dot (.git, .env) are not there, for anybody;
// a link that is called otherwise and leads to one is. On SIGINT (Ctrl-C) or SIGTERM it finishes the downloads under
// way, and ends with
//
//     stopped: 7 requests answered on 3 connections

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <weft/weft.hpp>

#include "http_kit/access_log.hpp"
#include "http_kit/file.hpp"
#include "http_kit/server.hpp"
#include "support/arguments.hpp"

using http::status;
using weft::io::unique_fd;

std::string escaped(std::string_view text, std::string_view special, bool percent) {
  std::string safe;
  for (const char c : text) {
    const bool plain = special.find(c) == std::string_view::npos && (!percent || (c > ' ' && c < 0x7f));
    char code[8];
    std::snprintf(code, sizeof code, percent ? "%%%02X" : "&#%d;", static_cast<unsigned char>(c));
    safe += plain ? std::string(1, c) : code;
  }
  return safe;
}

class folder {
 public:
  explicit folder(const std::string& root) : root_(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!root_) throw std::system_error(errno, std::generic_category(), root);
  }

  http::response get(http::request& r) const {
    const std::string path = r.parameter("path");
    // It is decoded: this is what "/%2egit" means, too. An empty name is no other spelling of a file.
    if (("/" + path).find("/.") != std::string::npos || ("/" + path).find("//") != std::string::npos)
      throw http::error(status::not_found, "no such file");
    found at = look_up(path);
    if (!at.is_folder) {
      if (path.ends_with('/')) throw http::error(status::not_found, "no such file");
      return http::file(r, std::move(at.file), http::type_of(path)).with("X-Content-Type-Options", "nosniff");
    }
    // The page's own links need the slash.
    if (!path.empty() && !path.ends_with('/'))
      return http::redirect(std::string(r.path()) + "/", status::moved_permanently);
    if (at.file) return http::file(r, std::move(at.file), "text/html; charset=utf-8");
    std::string page = "<!doctype html><meta charset=\"utf-8\"><title>files</title><ul>\n";
    for (const std::string& name : at.names)
      page += "<li><a href=\"./" + escaped(name, "%?#\"'<>&", true) + "\">" + escaped(name, "<>&\"'", false) + "</a>\n";
    return http::html(page + "</ul>\n");
  }

 private:
  struct found {
    unique_fd file;  ///< of a folder: its index page, if it has one
    bool is_folder = false;
    std::vector<std::string> names;
  };

  /// Of a path below our folder; none when it is not there. Blocks.
  [[nodiscard]] unique_fd open(const std::string& path) const {
    ::open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    unique_fd file(
        static_cast<int>(::syscall(SYS_openat2, root_.get(), path.empty() ? "." : path.c_str(), &how, sizeof how)));
    if (file) return file;
    switch (errno) {
      case EACCES:
        throw http::error(status::forbidden, "this is not to be read");
      case ENOENT:
      case ENOTDIR:
      case ENAMETOOLONG:
      case ELOOP:
      case EXDEV:  // out of the folder
      case ENXIO:  // a socket
        return {};
      default:  // no descriptor is left, say: that is no reason to call it gone
        throw std::system_error(errno, std::generic_category(), path);
    }
  }

  [[nodiscard]] found look_up(const std::string& path) const {
    return weft::spawn_blocking([this, path] {
             found at;
             at.file = open(path);
             if (!at.file) throw http::error(status::not_found, "no such file");
             struct ::stat facts {};
             if (::fstat(at.file.get(), &facts) != 0 || !S_ISDIR(facts.st_mode)) return at;
             at.is_folder = true;
             unique_fd itself = std::move(at.file);
             at.file = open(path + (path.empty() ? "" : "/") + "index.html");
             if (at.file) return at;
             const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(itself.get()), &::closedir);
             if (!list) throw std::system_error(errno, std::generic_category(), path);
             (void)itself.release();  // the list's now
             while (const ::dirent* one = ::readdir(list.get()))
               if (one->d_name[0] != '.')
                 at.names.push_back(one->d_name + std::string(one->d_type == DT_DIR ? "/" : ""));
             std::sort(at.names.begin(), at.names.end());
             return at;
           })
        .get();
  }

  unique_fd root_;
};

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  const folder root(given.take("--root", std::string(".")));
  const auto port = given.take<std::uint16_t>("--port", 8003);
  http::options most;
  most.receive = most.connections.first_byte = most.connections.write_stall =
      given.take("--silence-ms", std::chrono::milliseconds(10'000));
  const bool logs = given.take("--log", 0) != 0;
  given.finish();
  if (logs) std::signal(SIGPIPE, SIG_IGN);  // that nobody reads the log any more is no reason to end
  weft::run([&] {
    std::optional<http::access_log> log;
    if (logs) most.log = log.emplace(STDOUT_FILENO).sink();
    http::router routes;
    routes.get("/{path...}", [&](http::request& r) { return root.get(r); });
    http::server server(weft::io::listen(weft::io::endpoint::loopback(port)), routes, most);
    weft::io::signals stop{SIGINT, SIGTERM};
    weft::with_group([&](weft::task_group& both) {  // when serving fails, nobody waits for a signal
      auto serving = both.spawn([&] { server.run(); });
      std::cout << "listening on http://" << to_string(server.local()) << std::endl;
      stop.wait();
      server.stop();
      serving.get();
    });
    if (log) log->close();
    const http::server_report did = server.report();
    std::cout << "stopped: " << did.answered << " requests answered on " << did.connections << " connections"
              << std::endl;
  });
  return 0;
} catch (const std::exception& error) {
  std::cerr << "12_static_files: " << error.what() << std::endl;
  return 1;
}
