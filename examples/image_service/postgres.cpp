#include "postgres.hpp"

#include <string_view>

#include <weft/error.hpp>
#include <weft/io/error.hpp>
#include <weft/io/resolve.hpp>
#include <weft/io/wait_fd.hpp>
#include <weft/timeout.hpp>

namespace postgres {

namespace {

using namespace std::chrono_literals;
using result = std::unique_ptr<PGresult, decltype(&PQclear)>;

/// The connection's options as two lists, as libpq wants them.
struct options {
  std::vector<std::string> names;
  std::vector<std::string> values;

  void set(std::string name, std::string value) {
    names.push_back(std::move(name));
    values.push_back(std::move(value));
  }
};

using taken_apart = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

taken_apart take_apart(const std::string& url) {
  char* error = nullptr;
  taken_apart given(PQconninfoParse(url.c_str(), &error), PQconninfoFree);
  if (given) return given;
  std::string why = error ? error : "out of memory";
  PQfreemem(error);
  why.erase(why.find_last_not_of('\n') + 1);
  throw std::invalid_argument("the database's URL: " + why);
}

options parse(const std::string& url) {
  const taken_apart given = take_apart(url);
  options all;
  bool says_gss = false;
  std::string host;
  bool has_address = false;
  for (const auto* option = given.get(); option->keyword; ++option) {
    if (!option->val) continue;
    const std::string_view name = option->keyword;
    if (name == "host") host = option->val;
    if (name == "hostaddr") has_address = true;
    if (name == "gssencmode") says_gss = true;
    all.set(option->keyword, option->val);
  }
  // libpq would look the name up itself, and block. (It still does so for a list of hosts.)
  const bool is_name = !host.empty() && host.find_first_of("/@,") == std::string::npos;
  if (is_name && !has_address) all.set("hostaddr", weft::io::resolve(host, 0).front().address());
  if (!says_gss) all.set("gssencmode", "disable");  // to look for tickets reads files
  return all;
}

void wait(PGconn* pg, bool to_write) {
  const int fd = PQsocket(pg);
  if (fd < 0) throw unavailable(PQerrorMessage(pg));
  to_write ? weft::io::wait_writable(fd) : weft::io::wait_readable(fd);
}

/// "The server is shutting down", and others of its kind, come as the answer to whatever was asked.
bool means_gone(std::string_view state) { return state.starts_with("57P") || state.starts_with("08"); }

}  // namespace

connection::connection(const std::string& url) try {
  weft::timeout(5s, [&] {
    const options given = parse(url);
    std::vector<const char*> names;
    std::vector<const char*> values;
    for (const auto& name : given.names) names.push_back(name.c_str());
    for (const auto& value : given.values) values.push_back(value.c_str());
    names.push_back(nullptr);
    values.push_back(nullptr);

    pg_.reset(PQconnectStartParams(names.data(), values.data(), 0));
    if (!pg_) throw std::bad_alloc();
    PQsetNoticeProcessor(
        pg_.get(), [](void*, const char*) {}, nullptr);
    if (PQstatus(pg_.get()) == CONNECTION_BAD) throw unavailable(message());
    for (auto next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK; next = PQconnectPoll(pg_.get())) {
      if (next == PGRES_POLLING_FAILED) throw unavailable(message());
      wait(pg_.get(), next == PGRES_POLLING_WRITING);
    }
    PQsetnonblocking(pg_.get(), 1);
  });
} catch (const weft::timed_out&) {
  throw unavailable("the database does not answer");
} catch (const weft::io::error& e) {
  throw unavailable(e.what());
}

rows connection::query(const char* text, const parameters& values) {
  std::vector<const char*> pointers;
  for (const auto& value : values) pointers.push_back(value.c_str());
  busy_ = true;
  if (PQsendQueryParams(pg_.get(), text, static_cast<int>(pointers.size()), nullptr, pointers.data(), nullptr, nullptr,
                        0) == 0)
    throw unavailable(message());
  return finish();
}

void connection::script(const char* text) {
  busy_ = true;
  if (PQsendQuery(pg_.get(), text) == 0) throw unavailable(message());
  finish();
}

/// Sends what is still here, then reads all results.
rows connection::finish() {
  PGconn* const pg = pg_.get();
  for (int left = PQflush(pg); left != 0; left = PQflush(pg)) {
    if (left < 0) throw unavailable(message());
    wait(pg, true);  // a statement of ours is small, and the server reads it before it answers
  }

  rows all;
  std::string error;
  std::string state;
  for (;;) {
    while (PQisBusy(pg)) {
      wait(pg, false);
      if (PQconsumeInput(pg) == 0) throw unavailable(message());
    }
    const result one(PQgetResult(pg), PQclear);
    if (!one) break;
    if (const auto status = PQresultStatus(one.get()); status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
      const char* const code = PQresultErrorField(one.get(), PG_DIAG_SQLSTATE);
      error = PQresultErrorMessage(one.get());
      state = code ? code : "08006";  // libpq's own: the connection broke
    }
    const int columns = PQnfields(one.get());
    for (int y = 0; y < PQntuples(one.get()); ++y) {
      auto& row = all.emplace_back();
      for (int x = 0; x < columns; ++x)
        row.emplace_back(PQgetvalue(one.get(), y, x), static_cast<std::size_t>(PQgetlength(one.get(), y, x)));
    }
  }
  if (means_gone(state)) throw unavailable(error);
  busy_ = false;
  if (!error.empty()) throw query_failed(error, state);
  return all;
}

pool::pool(std::string url, unsigned most, const char* on_connect)
    : url_(std::move(url)), on_connect_(on_connect), idle_(most) {
  (void)take_apart(url_);
  for (unsigned i = 0; i < most; ++i) (void)idle_.try_send(connection());
}

}  // namespace postgres
