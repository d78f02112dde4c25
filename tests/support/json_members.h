// What an object of JSON says, read by SQLite: by somebody who shares no code with what wrote it. One thread.
#pragma once

#include <sqlite3.h>

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace test {

// By name: the type and the value, such as "text abc", "integer 5", "null", "object {\"a\":1}". Strings without their
// escapes, objects and lists without space, all else to the letter.
using Members = std::map<std::string, std::string>;

// Throws if it is no object, or a name is there twice.
inline Members members_of(std::string_view object) {
  struct Reader {
    Reader() {
      const char* const ask =
          "SELECT json_type(?1), key, type, CASE type WHEN 'text' THEN value ELSE ?1 -> fullkey END "
          "FROM json_each(?1)";
      if (sqlite3_open(":memory:", &database) != SQLITE_OK ||
          sqlite3_prepare_v2(database, ask, -1, &query, nullptr) != SQLITE_OK)
        throw std::runtime_error(sqlite3_errmsg(database));
    }
    ~Reader() {
      sqlite3_finalize(query);
      sqlite3_close(database);
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    [[nodiscard]] std::string column(int number) const {
      const void* const text = sqlite3_column_blob(query, number);
      const auto size = static_cast<std::size_t>(sqlite3_column_bytes(query, number));
      return text == nullptr ? std::string() : std::string(static_cast<const char*>(text), size);
    }

    sqlite3* database = nullptr;
    sqlite3_stmt* query = nullptr;
  };
  static const Reader reader;

  sqlite3_reset(reader.query);
  sqlite3_bind_text(reader.query, 1, object.data(), static_cast<int>(object.size()), SQLITE_STATIC);
  Members members;
  int step = 0;
  while ((step = sqlite3_step(reader.query)) == SQLITE_ROW) {
    if (reader.column(0) != "object") throw std::runtime_error("no object: " + std::string(object));
    const std::string type = reader.column(2);
    const bool says_all = type == "null" || type == "true" || type == "false";
    if (!members.try_emplace(reader.column(1), says_all ? type : type + " " + reader.column(3)).second)
      throw std::runtime_error("a doubled name: " + std::string(object));
  }
  if (step != SQLITE_DONE) throw std::runtime_error("no JSON: " + std::string(object));
  return members;
}

}  // namespace test
