#include "service.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/error.hpp>

#include "http_kit/file.hpp"
#include "http_kit/while_connected.hpp"
#include "page.hpp"

namespace images {

namespace {

using http::status;
using nlohmann::json;
using namespace std::chrono_literals;

/// A reason may quote what a client sent, which need not be UTF-8.
http::response in_json(const json& body, status code = status::ok) {
  return http::json(body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n", code);
}

http::error busy(const std::string& why, unsigned seconds) {
  return http::error(status::service_unavailable, why).with("Retry-After", std::to_string(seconds));
}

/// What f throws becomes an answer that the page can show.
template <class F>
http::handler api(F f) {
  const auto answer = [](const http::error& e) {
    http::response r = in_json({{"error", e.what()}}, e.code());
    for (const auto& [name, value] : e.fields()) r.fields.set(name, value);
    return r;
  };
  return [f = std::move(f), answer](http::request& r) {
    try {
      return f(r);
    } catch (const http::error& e) {
      return answer(e);
    } catch (const bad_picture& e) {
      const bool unknown = e.what_is_wrong() == bad_picture::problem::unknown_format;
      return answer({unknown ? status::unsupported_media_type : status::unprocessable_content, e.what()});
    } catch (const records_unavailable&) {
      return answer(busy("the database is away; please come again", 2));
    }
  };
}

// --- records ---

std::string file_name(const std::string& id, std::string_view version, std::string_view type) {
  return id + (version.empty() ? "" : "-") + std::string(version) + "." + std::string(type);
}

json in_json(const record& r) {
  json versions = json::parse(r.versions);
  for (json& v : versions)
    v["url"] = "/files/" + file_name(r.id, v["name"].get<std::string>(), v["type"].get<std::string>());
  return {{"id", r.id},
          {"name", r.name},
          {"added_ms", r.added_ms},
          {"format", r.format},
          {"width", r.width},
          {"height", r.height},
          {"bytes", r.bytes},
          {"original", "/files/" + file_name(r.id, "", r.format)},
          {"versions", std::move(versions)}};
}

record record_of(const std::string& id, std::string name, std::uint64_t bytes, const processed& made) {
  json versions = json::array();
  for (const version& v : made.versions)
    versions.push_back({{"name", v.name},
                        {"type", extension(v.type)},
                        {"width", v.width},
                        {"height", v.height},
                        {"bytes", v.bytes.size()}});
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {id,
          std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
          std::move(name),
          std::string(extension(made.was)),
          made.width,
          made.height,
          bytes,
          versions.dump()};
}

/// A name that people, JSON and databases can bear: of a path the last part, no control characters, valid UTF-8.
std::string clean_name(std::string_view name) {
  name.remove_prefix(name.find_last_of("/\\") + 1);  // npos + 1 is 0
  std::string text(name.substr(0, 200));
  std::erase_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  const std::string quoted = json(text).dump(-1, ' ', false, json::error_handler_t::ignore);
  text = json::parse(quoted).get<std::string>();
  return text.empty() ? "picture" : text;
}

// --- adding ---

http::response add(service& here, http::request& r) {
  remote_file sent;
  if (const auto url = r.query("url")) {
    r.body_limit(0);
    (void)r.body();  // there is none; 413 when there is
    sent = http::while_connected(r, [&] { return here.web.get(*url); });
  } else {
    r.body_limit(here.most_bytes, here.longest);
    sent = {r.query("name").value_or(""), r.body()};
  }

  const std::string id = here.shop.name(sent.bytes);
  if (const auto known = here.pictures.find(id)) return in_json(in_json(*known));

  const processed made = http::while_connected(r, [&] { return here.shop.make(sent.bytes); });

  std::vector<named_bytes> files{{file_name(id, "", extension(made.was)), sent.bytes}};
  for (const version& v : made.versions) files.push_back({file_name(id, v.name, extension(v.type)), v.bytes});
  here.blobs.put(files);  // first, so that no record tells of what is not there

  const record added = record_of(id, clean_name(sent.name), sent.bytes.size(), made);
  const bool is_new = here.pictures.add(added);
  json body = in_json(is_new ? added : here.pictures.find(id).value_or(added));
  if (!made.warnings.empty()) body["warnings"] = made.warnings;
  return in_json(body, is_new ? status::created : status::ok);
}

http::response add_in_turn(service& here, http::request& r) {
  const workshop::place place(here.shop);  // before a byte of the body is read: so their number is bounded
  try {
    return add(here, r);
  } catch (const weft::cancelled&) {  // the drain had no grace left
    here.shop.note_cut_off();
    throw;
  } catch (const http::error& e) {
    if (e.code() == http::client_gone) here.shop.note_cut_off();
    throw;
  }
}

// --- looking ---

/// "MILLISECONDS.ID"
position position_of(const std::string& text) {
  const std::size_t dot = text.find('.');
  const auto when = http::number_in<std::int64_t>(std::string_view(text).substr(0, dot));
  if (dot == std::string::npos || !when)
    throw http::error(status::bad_request, "after what? Give it the \"next\" of a list");
  return {*when, clean_name(text.substr(dot + 1))};
}

http::response list(service& here, const http::request& r) {
  const auto limit = http::number_in<unsigned>(r.query("limit").value_or("40"));
  if (!limit || *limit == 0 || *limit > 200) throw http::error(status::bad_request, "a limit from 1 to 200");
  const std::string after = r.query("after").value_or("");
  const auto found = here.pictures.list(after.empty() ? std::nullopt : std::optional(position_of(after)), *limit);
  json all = json::array();
  for (const record& one : found) all.push_back(in_json(one));
  const bool may_be_more = found.size() == *limit;
  return in_json({{"pictures", std::move(all)},
                  {"next", may_be_more ? std::to_string(found.back().added_ms) + "." + found.back().id : ""}});
}

http::response one(service& here, const http::request& r) {
  const auto found = here.pictures.find(clean_name(r.parameter("id")));
  if (!found) throw http::error(status::not_found, "no such picture");
  return in_json(in_json(*found));
}

http::response file(service& here, const http::request& r) {
  const std::string& name = r.parameter("name");
  weft::io::unique_fd fd = here.blobs.open(name);
  if (!fd) throw http::error(status::not_found, "no such file");
  return http::file(r, std::move(fd), http::type_of(name))
      .with("Cache-Control", "public, max-age=31536000, immutable")  // what is in it is in its name
      .with("X-Content-Type-Options", "nosniff");
}

http::response events(service& here) {
  return http::events([&news = here.state.news()](http::event_writer& to) {
    do to.send(*news.get());
    while (to.pause(live::period));
  });
}

http::response page(const page_file& file) {
  return http::response(status::ok, file.type, std::string(file.text))
      .with("Cache-Control", "no-cache")
      .with("X-Content-Type-Options", "nosniff")
      .with("Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
}

}  // namespace

http::router routes_of(service& here) {
  http::router routes;
  routes.post("/pictures", api([&here](http::request& r) { return add_in_turn(here, r); }));
  routes.get("/pictures", api([&here](http::request& r) { return list(here, r); }));
  routes.get("/pictures/{id}", api([&here](http::request& r) { return one(here, r); }));
  routes.get("/files/{name}", api([&here](http::request& r) { return file(here, r); }));
  routes.get("/events", [&here](http::request&) { return events(here); });
  routes.get("/live", [&here](http::request&) { return http::json(*here.state.news().get()); });
  routes.get("/ping", [](http::request&) { return http::text("pong\n"); });
  for (const page_file& file : page_files()) routes.get(file.path, [&file](http::request&) { return page(file); });
  return routes;
}

}  // namespace images
