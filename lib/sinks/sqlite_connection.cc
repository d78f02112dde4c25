// See the header. sqlite_files.h says which files the database has, and why place() and leave() are needed.
#include "sinks/sqlite_connection.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "admission/instant.h"
#include "sinks/content.h"
#include "sluice/error.h"
#include "text/rfc3339.h"
#include "text/utf8.h"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;
using Outcome = SqliteConnection::Outcome;

// `id` is unique; the rowid gives the order in which events arrived.
constexpr const char* kCreateTable =
    "CREATE TABLE IF NOT EXISTS events("
    "id TEXT PRIMARY KEY NOT NULL, received_at TEXT NOT NULL, content_type TEXT NOT NULL, payload) ";

// Not INSERT OR IGNORE, which ignores other constraints too.
constexpr const char* kInsert =
    "INSERT INTO events(id, received_at, content_type, payload) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(id) DO NOTHING";

int primary(int code) noexcept { return code & 0xFF; }

bool is_locked(int code) noexcept { return primary(code) == SQLITE_BUSY || primary(code) == SQLITE_LOCKED; }

// True if the connection can be used further after this error.
bool keeps_connection(int code) noexcept {
  switch (primary(code)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
    case SQLITE_INTERRUPT:
      return true;
    default:
      return false;
  }
}

// True if opening failed because of a wrong path or wrong permissions, which an operator must correct.
bool is_wrong_file(int error) noexcept {
  constexpr std::array kErrors{ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, ENAMETOOLONG};
  return error == 0 || std::ranges::find(kErrors, error) != kErrors.end();
}

bool is_text(std::string_view text) noexcept { return text.find('\0') == std::string_view::npos && is_utf8(text); }

// SQLITE_STATIC: the text stays valid until the statement has run, in the same call of insert().
int bind_text(sqlite3_stmt* row, int column, std::string_view text) {
  const char* const from = text.empty() ? "" : text.data();  // a null pointer would bind NULL
  return sqlite3_bind_text64(row, column, from, text.size(), SQLITE_STATIC, SQLITE_UTF8);
}
int bind_blob(sqlite3_stmt* row, int column, std::string_view bytes) {
  const char* const from = bytes.empty() ? "" : bytes.data();
  return sqlite3_bind_blob64(row, column, from, bytes.size(), SQLITE_STATIC);
}

// Prevents other connections from writing to the database during its lifetime, with SQLite's own locks; SQLite has no
// function for that. Connections with the same index are excluded by its write lock (sqlite.org/walformat.html, "WAL
// Locks"), which does not affect readers. If other connections open another index than ours, only an exclusive lock on
// the database file excludes them, and it can be taken only while no other connection has the database open.
class WriteLock {
 public:
  WriteLock(sqlite3* handle, bool by_index) : by_index_(by_index) {
    int code = sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file_);
    if (code == SQLITE_OK && by_index_) {
      code = file_->pMethods->xShmLock(file_, kWriters, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
    } else if (code == SQLITE_OK) {
      code = file_->pMethods->xLock(file_, SQLITE_LOCK_EXCLUSIVE);
      // A failed attempt leaves a pending lock, which would exclude everybody.
      if (code != SQLITE_OK) file_->pMethods->xUnlock(file_, SQLITE_LOCK_SHARED);
    }
    code_ = code;
  }
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;
  ~WriteLock() {
    if (code_ != SQLITE_OK) return;
    if (by_index_) {
      file_->pMethods->xShmLock(file_, kWriters, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    } else {
      file_->pMethods->xUnlock(file_, SQLITE_LOCK_SHARED);  // the lock that each connection holds in WAL mode
    }
  }

  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  static constexpr int kWriters = 0;  // WAL_WRITE_LOCK

  sqlite3_file* file_ = nullptr;
  const bool by_index_;
  int code_ = SQLITE_OK;
};

}  // namespace

void SqliteConnection::Close::operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
void SqliteConnection::Close::operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }

SqliteConnection::SqliteConnection(const std::string& path, const LockWait& wait)
    : files_(path), lock_wait_(wait), waiting_since_(Clock::now()) {
  open();
}

SqliteConnection::~SqliteConnection() {
  if (left_ || place() == Place::same) return;
  std::string unused;
  if (!leave(unused).ok()) keep_files_when_closed();
}

void SqliteConnection::open() {
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  sqlite3* handle = nullptr;
  const int opened = sqlite3_open_v2(files_.path().c_str(), &handle, kFlags, nullptr);
  handle_.reset(handle);  // also after a failure, for its error message
  if (!handle_) throw SqliteUnavailable("open " + files_.path() + ": Cannot allocate memory", false);
  if (opened != SQLITE_OK) fail_to_open(sqlite3_extended_errcode(handle));
  // SQLite silently opens a file without write permission read-only.
  if (sqlite3_db_readonly(handle, "main") == 1) fail_to_open(SQLITE_READONLY);
  sqlite3_extended_result_codes(handle_.get(), 1);
  sqlite3_busy_handler(handle_.get(), &SqliteConnection::wait_for_lock, this);

  // Other processes may change to WAL and create the table at the same time, and SQLite does not always call the busy
  // handler then.
  int code = set_up();
  while (is_locked(code) && wait_for_lock(this, 0) == 1) code = set_up();
  if (code != SQLITE_OK) fail_to_open(code);
  files_.remember();
}

int SqliteConnection::set_up() {
  int code = execute("PRAGMA journal_mode=WAL");
  if (code == SQLITE_OK) code = execute("PRAGMA synchronous=NORMAL");
  if (code == SQLITE_OK) code = execute(kCreateTable);
  if (code == SQLITE_OK) code = prepare("BEGIN IMMEDIATE", begin_);
  if (code == SQLITE_OK) code = prepare("COMMIT", commit_);
  if (code == SQLITE_OK) code = prepare("ROLLBACK", roll_back_);
  if (code == SQLITE_OK) code = prepare("SAVEPOINT event", savepoint_);
  if (code == SQLITE_OK) code = prepare("ROLLBACK TO event", undo_);
  if (code == SQLITE_OK) code = prepare("RELEASE event", release_);
  if (code == SQLITE_OK) code = prepare(kInsert, insert_);
  return code;
}

void SqliteConnection::fail_to_open(int code) const {
  const std::string what = "open " + files_.path() + ": " + message(code);
  switch (primary(code)) {
    case SQLITE_NOTADB:
    case SQLITE_ERROR:  // a database, but its table has other columns
      throw StartError(StartError::Kind::unusable, what);
    case SQLITE_CANTOPEN:
      if (!is_wrong_file(sqlite3_system_errno(handle_.get()))) break;
      [[fallthrough]];
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw StartError(StartError::Kind::io, what);
    default:
      break;
  }
  throw SqliteUnavailable(what, is_locked(code));
}

Outcome SqliteConnection::begin(bool sync) {
  waiting_since_ = Clock::now();
  fits_ = false;
  if (sync != syncs_) {
    const int code = execute(sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    if (code != SQLITE_OK) return outcome_of(code);
    syncs_ = sync;
  }
  return outcome_of(run(begin_));
}

Outcome SqliteConnection::commit() {
  waiting_since_ = Clock::now();
  return outcome_of(run(commit_));
}

void SqliteConnection::roll_back() noexcept {
  // After some errors SQLite has rolled back by itself.
  if (in_transaction()) static_cast<void>(run(roll_back_));
}

bool SqliteConnection::in_transaction() const noexcept { return sqlite3_get_autocommit(handle_.get()) == 0; }

Outcome SqliteConnection::insert(const Delivery& event) {
  const int code = try_insert(event);
  return code == SQLITE_OK ? Outcome{} : insert_outcome(code, message(code));
}

Outcome SqliteConnection::insert_guarded(const Delivery& event) {
  int code = run(savepoint_);
  if (code != SQLITE_OK) return outcome_of(code);
  code = try_insert(event);
  if (code == SQLITE_OK) return outcome_of(run(release_));
  const std::string text = message(code);  // read before the calls below replace it
  if (in_transaction() && (run(undo_) != SQLITE_OK || run(release_) != SQLITE_OK)) roll_back();
  return insert_outcome(code, text);
}

int SqliteConnection::try_insert(const Delivery& event) {
  sqlite3_stmt* const row = insert_.get();
  std::array<char, EventId::kMaxText> id;
  const Rfc3339 received(event.received);
  const Content content = content_of(event.content_type);
  int code = bind_text(row, 1, {id.data(), event.id.write(id.data())});
  if (code == SQLITE_OK) code = bind_text(row, 2, received.text());
  if (code == SQLITE_OK) {
    const bool readable = is_text(event.content_type);
    code = readable ? bind_text(row, 3, event.content_type) : bind_blob(row, 3, event.content_type);
  }
  if (code == SQLITE_OK) {
    const bool readable = content != Content::bytes && is_text(event.text());
    code = readable ? bind_text(row, 4, event.text()) : bind_blob(row, 4, event.text());
  }
  return code == SQLITE_OK ? run(insert_) : code;
}

Outcome SqliteConnection::outcome_of(int code, const std::string& message) const {
  if (code == SQLITE_OK) return {};
  return {is_locked(code) ? Outcome::locked : Outcome::trouble, "write " + files_.path() + ": " + message,
          keeps_connection(code)};
}

Outcome SqliteConnection::insert_outcome(int code, const std::string& message) {
  Outcome outcome = outcome_of(code, message);
  switch (primary(code)) {
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
      outcome.kind = Outcome::refused;
      break;
    case SQLITE_ERROR:
      // If the statement no longer fits the schema, every event fails: the table was dropped, or a trigger calls a
      // missing function. The schema does not change within a transaction.
      if (Statement probe; !fits_) fits_ = prepare(kInsert, probe) == SQLITE_OK;
      if (!fits_) break;
      [[fallthrough]];
    case SQLITE_MISMATCH:
      outcome.kind = Outcome::failed;
      outcome.connection_ok = true;
      break;
    default:
      break;
  }
  return outcome;
}

// Syncs the log. A checkpoint would not do: it syncs nothing while a reader delays it.
Outcome SqliteConnection::sync() {
  std::string error = files_.sync();
  if (error.empty()) return {};
  return {Outcome::trouble, std::move(error), false};
}

Outcome SqliteConnection::leave(std::string& news) {
  waiting_since_ = Clock::now();
  Outcome outcome;
  switch (place()) {
    case Place::same:
      return {};
    case Place::index_gone:
      // All commits are in the log, and the next process to open the database finds them. No checkpoint with our index:
      // others may have restarted the log since, with an index of their own.
      news = "opened " + files_.path() + " anew: " + files_.index_path() + " was deleted or replaced";
      break;
    case Place::log_gone:
      news = "opened " + files_.path() + " anew: " + files_.log_path() +
             " was deleted or replaced; what was in it is in the database";
      outcome = save_log(news);
      break;
    case Place::moved:
      news = "opened " + files_.path() + " anew: it was deleted or replaced";
      // Copies the whole log into the database, both by their descriptors, and syncs.
      outcome =
          outcome_of(sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr));
      if (!outcome.ok()) break;
      files_.unlink_side_files();  // otherwise they would be taken for those of the next database of this name
      break;
  }
  if (outcome.ok()) keep_files_when_closed();
  left_ = outcome.ok();
  return outcome;
}

// Saves a log that has lost its name. A connection that has written to a new log since did not see the rows in ours, so
// a checkpoint must not overwrite its pages.
Outcome SqliteConnection::save_log(std::string& news) {
  const bool index_is_shared = files_.index_is_same();
  while (!files_.log_has_content()) {
    const int code = checkpoint_unless_written(index_is_shared);
    if (!is_locked(code)) return outcome_of(code);
    if (wait_for_lock(this, 0) == 1) continue;
    if (index_is_shared || lock_wait_.stop.stop_requested()) return outcome_of(code);
    break;  // another process has it open and may write at any time
  }
  return copy_aside(news);
}

// SQLITE_BUSY if the log could not be saved, or not all of it.
int SqliteConnection::checkpoint_unless_written(bool index_is_shared) {
  const WriteLock nobody_writes(handle_.get(), index_is_shared);
  if (nobody_writes.code() != SQLITE_OK) return nobody_writes.code();
  if (files_.log_has_content()) return SQLITE_BUSY;
  SLUICE_INSTANT(nobody_has_written);
  int in_log = 0;
  int saved = 0;
  const int code = sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &in_log, &saved);
  return code == SQLITE_OK && saved < in_log ? SQLITE_BUSY : code;  // a reader still uses the old pages
}

Outcome SqliteConnection::copy_aside(std::string& news) {
  std::string copy;
  for (int n = 1; n == 1 || (n < 100 && FileId::of(copy)); ++n) copy = files_.path() + ".rescued-" + std::to_string(n);
  Statement statement;
  int code = prepare("VACUUM INTO ?1", statement);
  if (code == SQLITE_OK) code = bind_text(statement.get(), 1, copy);
  if (code == SQLITE_OK) code = run(statement);
  if (code == SQLITE_OK) {
    news = "opened " + files_.path() + " anew: " + files_.log_path() +
           " was deleted while others had it open; all that was in the database before is in " + copy;
    return {};
  }
  Outcome outcome = outcome_of(code);
  if (primary(code) != SQLITE_CORRUPT && primary(code) != SQLITE_NOTADB) return outcome;
  news = "opened " + files_.path() + " anew: " + files_.log_path() +
         " was deleted while others had it open; what was in it cannot be read any more: " + outcome.reason;
  return {};
}

// The last connection to a database removes its log by name; once another database has the name, that would be the
// other one's log.
void SqliteConnection::keep_files_when_closed() const noexcept {
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

// The connection's message is more detailed than the code's, unless a later call has replaced it.
std::string SqliteConnection::message(int code) const {
  const bool last = sqlite3_extended_errcode(handle_.get()) == code;
  std::string text = last ? sqlite3_errmsg(handle_.get()) : sqlite3_errstr(code);
  const int error = sqlite3_system_errno(handle_.get());
  if (error != 0 && (primary(code) == SQLITE_CANTOPEN || primary(code) == SQLITE_IOERR)) {
    text += ": ";
    text += std::generic_category().message(error);
  }
  return text;
}

int SqliteConnection::execute(const char* sql) const {
  return sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
}

int SqliteConnection::prepare(const char* sql, Statement& to) const {
  sqlite3_stmt* prepared = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
  to.reset(prepared);
  return code;
}

// Runs the statement to its end, and resets it for the next time.
int SqliteConnection::run(const Statement& statement) {
  const int code = sqlite3_step(statement.get());
  const int reset = sqlite3_reset(statement.get());  // returns the same error
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : (reset != SQLITE_OK ? reset : code);
}

// Called by SQLite while another connection holds the lock. Returns 1 to try again, 0 to give up.
int SqliteConnection::wait_for_lock(void* self, int /*times*/) noexcept {
  const auto& connection = *static_cast<const SqliteConnection*>(self);
  if (connection.lock_wait_.stop.stop_requested()) return 0;
  if (Clock::now() - connection.waiting_since_ >= connection.lock_wait_.at_most) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return 1;
}

}  // namespace sluice
