// The SQLite sink. A batch is one transaction, and its events are delivered once COMMIT has succeeded. An event that
// the database refuses (a constraint, too big) or fails on (a trigger that cannot process it) is excluded, and the
// others are inserted without it; each is inserted twice at most, however many are excluded. SQLite allows one writer
// at a time, so all sinks of this process on one path share one connection and take turns.
#include "sinks/sqlite_sink.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sinks/file_watch.h"
#include "sinks/open_files.h"
#include "sinks/sqlite_connection.h"
#include "sinks/sync_book.h"
#include "sluice/error.h"

namespace sluice {

namespace {

using namespace std::chrono_literals;
using Outcome = SqliteConnection::Outcome;
using Place = SqliteConnection::Place;

// How long to wait while another process has the database locked, before the batch is tried again later. After one such
// timeout, and at the start, only the short wait is used: one worker has waited for all.
constexpr std::chrono::milliseconds kLockWait = 5s;
constexpr std::chrono::milliseconds kShortWait = 100ms;

// The shared connection to one database. Synchronises itself: only the holder of the turn uses the members below it.
class Database {
 public:
  explicit Database(std::string path)
      : path_(std::move(path)), watch_(path_, [this](const std::stop_token& stop) { rescue(stop); }) {}

  // The right to use the connection, until destroyed.
  class Turn {
   public:
    explicit Turn(Database& database) noexcept : database_(&database) {}
    Turn(Turn&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (database_ != nullptr) database_->end_turn();
    }

   private:
    Database* database_;
  };
  // Waits for the turn; nothing if a stop or the timeout came first.
  [[nodiscard]] std::optional<Turn> wait_turn(const std::stop_token& stop,
                                              std::chrono::milliseconds at_most = std::chrono::hours(24 * 365)) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, stop, at_most, [this] { return !taken_; })) return std::nullopt;
    taken_ = true;
    return std::optional<Turn>(std::in_place, *this);
  }

  // Called by each new sink; the first opens the database. Throws StartError if it will never work. If it may work
  // later, logs that once; make_ready() tries again.
  void start(const Turn& /*held*/, const LogHook& log) {
    if (connection_ || !unavailable_.empty()) return;
    try {
      connection_.emplace(path_, SqliteConnection::LockWait{kShortWait, {}});
    } catch (const SqliteUnavailable& error) {
      unavailable_ = error.what();
      locked_ = error.locked;
      if (log) log(LogLevel::warn, "the sink does not work yet, events wait: " + unavailable_);
    }
  }

  // Ensures a connection to the database that has the name now. Returns the reason if there is none.
  std::string make_ready(const Turn& /*held*/, const std::stop_token& stop, const LogHook& log) {
    const SqliteConnection::LockWait wait{locked_ ? kShortWait : kLockWait, stop};
    if (connection_) {
      connection_->set_lock_wait(wait);
      if (!doubtful_ && connection_->place() == Place::same) return {};
      if (const Outcome left = connection_->leave(news_); !left.ok()) return note(left).reason;
      connection_.reset();
    }
    try {
      connection_.emplace(path_, wait);
    } catch (const SqliteUnavailable& error) {
      locked_ = error.locked;
      return error.what();
    } catch (const StartError& error) {
      return error.what();
    }
    doubtful_ = locked_ = false;
    if (!unavailable_.empty() && log) log(LogLevel::info, "the sink works: opened " + path_);
    unavailable_.clear();
    if (!news_.empty() && log) log(LogLevel::warn, std::exchange(news_, {}));
    return {};
  }

  // Valid after a successful make_ready(), until the next one.
  [[nodiscard]] SqliteConnection& connection(const Turn& /*held*/) { return *connection_; }

  // Must be called with each outcome that is not about an event, and with the last one of a transaction.
  const Outcome& note(const Outcome& outcome) {
    doubtful_ = doubtful_ || !outcome.connection_ok;
    locked_ = outcome.kind == Outcome::locked;
    return outcome;
  }

  // Counts a commit that may not be on disk yet, and returns its number.
  [[nodiscard]] std::uint64_t add_unsynced(const Turn& /*held*/) noexcept { return book_.add(); }
  // Puts these commits on disk. Returns the reason if that failed.
  std::string sync(const Turn& held, const SyncBook::Batches& batches, const LogHook& log) {
    if (book_.needs_sync(batches)) {
      std::string reason = make_ready(held, {}, log);
      if (reason.empty()) reason = connection_->sync().reason;
      if (reason.empty()) {
        book_.synced(book_.written());
      } else {
        book_.failed(std::move(reason));
      }
    }
    return book_.failure_of(batches);
  }

 private:
  // Called when a file of the database was deleted or renamed, perhaps while no events come: saves what was committed
  // last, instead of waiting for the next batch. Opens no new connection, because that would create files in a
  // directory that somebody may be removing.
  void rescue(const std::stop_token& stop) {
    const std::optional<Turn> turn = wait_turn(stop);
    if (!turn || !connection_ || connection_->place() == Place::same) return;
    connection_->set_lock_wait({kLockWait, stop});
    if (connection_->leave(news_).ok()) connection_.reset();
  }

  void end_turn() {
    const std::lock_guard lock(mutex_);
    taken_ = false;
    changed_.notify_one();
  }

  const std::string path_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool taken_ = false;  // guarded by mutex_

  // Used by the holder of the turn:
  std::optional<SqliteConnection> connection_;
  std::string unavailable_;  // why there has been no connection since the start
  std::string news_;         // for the log, once there is a connection again
  bool doubtful_ = false;    // after an error that requires a new connection
  bool locked_ = false;      // the last wait for a lock timed out
  SyncBook book_;

  FileWatch watch_;  // its thread ends before the rest is destroyed
};

using Turn = Database::Turn;

class SqliteSink final : public Sink {
 public:
  SqliteSink(const std::string& path, SinkContext context)
      : context_(std::move(context)),
        path_(path),
        name_("sqlite:" + path),
        database_(OpenFiles<Database>::instance().open(path, [&] { return std::make_unique<Database>(path); })) {
    // If another sink holds the turn for longer, it has opened the database already.
    if (const auto turn = database_->wait_turn({}, kShortWait)) database_->start(*turn, context_.log);
  }

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    const std::optional<Turn> turn = database_->wait_turn(stop);
    if (!turn) return;
    excluded_.assign(batch.size(), false);
    if (const std::string reason = database_->make_ready(*turn, stop, context_.log); !reason.empty()) {
      all_again(verdicts, 0, reason);
      return;
    }
    SqliteConnection& connection = database_->connection(*turn);
    Part part{.begin = 0, .end = batch.size(), .guarded = batch.size()};
    while (part.begin < batch.size() && !stop.stop_requested()) {
      if (!transact(connection, batch, verdicts, part)) return;
      if (context_.ack == Ack::written) unsynced_.add(database_->add_unsynced(*turn));
    }
  }

  void sync() override {
    const SyncBook::Batches mine = std::exchange(unsynced_, {});
    if (mine.empty()) return;
    const std::optional<Turn> turn = database_->wait_turn({});
    if (!turn) throw std::runtime_error("sync " + path_ + ": in use for too long");
    if (const std::string why = database_->sync(*turn, mine, context_.log); !why.empty()) throw std::runtime_error(why);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }

 private:
  // Events of a batch that go into the next transaction.
  struct Part {
    std::size_t begin, end;
    std::size_t guarded;  // from here on each has its own savepoint: not inserted yet, after one that failed
  };

  // Runs one transaction with the events of `part` that are not excluded. Then `part` is the next one to run, perhaps
  // the same with one more event excluded. False: the database failed, and the verdicts of the rest say so.
  bool transact(SqliteConnection& connection, std::span<const Delivery> batch, std::span<Verdict> verdicts,
                Part& part) {
    Outcome outcome = connection.begin(context_.ack == Ack::synced);
    for (std::size_t i = part.begin; outcome.ok() && i < part.end; ++i) {
      if (excluded_[i]) continue;
      const bool guarded = i >= part.guarded;
      outcome = guarded ? connection.insert_guarded(batch[i]) : connection.insert(batch[i]);
      if (!outcome.about_event()) continue;
      verdicts[i] = {outcome.kind == Outcome::refused ? Verdict::refused : Verdict::suspect, outcome.reason};
      excluded_[i] = true;
      outcome = {};
      const bool still_open = connection.in_transaction();
      if (guarded && still_open) continue;
      // The events before it are inserted once more. If the failure ended the transaction, another one may do so too;
      // so commit these first, instead of inserting all of them again for each failure.
      connection.roll_back();
      part.guarded = i + 1;
      if (!still_open) part.end = i;
      advance(part, batch.size());
      return true;
    }
    if (outcome.ok()) outcome = connection.commit();
    // If the log was deleted meanwhile, this commit may be lost with it. The batch is sent again; an event that is
    // already in the database counts as delivered. (A database that was moved keeps its commits.)
    const Place place = outcome.ok() ? connection.place() : Place::same;
    if (place == Place::log_gone || place == Place::index_gone) {
      outcome = {Outcome::trouble, "write " + path_ + ": a file beside it was deleted or replaced"};
    }
    if (!database_->note(outcome).ok()) {
      connection.roll_back();
      all_again(verdicts, part.begin, outcome.reason);
      return false;
    }
    for (std::size_t i = part.begin; i < part.end; ++i) {
      if (!excluded_[i]) verdicts[i] = Verdict::delivered;
    }
    part.begin = part.end;
    advance(part, batch.size());
    return true;
  }

  // Skips excluded events at the beginning of the part; if none is left, the part becomes the rest of the batch.
  void advance(Part& part, std::size_t events) const noexcept {
    while (part.begin < events && excluded_[part.begin]) ++part.begin;
    if (part.begin >= part.end) part.end = events;
  }

  void all_again(std::span<Verdict> verdicts, std::size_t begin, const std::string& reason) const {
    for (std::size_t i = begin; i < verdicts.size(); ++i) {
      if (!excluded_[i]) verdicts[i] = {Verdict::try_again, reason};
    }
  }

  const SinkContext context_;
  const std::string path_, name_;
  const std::shared_ptr<Database> database_;  // owners: all sinks on the path, of which one may be left behind
  SyncBook::Batches unsynced_;                // commits of this sink
  std::vector<bool> excluded_;                // of the current batch, by index
};

}  // namespace

SinkFactory sqlite_sinks(const std::string& path) {
  return [path](const SinkContext& context) { return std::make_unique<SqliteSink>(path, context); };
}

}  // namespace sluice
