#pragma once
// A few products in an SQLite database, which knows nothing of fibers: its calls block.

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct product {
  int id = 0;
  std::string name;
  std::string maker;
};

/// A table in a temporary file that goes with it. Every call blocks; any number of threads may call at once.
class product_table {
 public:
  product_table() {
    const int file = mkstemp(path_.data());
    if (file < 0) throw std::runtime_error("no temporary file for the database at " + path_);
    close(file);
    auto db = open();
    if (sqlite3_exec(db.get(),
                     "create table product (id integer primary key, name text not null, maker text not null);"
                     "insert into product (name, maker) values"
                     " ('loom', 'Arkwright'), ('shuttle', 'Kay'), ('heddle', 'Jacquard'), ('reed', 'Kay'),"
                     " ('bobbin', 'Hargreaves'), ('warp beam', 'Cartwright'), ('treadle', 'Arkwright'),"
                     " ('spindle', 'Crompton'), ('temple', 'Cartwright'), ('distaff', 'Hargreaves')",
                     nullptr, nullptr, nullptr) != SQLITE_OK)
      fail(db.get());
    idle_.push_back(std::move(db));
  }
  ~product_table() {
    idle_.clear();
    unlink(path_.c_str());
  }
  product_table(const product_table&) = delete;
  product_table& operator=(const product_table&) = delete;

  std::optional<product> find(int id) {
    auto db = take();
    sqlite3_stmt* made = nullptr;
    if (sqlite3_prepare_v2(db.get(), "select name, maker from product where id = ?", -1, &made, nullptr) != SQLITE_OK)
      fail(db.get());
    std::optional<product> found;
    {
      const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> query(made, sqlite3_finalize);
      sqlite3_bind_int(made, 1, id);
      const int step = sqlite3_step(made);
      if (step == SQLITE_ROW)
        found = product{id, text(made, 0), text(made, 1)};
      else if (step != SQLITE_DONE)
        fail(db.get());
    }
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(db));
    return found;
  }

 private:
  using database = std::unique_ptr<sqlite3, decltype(&sqlite3_close)>;

  [[noreturn]] static void fail(sqlite3* db) {
    throw std::runtime_error(std::string("the product database: ") + sqlite3_errmsg(db));
  }
  static std::string text(sqlite3_stmt* row, int column) {
    return reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  }

  database open() {
    sqlite3* made = nullptr;
    const int error = sqlite3_open_v2(path_.c_str(), &made, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    database db(made, sqlite3_close);
    if (error != SQLITE_OK) fail(made);
    return db;
  }
  /// A connection for one call: an idle one, else a new one.
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

  std::string path_ = "/tmp/weft_products_XXXXXX";
  std::mutex mutex_;
  std::vector<database> idle_;
};
