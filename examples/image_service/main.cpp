// An image service with a web page: pictures are uploaded or fetched, made into several sizes, kept, and shown.
//
// Run it: build/release/examples/image_service/image_service --folder pictures
//         and open http://127.0.0.1:8080/. README.md tells of all options.
//
// Each kind of work is where it belongs. Connections, PostgreSQL and other servers are waited for by fibers; pictures
// are worked on by oneTBB; files and SQLite block threads that may. On SIGINT (Ctrl-C) or SIGTERM it refuses new
// connections, answers the requests it has begun, and ends with a line such as
//
//     stopped: 4711 requests answered, 12 pictures made, 0 uploads cut off

#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

#include <weft/executor.hpp>
#include <weft/io/signals.hpp>
#include <weft/io/tcp.hpp>

#include "http_kit/server.hpp"
#include "service.hpp"
#include "support/arguments.hpp"

using namespace images;
using std::chrono::milliseconds;

struct settings {
  weft::io::endpoint at;
  std::filesystem::path folder;
  std::string database;  ///< a URL; empty: SQLite, in the folder
  std::uint64_t most_bytes;
  milliseconds longest;  ///< that an upload may take
  workshop_limits work;
  remote_limits web;
  http::options http;
};

void serve(settings& given, blob_store& blobs, const remote& web, records& pictures) {
  workshop shop(given.work);
  live state(shop);
  service here{blobs, pictures, shop, web, state, given.most_bytes, given.longest};

  // The chart of small requests: not the uploads, which take as long as they take, and not the endless events.
  given.http.log = [&state](const http::access& a) {
    if (a.what.method == "GET" && a.what.path() != "/events") state.answered(a.took);
  };
  http::server server(weft::io::listen(given.at), routes_of(here), given.http);

  weft::io::signals stop{SIGINT, SIGTERM};
  weft::with_group([&](weft::task_group& all) {  // when serving fails, nobody waits for a signal
    all.spawn([&] { state.run(); });
    auto serving = all.spawn([&] { server.run(); });
    std::cout << "listening on http://" << to_string(server.local()) << std::endl;
    stop.wait();
    server.stop();
    serving.get();  // until the requests in flight are answered
    all.cancel();
  });

  const http::server_report did = server.report();
  std::cout << "stopped: " << did.answered << " requests answered, " << shop.made() << " pictures made, "
            << shop.cut_off() << " uploads cut off" << std::endl;
}

settings read_settings(arguments& given) {
  settings s;
  s.at = weft::io::endpoint::parse(given.take("--address", std::string("127.0.0.1")) + ":" +
                                   std::to_string(given.take<std::uint16_t>("--port", 8080)));
  s.folder = given.take("--folder", std::string("pictures"));
  s.database = given.take("--database", std::string());
  s.most_bytes = s.web.bytes = given.take<std::uint64_t>("--bytes", 25'000'000);
  s.longest = given.take("--upload-ms", milliseconds(120'000));
  s.work.picture.pixels = given.take<std::uint64_t>("--pixels", 40'000'000);
  s.work.uploads = given.take("--uploads", 48u);
  s.work.queue = given.take("--queue", 32u);
  s.work.patience = given.take("--queue-ms", milliseconds(8'000));
  s.work.time = given.take("--picture-ms", milliseconds(20'000));
  s.web.time = given.take("--fetch-ms", milliseconds(20'000));
  s.web.local = given.take("--local-urls", 0u) != 0;
  if (const auto file = given.take("--authorities", std::string()); !file.empty())
    s.web.authorities = weft::io::read_pem(file);
  s.http.connections.grace = milliseconds(given.take("--grace-ms", 30'000u));
  return s;
}

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  settings chosen = read_settings(given);
  weft::config config{.loops = given.take("--loops", weft::usable_cores()),
                      .cpu_workers = given.take("--workers", weft::usable_cores())};
  chosen.work.apply_to(config);
  if (given.take("--background", 1u) == 0) config.cpu_threads = weft::cpu_scheduling::normal;
  given.finish();

  // These read files, which blocks, and a loop must not: so before there is one.
  blob_store blobs(chosen.folder);
  const remote web(chosen.web);
  auto pictures = chosen.database.empty() ? open_sqlite(chosen.folder / "pictures.db") : nullptr;
  weft::run(
      [&] {
        if (!pictures) pictures = open_postgres(chosen.database);
        serve(chosen, blobs, web, *pictures);
        pictures.reset();
      },
      config);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "image_service: " << error.what() << std::endl;
  return 1;
}
