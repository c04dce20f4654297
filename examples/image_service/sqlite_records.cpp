// SQLite blocks, so each call is made by a thread that may.

#include <sqlite3.h>

#include <chrono>
#include <mutex>
#include <utility>

#include <weft/mutex.hpp>
#include <weft/spawn.hpp>

#include "records.hpp"

namespace images {

namespace {

constexpr std::chrono::milliseconds patience(5000);  // with others who write

using database = std::unique_ptr<sqlite3, decltype(&sqlite3_close)>;

[[noreturn]] void fail(sqlite3* db) {
  const char* const file = db ? sqlite3_db_filename(db, "main") : nullptr;
  const std::string why =
      std::string("SQLite: ") + (db ? sqlite3_errmsg(db) : "out of memory") + (file ? std::string(", ") + file : "");
  if (db && sqlite3_errcode(db) == SQLITE_BUSY) throw records_unavailable(why);
  throw std::runtime_error(why);
}

/// A prepared statement, used once.
class query {
 public:
  query(const database& db, const char* text) : db_(db.get()) {
    if (sqlite3_prepare_v2(db_, text, -1, &statement_, nullptr) != SQLITE_OK) fail(db_);
  }
  ~query() { sqlite3_finalize(statement_); }
  query(const query&) = delete;
  query& operator=(const query&) = delete;

  query& with(const std::string& value) {
    check(sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT));
    return *this;
  }
  query& with(std::int64_t value) {
    check(sqlite3_bind_int64(statement_, ++bound_, value));
    return *this;
  }
  /// False when there is no further row.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result != SQLITE_ROW && result != SQLITE_DONE) fail(db_);
    return result == SQLITE_ROW;
  }
  [[nodiscard]] std::string text(int column) const {
    const auto* const bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : "";
  }
  [[nodiscard]] std::int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  [[nodiscard]] record row() const {
    return {text(0),
            number(1),
            text(2),
            text(3),
            static_cast<unsigned>(number(4)),
            static_cast<unsigned>(number(5)),
            static_cast<std::uint64_t>(number(6)),
            text(7)};
  }

 private:
  void check(int result) {
    if (result != SQLITE_OK) fail(db_);
  }
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

class sqlite_records final : public records {
  template <class F>
  auto with_database(const F& f) {
    return weft::spawn_blocking([&] {
             database db = take();
             auto result = f(db);
             const std::lock_guard lock(mutex_);
             idle_.push_back(std::move(db));
             return result;
           })
        .get();
  }

 public:
  explicit sqlite_records(std::string file) : file_(std::move(file)) {
    database db = open();
    query(db, "pragma journal_mode = wal").step();
    query(db,
          "create table if not exists picture (id text primary key, added_ms integer not null, name text not null,"
          " format text not null, width integer not null, height integer not null, bytes integer not null,"
          " versions text not null) without rowid")
        .step();
    query(db, "create index if not exists picture_added on picture (added_ms, id)").step();
    idle_.push_back(std::move(db));
  }

  bool add(const record& r) override {
    // SQLite has one writer at a time; further ones would sleep in it, each a while longer than the one before.
    const std::unique_lock turn(writing_, patience);
    if (!turn) throw records_unavailable("SQLite: somebody else is writing for too long");
    return with_database([&](const database& db) {
      query(db, "insert into picture values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing")
          .with(r.id)
          .with(r.added_ms)
          .with(r.name)
          .with(r.format)
          .with(std::int64_t{r.width})
          .with(std::int64_t{r.height})
          .with(static_cast<std::int64_t>(r.bytes))
          .with(r.versions)
          .step();
      return sqlite3_changes(db.get()) == 1;
    });
  }

  std::optional<record> find(const std::string& id) override {
    return with_database([&](const database& db) {
      query q(db, "select id, added_ms, name, format, width, height, bytes, versions from picture where id = ?");
      return q.with(id).step() ? std::optional(q.row()) : std::nullopt;
    });
  }

  std::vector<record> list(const std::optional<position>& after, std::size_t most) override {
    return with_database([&](const database& db) {
      query q(db,
              "select id, added_ms, name, format, width, height, bytes, versions from picture"
              " where (added_ms, id) < (?, ?) order by added_ms desc, id desc limit ?");
      q.with(after ? after->added_ms : INT64_MAX).with(after ? after->id : "").with(static_cast<std::int64_t>(most));
      std::vector<record> rows;
      while (q.step()) rows.push_back(q.row());
      return rows;
    });
  }

 private:
  /// A connection for one call: an idle one, else a new one. There are never more than threads that may block.
  database take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        database db = std::move(idle_.back());
        idle_.pop_back();
        return db;
      }
    }
    return open();
  }
  [[nodiscard]] database open() const {
    sqlite3* made = nullptr;
    const int error = sqlite3_open_v2(file_.c_str(), &made,
                                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    database db(made, sqlite3_close);
    if (error != SQLITE_OK) fail(made);
    sqlite3_busy_timeout(made, static_cast<int>(patience.count()));
    return db;
  }

  const std::string file_;
  weft::mutex writing_;
  std::mutex mutex_;
  std::vector<database> idle_;
};

}  // namespace

std::unique_ptr<records> open_sqlite(const std::string& file) { return std::make_unique<sqlite_records>(file); }

}  // namespace images
