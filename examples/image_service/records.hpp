#pragma once
// What is known of each picture, in a database: one interface, SQLite or PostgreSQL behind it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace images {

struct record {
  std::string id;
  std::int64_t added_ms = 0;  ///< since 1970
  std::string name;           ///< as the sender called it
  std::string format;         ///< "jpg", "png"
  unsigned width = 0;
  unsigned height = 0;
  std::uint64_t bytes = 0;
  std::string versions;  ///< JSON, for the page; the database does not look into it

  bool operator==(const record&) const = default;
};

/// Where a list goes on: after this record.
struct position {
  std::int64_t added_ms = 0;
  std::string id;
};

/// The database cannot be reached just now. It may be later: whoever asked can ask again.
class records_unavailable : public std::runtime_error {
  using runtime_error::runtime_error;
};

/// Suspends: always; fibers of any loop, any number at once.
/// Cancel:   throws cancelled; the record may have been added.
/// Throws:   records_unavailable; std::runtime_error for what only a programmer can mend.
class records {
 public:
  virtual ~records() = default;

  /// Lasting when it returns. False when one with this id is there: that one stays as it is.
  virtual bool add(const record& r) = 0;
  virtual std::optional<record> find(const std::string& id) = 0;
  /// Newest first, `most` of them, from `after` on.
  virtual std::vector<record> list(const std::optional<position>& after, std::size_t most) = 0;
};

/// In a file, by SQLite. Makes it, and its table, if need be. Blocks: for the start of a program.
std::unique_ptr<records> open_sqlite(const std::string& file);

/// In PostgreSQL at `url` (postgresql://user@host/database, or "host=... dbname=..."), over `connections` connections
/// at most, made when they are needed. Needs no server to begin with; the table is made when there is one. A call takes
/// `limit` at most, and is then records_unavailable. Must be made and used in a runtime. Throws std::invalid_argument
/// for what is no URL.
std::unique_ptr<records> open_postgres(const std::string& url, unsigned connections = 4,
                                       std::chrono::nanoseconds limit = std::chrono::seconds(10));

}  // namespace images
