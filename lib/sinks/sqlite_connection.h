// One open SQLite database, and with its .cc the only file that knows SQLite. It takes no more than rows: who reads
// them may do so at any time, by any other connection. One thread at a time; not always the same.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

#include "sinks/file_id.h"
#include "sluice/event.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluice {

// Why a database cannot be opened now and perhaps can be later; what never works is a StartError.
class SqliteUnavailable : public std::runtime_error {
 public:
  SqliteUnavailable(const std::string& what, bool is_locked) : std::runtime_error(what), locked_(is_locked) {}
  [[nodiscard]] bool locked() const noexcept { return locked_; }

 private:
  bool locked_;
};

class SqliteConnection {
 public:
  // How long to wait while somebody else has the database locked; a stop ends it at once.
  struct Patience {
    std::chrono::milliseconds at_most{0};
    std::stop_token stop;
  };

  struct Outcome {
    enum Kind : std::uint8_t {
      done,
      refused,  // the event, which breaks a rule of the database and always will
      failed,   // on the event: another one may pass
      locked,   // somebody else had it for longer than the patience
      trouble,  // the database fails, whatever the event
    };
    Kind kind = done;
    std::string reason;         // `write PATH: database or disk is full`
    bool connection_ok = true;  // false: what comes next needs a new connection
    [[nodiscard]] bool ok() const noexcept { return kind == done; }
    [[nodiscard]] bool about_event() const noexcept { return kind == refused || kind == failed; }
  };

  // Opens or makes the database and its table, in WAL mode. Throws StartError (io: it cannot be opened; unusable: no
  // database, or its table `events` has another shape) or SqliteUnavailable.
  SqliteConnection(const std::string& path, const Patience& patience);
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;
  ~SqliteConnection();  // what was committed stays, see leave()

  // From here on.
  void be_patient(const Patience& patience) { patience_ = patience; }

  // A transaction: begin, insert, commit or roll back; roll_back() may also come when there is none. `sync`: it is on
  // the disk when commit() has returned.
  [[nodiscard]] Outcome begin(bool sync);
  [[nodiscard]] Outcome commit();
  void roll_back() noexcept;
  // False also after a failure that has ended it: a full disk, RAISE(ROLLBACK) in a trigger.
  [[nodiscard]] bool in_transaction() const noexcept;

  // An event that is there already, by its id, counts as inserted. After a failure the event's row is not there, but
  // what a trigger did before its RAISE(FAIL) may be; behind a guard the transaction is as it was before.
  [[nodiscard]] Outcome insert(const Delivery& event);
  [[nodiscard]] Outcome insert_guarded(const Delivery& event);

  // Puts on the disk what was committed without `sync`.
  [[nodiscard]] Outcome sync();

  // What the names of its files lead to by now.
  enum class Place : std::uint8_t {
    same,
    index_gone,  // PATH-shm is another file or none: others would not see our locks
    log_gone,    // PATH-wal is another file or none: what was committed last would end with this process
    moved,       // PATH itself is another file or none
  };
  [[nodiscard]] Place place() const noexcept;

  // Before a new connection is made in its place: puts what was committed where it stays when this one is closed, and
  // sees to it that closing touches no file of another database. `news` says what the operator should know. To be
  // tried again if it fails; only then is it not safe to destroy the connection.
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
  [[nodiscard]] bool others_have_written() const noexcept;
  [[nodiscard]] Outcome empty_log();
  [[nodiscard]] Outcome copy_aside(std::string& news);
  [[nodiscard]] std::string message(int code) const;
  [[nodiscard]] int execute(const char* sql) const;
  [[nodiscard]] int prepare(const char* sql, Statement& to) const;
  [[nodiscard]] int run(const Statement& statement);
  void keep_files_when_closed() const noexcept;
  static int wait_for_lock(void* self, int times) noexcept;

  const std::string path_, log_path_, index_path_;
  std::unique_ptr<sqlite3, Close> handle_;
  Statement begin_, commit_, roll_back_, savepoint_, undo_, release_, insert_;  // of the handle, so gone before it
  std::optional<FileId> file_, log_, index_;
  bool syncs_ = false;        // as the connection is set now
  bool fits_ = false;         // an INSERT that fails does so on its event; since begin()
  bool left_ = false;         // it has nothing to save any more, and is only to be closed
  bool name_synced_ = false;  // its directory is known to have it
  Patience patience_;
  std::chrono::steady_clock::time_point waiting_since_;
};

}  // namespace sluice
