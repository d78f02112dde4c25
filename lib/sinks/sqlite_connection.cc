// See the header. WAL mode: a commit appends to PATH-wal, PATH-shm tells all processes what is in it, and now and then
// a checkpoint copies it into PATH. A process holds all three by descriptors, so it does not notice when somebody
// removes one of them by its name: it goes on, and all that it writes ends with it. Hence place() and leave().
#include "sinks/sqlite_connection.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
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

// `id` is unique, and the rowid tells in which order events arrived here.
constexpr const char* kCreateTable =
    "CREATE TABLE IF NOT EXISTS events("
    "id TEXT PRIMARY KEY NOT NULL, received_at TEXT NOT NULL, content_type TEXT NOT NULL, payload) ";

// Not INSERT OR IGNORE, which would pass over broken constraints as well.
constexpr const char* kInsert =
    "INSERT INTO events(id, received_at, content_type, payload) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(id) DO NOTHING";

int primary(int code) noexcept { return code & 0xFF; }

bool is_locked(int code) noexcept { return primary(code) == SQLITE_BUSY || primary(code) == SQLITE_LOCKED; }

// After these the connection is as good as a new one.
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

// A file that cannot be opened for one of these reasons is the wrong file, or not ours: somebody has to see to it.
bool is_wrong_file(int error) noexcept {
  constexpr std::array kErrors{ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, ENAMETOOLONG};
  return error == 0 || std::ranges::find(kErrors, error) != kErrors.end();
}

bool is_text(std::string_view text) noexcept { return text.find('\0') == std::string_view::npos && is_utf8(text); }

// What is bound is valid until the row has been run: that is in the same call of insert().
int bind_text(sqlite3_stmt* row, int column, std::string_view text) {
  const char* const from = text.empty() ? "" : text.data();  // a null pointer would be NULL
  return sqlite3_bind_text64(row, column, from, text.size(), SQLITE_STATIC, SQLITE_UTF8);
}
int bind_blob(sqlite3_stmt* row, int column, std::string_view bytes) {
  const char* const from = bytes.empty() ? "" : bytes.data();
  return sqlite3_bind_blob64(row, column, from, bytes.size(), SQLITE_STATIC);
}

// 0, or the system's reason.
int sync_path(const std::string& path, int flags, const std::optional<FileId>& wanted) {
  const int descriptor = ::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return errno;
  struct ::stat status {};
  int error = ::fstat(descriptor, &status) != 0 ? errno : 0;
  if (error == 0 && wanted && FileId(status) != *wanted) error = ESTALE;
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  ::close(descriptor);
  return error;
}

// Keeps other connections from writing to the database for its lifetime, by SQLite's own locks; SQLite has no call for
// it. Connections with the same index are kept out by its write lock (sqlite.org/walformat.html, "WAL Locks"), which
// leaves readers alone. If others find another index than ours by now, only an exclusive lock on the database file
// keeps them out, and that can be taken only while no other connection has it open.
class NobodyWrites {
 public:
  NobodyWrites(sqlite3* handle, bool by_index) : by_index_(by_index) {
    int code = sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file_);
    if (code == SQLITE_OK && by_index_) {
      code = file_->pMethods->xShmLock(file_, kWriters, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
    } else if (code == SQLITE_OK) {
      code = file_->pMethods->xLock(file_, SQLITE_LOCK_EXCLUSIVE);
      // What it has got on the way there would keep everybody out.
      if (code != SQLITE_OK) file_->pMethods->xUnlock(file_, SQLITE_LOCK_SHARED);
    }
    code_ = code;
  }
  NobodyWrites(const NobodyWrites&) = delete;
  NobodyWrites& operator=(const NobodyWrites&) = delete;
  ~NobodyWrites() {
    if (code_ != SQLITE_OK) return;
    if (by_index_) {
      file_->pMethods->xShmLock(file_, kWriters, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    } else {
      file_->pMethods->xUnlock(file_, SQLITE_LOCK_SHARED);  // which each connection holds in WAL mode
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

SqliteConnection::SqliteConnection(const std::string& path, const Patience& patience)
    : path_(path),
      log_path_(path + "-wal"),
      index_path_(path + "-shm"),
      patience_(patience),
      waiting_since_(Clock::now()) {
  open();
}

SqliteConnection::~SqliteConnection() {
  if (left_ || place() == Place::same) return;
  std::string nobody_reads_it;
  if (!leave(nobody_reads_it).ok()) keep_files_when_closed();
}

void SqliteConnection::open() {
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  sqlite3* handle = nullptr;
  const int opened = sqlite3_open_v2(path_.c_str(), &handle, kFlags, nullptr);
  handle_.reset(handle);  // also when it failed: it knows why
  if (!handle_) throw SqliteUnavailable("open " + path_ + ": Cannot allocate memory", false);
  if (opened != SQLITE_OK) fail_to_open(sqlite3_extended_errcode(handle));
  // What may not be written is opened for reading, without a word.
  if (sqlite3_db_readonly(handle, "main") == 1) fail_to_open(SQLITE_READONLY);
  sqlite3_extended_result_codes(handle_.get(), 1);
  sqlite3_busy_handler(handle_.get(), &SqliteConnection::wait_for_lock, this);

  // Changing to WAL and making the table may meet others who do the same, and for some of these meetings SQLite does
  // not ask the busy handler.
  int code = set_up();
  while (is_locked(code) && wait_for_lock(this, 0) == 1) code = set_up();
  if (code != SQLITE_OK) fail_to_open(code);
  file_ = FileId::of(path_);
  log_ = FileId::of(log_path_);
  index_ = FileId::of(index_path_);
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
  const std::string what = "open " + path_ + ": " + message(code);
  switch (primary(code)) {
    case SQLITE_NOTADB:
    case SQLITE_ERROR:  // it is a database, but not for our rows
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
  // After some errors SQLite has done so by itself.
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
  const std::string text = message(code);  // the calls below replace it
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
  return {is_locked(code) ? Outcome::locked : Outcome::trouble, "write " + path_ + ": " + message,
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
      // Where the statement itself no longer fits the schema every event would fail: the table was dropped, or a
      // trigger calls a function that is not there. The schema does not change within a transaction.
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

// Not by a checkpoint, which syncs nothing while a reader holds it up.
Outcome SqliteConnection::sync() {
  int error = 0;
  std::string_view what = log_path_;
  const std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  if (log_) error = sync_path(log_path_, 0, log_);
  if (error == 0 && !name_synced_) {
    what = "the directory of " + path_;
    error = sync_path(directory.empty() ? "." : directory.string(), O_DIRECTORY, std::nullopt);
    // One that may be entered but not read cannot be synced by us; some file systems have nothing to sync there.
    if (error == EACCES || error == EINVAL) error = 0;
    name_synced_ = error == 0;
  }
  if (error == 0) return {};
  return {Outcome::trouble, "sync " + std::string(what) + ": " + std::generic_category().message(error), false};
}

SqliteConnection::Place SqliteConnection::place() const noexcept {
  if (!file_ || FileId::of(path_) != file_) return Place::moved;
  if (log_ && FileId::of(log_path_) != log_) return Place::log_gone;
  if (index_ && FileId::of(index_path_) != index_) return Place::index_gone;
  return Place::same;
}

Outcome SqliteConnection::leave(std::string& news) {
  waiting_since_ = Clock::now();
  Outcome outcome;
  switch (place()) {
    case Place::same:
      return {};
    case Place::index_gone:
      // All that was committed is in the log, where whoever opens it next finds it. No checkpoint by our index: others
      // may have begun the log anew since, by an index of theirs.
      news = "opened " + path_ + " anew: " + index_path_ + " was deleted or replaced";
      break;
    case Place::log_gone:
      news = "opened " + path_ + " anew: " + log_path_ + " was deleted or replaced; what was in it is in the database";
      outcome = save_log(news);
      break;
    case Place::moved:
      news = "opened " + path_ + " anew: it was deleted or replaced";
      outcome = empty_log();
      if (!outcome.ok()) break;
      // Or they would be taken for a part of the next database of this name.
      if (log_ && FileId::of(log_path_) == log_) ::unlink(log_path_.c_str());
      if (index_ && FileId::of(index_path_) == index_) ::unlink(index_path_.c_str());
      break;
  }
  if (outcome.ok()) keep_files_when_closed();
  left_ = outcome.ok();
  return outcome;
}

// Saves a log that has lost its name. A connection that has written by a new log since did not see the rows in ours,
// and must not be overwritten by them.
Outcome SqliteConnection::save_log(std::string& news) {
  const bool index_is_shared = index_ && FileId::of(index_path_) == index_;
  while (!others_have_written()) {
    const int code = checkpoint_unless_written(index_is_shared);
    if (!is_locked(code)) return outcome_of(code);
    if (wait_for_lock(this, 0) == 1) continue;
    if (index_is_shared || patience_.stop.stop_requested()) return outcome_of(code);
    break;  // somebody has it open and may write at any time
  }
  return copy_aside(news);
}

// SQLITE_BUSY if it could not be, or not all of it.
int SqliteConnection::checkpoint_unless_written(bool index_is_shared) {
  const NobodyWrites nobody(handle_.get(), index_is_shared);
  if (nobody.code() != SQLITE_OK) return nobody.code();
  if (others_have_written()) return SQLITE_BUSY;
  SLUICE_INSTANT(nobody_has_written);
  int in_log = 0;
  int saved = 0;
  const int code = sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &in_log, &saved);
  return code == SQLITE_OK && saved < in_log ? SQLITE_BUSY : code;  // a reader needs what it would replace
}

bool SqliteConnection::others_have_written() const noexcept {
  struct ::stat status {};
  return ::stat(log_path_.c_str(), &status) == 0 && status.st_size > 0;
}

// All that is in the log goes into the database, both by their descriptors, and to the disk.
Outcome SqliteConnection::empty_log() {
  const int code = sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  return outcome_of(code);
}

Outcome SqliteConnection::copy_aside(std::string& news) {
  std::string copy;
  for (int n = 1; n == 1 || (n < 100 && FileId::of(copy)); ++n) copy = path_ + ".rescued-" + std::to_string(n);
  Statement statement;
  int code = prepare("VACUUM INTO ?1", statement);
  if (code == SQLITE_OK) code = bind_text(statement.get(), 1, copy);
  if (code == SQLITE_OK) code = run(statement);
  if (code == SQLITE_OK) {
    news = "opened " + path_ + " anew: " + log_path_ +
           " was deleted while others had it open; all that was in the database before is in " + copy;
    return {};
  }
  Outcome outcome = outcome_of(code);
  if (primary(code) != SQLITE_CORRUPT && primary(code) != SQLITE_NOTADB) return outcome;
  news = "opened " + path_ + " anew: " + log_path_ +
         " was deleted while others had it open; what was in it cannot be read any more: " + outcome.reason;
  return {};
}

// The last connection to a database removes the log beside it, by name; once the name is another's, that would be the
// log of the other one.
void SqliteConnection::keep_files_when_closed() const noexcept {
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

// A message of the connection says more than its code, unless a later call has replaced it.
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

// To its end, ready for the next time.
int SqliteConnection::run(const Statement& statement) {
  const int code = sqlite3_step(statement.get());
  const int reset = sqlite3_reset(statement.get());  // says the same again
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : (reset != SQLITE_OK ? reset : code);
}

// Called by SQLite while another connection has the lock: 1 to try again, 0 to give up.
int SqliteConnection::wait_for_lock(void* self, int /*times*/) noexcept {
  const auto& connection = *static_cast<const SqliteConnection*>(self);
  if (connection.patience_.stop.stop_requested()) return 0;
  if (Clock::now() - connection.waiting_since_ >= connection.patience_.at_most) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return 1;
}

}  // namespace sluice
