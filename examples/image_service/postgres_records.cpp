#include <charconv>

#include <weft/error.hpp>
#include <weft/timeout.hpp>

#include "postgres.hpp"
#include "records.hpp"

namespace images {

namespace {

// Two that start at the same time must not both make the table: the lock goes with the transaction.
constexpr auto make_table =
    "select pg_advisory_xact_lock(470001);"
    "create table if not exists picture (id text primary key, added_ms bigint not null, name text not null,"
    " format text not null, width bigint not null, height bigint not null, bytes bigint not null,"
    " versions text not null);"
    "create index if not exists picture_added on picture (added_ms, id)";

template <class T>
T number(const std::string& text) {
  T n{};
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

record record_of(const std::vector<std::string>& row) {
  return {row[0],
          number<std::int64_t>(row[1]),
          row[2],
          row[3],
          number<unsigned>(row[4]),
          number<unsigned>(row[5]),
          number<std::uint64_t>(row[6]),
          row[7]};
}

class postgres_records final : public records {
 public:
  postgres_records(const std::string& url, unsigned connections, std::chrono::nanoseconds limit)
      : limit_(limit), pool_(url, connections, make_table) {}

  bool add(const record& r) override {
    const auto added =
        query("insert into picture values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning id",
              {r.id, std::to_string(r.added_ms), r.name, r.format, std::to_string(r.width), std::to_string(r.height),
               std::to_string(r.bytes), r.versions});
    return !added.empty();
  }

  std::optional<record> find(const std::string& id) override {
    const auto found =
        query("select id, added_ms, name, format, width, height, bytes, versions from picture where id = $1", {id});
    return found.empty() ? std::nullopt : std::optional(record_of(found.front()));
  }

  std::vector<record> list(const std::optional<position>& after, std::size_t most) override {
    std::vector<record> all;
    for (const auto& row :
         query("select id, added_ms, name, format, width, height, bytes, versions from picture"
               " where (added_ms, id) < ($1::bigint, $2::text) order by added_ms desc, id desc limit $3::bigint",
               {std::to_string(after ? after->added_ms : INT64_MAX), after ? after->id : "", std::to_string(most)}))
      all.push_back(record_of(row));
    return all;
  }

 private:
  postgres::rows query(const char* text, const postgres::parameters& values) try {
    return weft::timeout(limit_, [&] {  // a server that hangs, or a network that has swallowed it, says nothing
      return pool_.with([&](postgres::connection& c) { return c.query(text, values); });
    });
  } catch (const postgres::unavailable& e) {
    throw records_unavailable(e.what());
  } catch (const weft::timed_out&) {
    throw records_unavailable("the database does not answer");
  }

  const std::chrono::nanoseconds limit_;
  postgres::pool pool_;
};

}  // namespace

std::unique_ptr<records> open_postgres(const std::string& url, unsigned connections, std::chrono::nanoseconds limit) {
  return std::make_unique<postgres_records>(url, connections, limit);
}

}  // namespace images
