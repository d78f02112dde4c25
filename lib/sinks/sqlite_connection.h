// One connection to a SQLite database, which inserts rows; with its .cc the only file that uses SQLite. Others may read
// the database at any time by connections of their own. One thread at a time, not always the same.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

#include "sinks/sqlite_files.h"
#include "sluice/event.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluice {

// A database that cannot be opened now but perhaps later. One that never can is a StartError.
struct SqliteUnavailable : std::runtime_error {
  SqliteUnavailable(const std::string& what, bool is_locked) : std::runtime_error(what), locked(is_locked) {}
  bool locked;  // by another process
};

class SqliteConnection {
 public:
  // How long to wait while another process has the database locked; a stop ends the wait at once.
  struct LockWait {
    std::chrono::milliseconds at_most{0};
    std::stop_token stop;
  };

  struct Outcome {
    enum Kind : std::uint8_t {
      done,
      refused,  // the event breaks a rule of the database, and always will
      failed,   // the database failed on this event; another one may pass
      locked,   // another process held the lock for longer than LockWait
      trouble,  // the database fails, whatever the event
    };
    Kind kind = done;
    std::string reason;         // `write PATH: database or disk is full`
    bool connection_ok = true;  // false: reopen before the next call
    [[nodiscard]] bool ok() const noexcept { return kind == done; }
    [[nodiscard]] bool about_event() const noexcept { return kind == refused || kind == failed; }
  };

  // Opens or creates the database and its table, in WAL mode. Throws StartError (io: it cannot be opened; unusable: it
  // is no database, or its table `events` has other columns) or SqliteUnavailable.
  SqliteConnection(const std::string& path, const LockWait& wait);
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;
  ~SqliteConnection();  // commits are kept; see leave()

  // For all later calls.
  void set_lock_wait(const LockWait& wait) { lock_wait_ = wait; }

  // A transaction: begin, insert, commit or roll back; roll_back() is allowed without a transaction. `sync`: commit()
  // returns once it is on disk.
  [[nodiscard]] Outcome begin(bool sync);
  [[nodiscard]] Outcome commit();
  void roll_back() noexcept;
  // False also after a failure that ended the transaction: a full disk, RAISE(ROLLBACK) in a trigger.
  [[nodiscard]] bool in_transaction() const noexcept;

  // Inserts the event; one whose id is there already counts as inserted. After a failure the row is not there, but
  // changes that a trigger made before its RAISE(FAIL) may be; insert_guarded() uses a savepoint and undoes those too.
  [[nodiscard]] Outcome insert(const Delivery& event);
  [[nodiscard]] Outcome insert_guarded(const Delivery& event);

  // Puts the commits made without `sync` on disk.
  [[nodiscard]] Outcome sync();

  // What the names of its files lead to now.
  using Place = SqliteFiles::Place;
  [[nodiscard]] Place place() const noexcept { return files_.place(); }

  // Call before this connection is replaced, if place() is not `same`: saves the commits where they survive its close,
  // and ensures that closing it touches no file of another database. `news` is a message for the operator. After a
  // failure call it again; until it succeeds, destroying the connection may lose commits.
  [[nodiscard]] Outcome leave(std::string& news);

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept;
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Close>;

  void open();
  [[nodiscard]] int set_up();
  [[noreturn]] void fail_to_open(int code) const;
  [[nodiscard]] int try_insert(const Delivery& event);
  [[nodiscard]] Outcome outcome_of(int code, const std::string& message) const;
  [[nodiscard]] Outcome outcome_of(int code) const { return outcome_of(code, message(code)); }
  [[nodiscard]] Outcome insert_outcome(int code, const std::string& message);
  [[nodiscard]] Outcome save_log(std::string& news);
  [[nodiscard]] int checkpoint_unless_written(bool index_is_shared);
  [[nodiscard]] Outcome copy_aside(std::string& news);
  [[nodiscard]] std::string message(int code) const;
  [[nodiscard]] int execute(const char* sql) const;
  [[nodiscard]] int prepare(const char* sql, Statement& to) const;
  [[nodiscard]] int run(const Statement& statement);
  void keep_files_when_closed() const noexcept;
  static int wait_for_lock(void* self, int times) noexcept;

  std::unique_ptr<sqlite3, Close> handle_;
  Statement begin_, commit_, roll_back_, savepoint_, undo_, release_, insert_;  // destroyed before the handle
  SqliteFiles files_;
  bool syncs_ = false;  // the current setting of the connection
  bool fits_ = false;   // since begin(): the INSERT fits the schema, so a failure is due to its event
  bool left_ = false;   // leave() has succeeded: nothing to save, only to close
  LockWait lock_wait_;
  std::chrono::steady_clock::time_point waiting_since_;
};

}  // namespace sluice
