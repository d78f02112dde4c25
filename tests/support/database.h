// A SQLite database through a connection of the test's own: what anybody else may do to a sink's database, and see in
// it. One thread, within a test case: it requires.
#pragma once

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <string>

namespace test {

class Database {
 public:
  explicit Database(const std::string& path) { REQUIRE(sqlite3_open(path.c_str(), &handle_) == SQLITE_OK); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() { sqlite3_close(handle_); }

  void run(const std::string& sql) {
    INFO(sql);
    REQUIRE(try_run(sql));
  }
  [[nodiscard]] bool try_run(const std::string& sql) {
    return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  // The values of the first row, or of every row if there is one column, with commas.
  std::string ask(const std::string& sql) {
    std::string values;
    const auto add = [](void* to, int count, char** columns, char**) {
      for (int i = 0; i < count; ++i) {
        auto& text = *static_cast<std::string*>(to);
        if (!text.empty()) text += ',';
        text += columns[i] == nullptr ? "NULL" : columns[i];
      }
      return 0;
    };
    INFO(sql);
    REQUIRE(sqlite3_exec(handle_, sql.c_str(), add, &values, nullptr) == SQLITE_OK);
    return values;
  }

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace test
