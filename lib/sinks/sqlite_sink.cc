// The SQLite sink. A batch is one transaction: COMMIT alone decides what is delivered. An event that the database
// refuses (a constraint, too big) or fails on (a trigger that cannot make sense of it) is taken out, and the others go
// in without it; each is inserted twice at most, however many are taken out.
// SQLite has one writer at a time, so all sinks of this process on one path share one connection and take turns.
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

// How long somebody else may keep the database locked before the batch is tried again later. Once that was too short,
// and at the start, there is no more than a glance: one worker has waited for all.
constexpr std::chrono::milliseconds kPatience = 5s;
constexpr std::chrono::milliseconds kGlance = 100ms;

// Synchronises itself: whoever has the turn, and nobody else, uses the rest.
class Database {
 public:
  explicit Database(std::string path)
      : path_(std::move(path)), watch_(path_, [this](const std::stop_token& stop) { rescue(stop); }) {}

  // Being the one who uses it; until destroyed.
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
  // Nothing if a stop came first, or nobody was through within that time.
  [[nodiscard]] std::optional<Turn> wait_turn(const std::stop_token& stop,
                                              std::chrono::milliseconds at_most = std::chrono::hours(24 * 365)) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, stop, at_most, [this] { return !taken_; })) return std::nullopt;
    taken_ = true;
    return std::optional<Turn>(std::in_place, *this);
  }

  // With the first sink: opens it, or throws StartError if it will never work. If it may work later, says so in the
  // log, once, and make_ready() goes on.
  void start(const Turn& /*mine*/, const LogHook& log) {
    if (connection_ || !unavailable_.empty()) return;
    try {
      connection_.emplace(path_, SqliteConnection::Patience{kGlance, {}});
    } catch (const SqliteUnavailable& error) {
      unavailable_ = error.what();
      locked_ = error.locked();
      if (log) log(LogLevel::warn, "the sink does not work yet, events wait: " + unavailable_);
    }
  }

  // A connection to the database of that name; otherwise why not.
  std::string make_ready(const Turn& /*mine*/, const std::stop_token& stop, const LogHook& log) {
    const SqliteConnection::Patience patience{locked_ ? kGlance : kPatience, stop};
    if (connection_) {
      connection_->be_patient(patience);
      if (!doubtful_ && connection_->place() == Place::same) return {};
      if (const Outcome left = connection_->leave(news_); !left.ok()) return note(left).reason;
      connection_.reset();
    }
    try {
      connection_.emplace(path_, patience);
    } catch (const SqliteUnavailable& error) {
      locked_ = error.locked();
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

  // After make_ready() has said that it is there, until it is called again.
  [[nodiscard]] SqliteConnection& connection(const Turn& /*mine*/) { return *connection_; }

  // To be called with each outcome that is not about an event, and with the last one of a transaction.
  const Outcome& note(const Outcome& outcome) {
    doubtful_ = doubtful_ || !outcome.connection_ok;
    locked_ = outcome.kind == Outcome::locked;
    return outcome;
  }

  // Something was committed that is not on the disk for certain: its number.
  [[nodiscard]] std::uint64_t add_unsynced(const Turn& /*mine*/) noexcept { return book_.add(); }
  // Puts these on the disk; otherwise why not.
  std::string sync(const Turn& mine, const SyncBook::Batches& batches, const LogHook& log) {
    if (book_.is_open(batches)) {
      std::string reason = make_ready(mine, {}, log);
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
  // A file of it may have gone while nobody delivers: what was committed last must not wait for the next batch. There
  // is no new connection before that, or a directory that is being removed would never be empty.
  void rescue(const std::stop_token& stop) {
    const std::optional<Turn> turn = wait_turn(stop);
    if (!turn || !connection_ || connection_->place() == Place::same) return;
    connection_->be_patient({kPatience, stop});
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

  // Whoever has the turn:
  std::optional<SqliteConnection> connection_;
  std::string unavailable_;  // why there is none since the start
  std::string news_;         // for the log once there is one again
  bool doubtful_ = false;    // after an error the next one has to be a new one
  bool locked_ = false;      // somebody else had it locked for all the patience
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
    // Whoever has it for longer does more than to open it.
    if (const auto turn = database_->wait_turn({}, kGlance)) database_->start(*turn, context_.log);
  }

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    const std::optional<Turn> turn = database_->wait_turn(stop);
    if (!turn) return;
    taken_out_.assign(batch.size(), false);
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
    std::size_t guarded;  // from here on behind a guard each: they were never inserted, and one before has failed
  };

  // One transaction with those of `part` that are not taken out; `part` becomes what is to be done next, perhaps the
  // same without one more. False: the database is in trouble, and the rest has it as its verdict.
  bool transact(SqliteConnection& connection, std::span<const Delivery> batch, std::span<Verdict> verdicts,
                Part& part) {
    Outcome outcome = connection.begin(context_.ack == Ack::synced);
    for (std::size_t i = part.begin; outcome.ok() && i < part.end; ++i) {
      if (taken_out_[i]) continue;
      const bool guarded = i >= part.guarded;
      outcome = guarded ? connection.insert_guarded(batch[i]) : connection.insert(batch[i]);
      if (!outcome.about_event()) continue;
      verdicts[i] = {outcome.kind == Outcome::refused ? Verdict::refused : Verdict::suspect, outcome.reason};
      taken_out_[i] = true;
      outcome = {};
      const bool stands = connection.in_transaction();
      if (guarded && stands) continue;
      // Those before it go in once more. If the failure has ended the transaction, the next one may as well, so they
      // are committed first; all together would be inserted anew for each of them.
      connection.roll_back();
      part.guarded = i + 1;
      if (!stands) part.end = i;
      advance(part, batch.size());
      return true;
    }
    if (outcome.ok()) outcome = connection.commit();
    // A log that went meanwhile may have gone with what was just committed; when it is sent again, an event that is
    // there counts as delivered. (In a database that was moved it stays where it is.)
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
      if (!taken_out_[i]) verdicts[i] = Verdict::delivered;
    }
    part.begin = part.end;
    advance(part, batch.size());
    return true;
  }

  // Over those at the beginning that are taken out; when nothing is left of the part, it becomes the rest of the batch.
  void advance(Part& part, std::size_t events) const noexcept {
    while (part.begin < events && taken_out_[part.begin]) ++part.begin;
    if (part.begin >= part.end) part.end = events;
  }

  void all_again(std::span<Verdict> verdicts, std::size_t begin, const std::string& reason) const {
    for (std::size_t i = begin; i < verdicts.size(); ++i) {
      if (!taken_out_[i]) verdicts[i] = {Verdict::try_again, reason};
    }
  }

  const SinkContext context_;
  const std::string path_, name_;
  const std::shared_ptr<Database> database_;  // owners: all sinks on the path, of which one may be left behind
  SyncBook::Batches unsynced_;                // that this sink has committed
  std::vector<bool> taken_out_;               // of the batch in hand, by index
};

}  // namespace

SinkFactory sqlite_sinks(const std::string& path) {
  return [path](const SinkContext& context) { return std::make_unique<SqliteSink>(path, context); };
}

}  // namespace sluice
