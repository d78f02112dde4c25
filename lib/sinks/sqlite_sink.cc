// The SQLite sink, and the only file that knows SQLite. A batch is one transaction: COMMIT alone decides what is
// delivered. An event that the database refuses (a constraint, too big) is taken out, and the others are sent again at
// once. Each sink has its own connection on its worker's thread; what they share (Database) synchronises itself. It
// takes no more than rows: who reads them may do so at any time, by any other connection.
#include "sinks/sqlite_sink.h"

#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "sinks/content.h"
#include "sinks/file_id.h"
#include "sinks/rfc3339.h"
#include "sluice/error.h"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

// How long somebody else may keep the database locked before the batch is tried again later (or the start is refused).
constexpr std::chrono::seconds kPatience{5};

// `id` is unique, and the rowid tells in which order events arrived here.
constexpr const char* kCreateTable =
    "CREATE TABLE IF NOT EXISTS events("
    "id TEXT PRIMARY KEY NOT NULL, received_at TEXT NOT NULL, content_type TEXT NOT NULL, payload) ";

// Not INSERT OR IGNORE, which would pass over broken constraints as well.
constexpr const char* kInsert =
    "INSERT INTO events(id, received_at, content_type, payload) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(id) DO NOTHING";

// What all connections of one factory share.
struct Database {
  explicit Database(std::string at) : path(std::move(at)) {}

  const std::string path;
  std::mutex opening;  // one connection at a time is opened or moved to a new file

  // SQLite has one writer at a time, and who waits for it polls. Among ourselves we take turns and need not.
  // False if a stop came first.
  [[nodiscard]] bool wait_turn(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [this] { return !taken_; })) return false;
    taken_ = true;
    return true;
  }
  void end_turn() {
    const std::lock_guard lock(mutex_);
    taken_ = false;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool taken_ = false;  // guarded by mutex_
};

struct Close {
  void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using Handle = std::unique_ptr<sqlite3, Close>;
using Statement = std::unique_ptr<sqlite3_stmt, Close>;

int primary(int code) noexcept { return code & 0xFF; }

// One open database file. Gone when destroyed; what it has committed stays.
class Connection {
 public:
  // Throws StartError. `stop`, if any, cuts short the wait for a lock.
  Connection(const std::string& path, bool sync, const std::stop_token* stop) : path_(path), stop_(stop) {
    open(sync);
    heed(nullptr);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (moved()) leave_files_alone();
  }

  // Whom to heed while waiting for a lock; until the next call.
  void heed(const std::stop_token* stop) noexcept { stop_ = stop; }

  [[nodiscard]] int begin() {
    waiting_since_ = Clock::now();
    return run(begin_.get());
  }
  [[nodiscard]] int commit() {
    waiting_since_ = Clock::now();
    return run(commit_.get());
  }
  void roll_back() {
    // After some errors (a full disk) SQLite has done so by itself.
    if (sqlite3_get_autocommit(handle_.get()) == 0) static_cast<void>(run(roll_back_.get()));
  }

  [[nodiscard]] int insert(const Delivery& event) {
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
    return code == SQLITE_OK ? run(row) : code;
  }

  // `write PATH: database or disk is full`, for the last call that failed.
  [[nodiscard]] std::string why(std::string_view step, int code) const {
    std::string line = std::string(step) + ' ' + path_ + ": ";
    // A message of the connection says more than its code, unless a later call has replaced it.
    line += sqlite3_extended_errcode(handle_.get()) == code ? sqlite3_errmsg(handle_.get()) : sqlite3_errstr(code);
    const int error = sqlite3_system_errno(handle_.get());
    if (error != 0 && (primary(code) == SQLITE_CANTOPEN || primary(code) == SQLITE_IOERR)) {
      line += ": ";
      line += std::generic_category().message(error);
    }
    return line;
  }

  // The name leads to another file, or to none: the database was deleted, renamed or replaced.
  [[nodiscard]] bool moved() const noexcept { return !file_ || FileId::of(path_) != file_; }

  // For a database that has moved: what was committed goes into its file, and what lies beside the old name no longer
  // counts, or it would be taken for a part of the new database. Under Database::opening.
  void abandon_name() noexcept {
    leave_files_alone();
    if (wal_ && FileId::of(path_ + "-wal") == wal_) ::unlink((path_ + "-wal").c_str());
    if (shm_ && FileId::of(path_ + "-shm") == shm_) ::unlink((path_ + "-shm").c_str());
  }

 private:
  void open(bool sync) {
    constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    sqlite3* handle = nullptr;
    const int opened = sqlite3_open_v2(path_.c_str(), &handle, kFlags, nullptr);
    handle_.reset(handle);  // also when it failed: it knows why
    if (!handle_) throw StartError(StartError::Kind::io, "open " + path_ + ": Cannot allocate memory");
    if (opened != SQLITE_OK) fail(sqlite3_extended_errcode(handle));
    // What may not be written is opened for reading, without a word.
    if (sqlite3_db_readonly(handle, "main") == 1) fail(SQLITE_READONLY);
    sqlite3_extended_result_codes(handle_.get(), 1);
    sqlite3_busy_handler(handle_.get(), &Connection::wait_for_lock, this);

    // Changing to WAL and making the table may meet others who do the same, and for some of these meetings SQLite does
    // not ask the busy handler.
    const auto until = Clock::now() + kPatience;
    int code = set_up(sync);
    while ((primary(code) == SQLITE_BUSY || primary(code) == SQLITE_LOCKED) && Clock::now() < until && !stopped()) {
      sqlite3_sleep(5);
      code = set_up(sync);
    }
    if (code != SQLITE_OK) fail(code);
    file_ = FileId::of(path_);
    wal_ = FileId::of(path_ + "-wal");
    shm_ = FileId::of(path_ + "-shm");
  }

  int set_up(bool sync) {
    int code = execute("PRAGMA journal_mode=WAL");
    if (code == SQLITE_OK) code = execute(sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    if (code == SQLITE_OK) code = execute(kCreateTable);
    if (code == SQLITE_OK) code = prepare("BEGIN IMMEDIATE", begin_);
    if (code == SQLITE_OK) code = prepare("COMMIT", commit_);
    if (code == SQLITE_OK) code = prepare("ROLLBACK", roll_back_);
    if (code == SQLITE_OK) code = prepare(kInsert, insert_);
    return code;
  }

  [[nodiscard]] bool stopped() const noexcept { return stop_ != nullptr && stop_->stop_requested(); }

  [[noreturn]] void fail(int code) const {
    auto kind = StartError::Kind::io;
    if (primary(code) == SQLITE_BUSY || primary(code) == SQLITE_LOCKED) kind = StartError::Kind::in_use;
    if (primary(code) == SQLITE_ERROR) kind = StartError::Kind::unusable;  // it is a database, but not for our rows
    throw StartError(kind, why("open", code));
  }

  int execute(const char* sql) { return sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr); }

  int prepare(const char* sql, Statement& to) {
    sqlite3_stmt* prepared = nullptr;
    const int code = sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
    to.reset(prepared);
    return code;
  }

  // To its end, ready for the next time.
  static int run(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    const int reset = sqlite3_reset(statement);  // says the same again
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : (reset != SQLITE_OK ? reset : code);
  }

  static bool is_text(std::string_view text) noexcept {
    return text.find('\0') == std::string_view::npos && is_utf8(text);
  }
  // What is bound is valid until the row has been run: that is in the same call of insert().
  static int bind_text(sqlite3_stmt* row, int column, std::string_view text) {
    const char* const from = text.empty() ? "" : text.data();  // a null pointer would be NULL
    return sqlite3_bind_text64(row, column, from, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  static int bind_blob(sqlite3_stmt* row, int column, std::string_view bytes) {
    const char* const from = bytes.empty() ? "" : bytes.data();
    return sqlite3_bind_blob64(row, column, from, bytes.size(), SQLITE_STATIC);
  }

  // Called by SQLite while another connection has the lock: 1 to try again, 0 to give up.
  static int wait_for_lock(void* self, int /*times*/) noexcept {
    const auto& connection = *static_cast<const Connection*>(self);
    if (connection.stopped()) return 0;
    if (Clock::now() - connection.waiting_since_ > kPatience) return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return 1;
  }

  // The last connection to a database removes the log beside it, by name; once the name is another's, that would be the
  // log of the other one. So what is in our log goes into our file now, and closing touches nothing.
  void leave_files_alone() noexcept {
    sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }

  const std::string path_;
  Handle handle_;
  Statement begin_, commit_, roll_back_, insert_;  // of the handle, so gone before it
  std::optional<FileId> file_, wal_, shm_;
  const std::stop_token* stop_ = nullptr;
  Clock::time_point waiting_since_ = Clock::now();
};

// The event is what the database minds, and always will.
bool is_refusal(int code) noexcept { return primary(code) == SQLITE_CONSTRAINT || primary(code) == SQLITE_TOOBIG; }

// The event may be what it minds (a trigger that cannot make sense of it), and another one may pass.
bool is_about_event(int code) noexcept {
  return is_refusal(code) || primary(code) == SQLITE_ERROR || primary(code) == SQLITE_MISMATCH;
}

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

class SqliteSink final : public Sink {
 public:
  SqliteSink(std::shared_ptr<Database> database, SinkOptions options)
      : database_(std::move(database)), options_(std::move(options)), name_("sqlite:" + database_->path) {
    open(nullptr);
  }

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    if (const std::string reason = make_ready(stop); !reason.empty()) {
      for (Verdict& verdict : verdicts) verdict = {Verdict::try_again, reason};
      return;
    }
    connection_->heed(&stop);
    taken_out_.assign(batch.size(), false);
    while (!transact(batch, verdicts, stop) && !stop.stop_requested()) {
    }
    connection_->heed(nullptr);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }

 private:
  void open(const std::stop_token* stop) {
    const std::lock_guard lock(database_->opening);
    connection_.emplace(database_->path, options_.ack == Ack::synced, stop);
    doubtful_ = false;
  }

  // A connection to the database of that name; otherwise why not.
  std::string make_ready(const std::stop_token& stop) {
    const bool moved = connection_ && connection_->moved();
    if (connection_ && !moved && !doubtful_) return {};
    try {
      if (moved) {
        const std::lock_guard lock(database_->opening);
        connection_->abandon_name();
      }
      connection_.reset();
      open(&stop);
    } catch (const StartError& error) {
      return error.what();
    }
    if (moved && options_.log) {
      options_.log(LogLevel::warn, "opened " + database_->path + " anew: it was deleted or replaced");
    }
    return {};
  }

  // One transaction with all that is not taken out. True: every event has its verdict. False: one more was taken out,
  // with its verdict, and the others are to be sent again.
  bool transact(std::span<const Delivery> batch, std::span<Verdict> verdicts, const std::stop_token& stop) {
    if (!database_->wait_turn(stop)) return true;
    const Turn turn{*database_};
    int code = connection_->begin();
    for (std::size_t i = 0; code == SQLITE_OK && i < batch.size(); ++i) {
      if (taken_out_[i]) continue;
      code = connection_->insert(batch[i]);
      if (!is_about_event(code)) continue;
      note(code);
      const std::string reason = connection_->why("write", code);
      if (is_refusal(code)) {
        verdicts[i] = {Verdict::refused, reason};
      } else {
        verdicts[i] = {Verdict::try_again, reason};
      }
      taken_out_[i] = true;
      connection_->roll_back();
      return false;
    }
    if (code == SQLITE_OK) code = connection_->commit();
    const std::string reason = code == SQLITE_OK ? std::string() : connection_->why("write", code);
    if (code != SQLITE_OK) {
      note(code);
      connection_->roll_back();
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (taken_out_[i]) continue;
      if (code == SQLITE_OK) {
        verdicts[i] = Verdict::delivered;
      } else {
        verdicts[i] = {Verdict::try_again, reason};
      }
    }
    return true;
  }

  void note(int code) noexcept { doubtful_ = doubtful_ || !keeps_connection(code); }

  struct Turn {
    Database& database;
    ~Turn() { database.end_turn(); }
  };

  const std::shared_ptr<Database>
      database_;  // owners: the factory and each of its sinks, of which one may be left behind
  const SinkOptions options_;
  const std::string name_;
  std::optional<Connection> connection_;  // none after an attempt to open it anew has failed
  bool doubtful_ = false;                 // an error after which it is to be opened anew
  std::vector<bool> taken_out_;           // of the batch in hand, by index
};

}  // namespace

SinkFactory sqlite_sinks(const std::string& path, const SinkOptions& options) {
  return [database = std::make_shared<Database>(path), options] {
    return std::make_unique<SqliteSink>(database, options);
  };
}

}  // namespace sluice
