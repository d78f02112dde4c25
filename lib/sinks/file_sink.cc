// The file sink: writes batches as lines into a file that all workers share. A worker formats the first 64 KiB of its
// lines before it takes the lock, so small batches are formatted in parallel and only written one by one.
// Each sink belongs to one worker; SharedFile is guarded by its mutex.
#include "sinks/file_sink.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "sinks/chunk_writer.h"
#include "sinks/json_line.h"
#include "sinks/line_file.h"
#include "sinks/open_files.h"
#include "sinks/sync_book.h"

namespace sluice {

namespace {

struct SharedFile {
  std::mutex syncing;  // held during a sync; locked before `mutex`
  std::mutex mutex;
  SyncBook book;                  // guarded by mutex
  LineFile file;                  // guarded by mutex
  std::atomic<bool> gone{false};  // never returns to false
};

// Standard output is the empty path.
std::shared_ptr<SharedFile> open_shared(const std::string& path, LineFormat format) {
  const auto kind = format == LineFormat::json ? LineFile::Kind::events : LineFile::Kind::raw;
  return OpenFiles<SharedFile>::instance().open(path, [&] {
    // Not make_unique, because a LineFile cannot move.
    return std::unique_ptr<SharedFile>(path.empty() ? new SharedFile{{}, {}, {}, LineFile::standard_output(kind), false}
                                                    : new SharedFile{{}, {}, {}, LineFile(path, kind), false});
  });
}

// Writes one batch: locks the file from the first chunk to the end of the batch.
class FileBatch {
 public:
  FileBatch(SharedFile& shared, const std::stop_token& stop) : shared_(shared), stop_(stop) {}
  FileBatch(const FileBatch&) = delete;
  FileBatch& operator=(const FileBatch&) = delete;
  // A batch that did not finish is cut off.
  ~FileBatch() {
    if (held_) shared_.file.abandon();
  }

  bool write(std::string_view chunk) {
    if (!held_) {
      held_ = std::unique_lock(shared_.mutex);
      outcome_ = shared_.file.begin(stop_);
    }
    if (!outcome_.failed()) outcome_ = shared_.file.write(chunk, stop_);
    return !outcome_.failed();
  }

  struct End {
    std::string failure;       // empty: the batch was written
    std::string news;          // for the log
    std::uint64_t number = 0;  // of the batch, if it was written
  };
  // Call after the last chunk; unlocks the file.
  End finish(bool sync) {
    if (!held_) return {};  // nothing to write
    if (!outcome_.failed()) outcome_ = shared_.file.finish(sync);
    End end{outcome_.failed() ? shared_.file.text(outcome_) : "", shared_.file.take_news()};
    if (outcome_.failed()) {
      if (shared_.file.lost_its_reader(outcome_)) shared_.gone = true;
      shared_.file.abandon();
    } else {
      end.number = shared_.book.add();
    }
    held_.unlock();
    return end;
  }

 private:
  SharedFile& shared_;
  const std::stop_token& stop_;
  std::unique_lock<std::mutex> held_;
  LineFile::Outcome outcome_;
};

class FileSink final : public Sink {
 public:
  FileSink(std::shared_ptr<SharedFile> file, std::string name, LineFormat format, SinkContext context)
      : file_(std::move(file)), name_(std::move(name)), format_(format), context_(std::move(context)) {}

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    const FileBatch::End end = write(batch, stop);
    for (Verdict& verdict : verdicts) {
      if (end.failure.empty()) {
        verdict = Verdict::delivered;
      } else {
        verdict = {Verdict::try_again, end.failure};
      }
    }
    if (end.number > 0) unsynced_.add(end.number);
    if (!end.news.empty() && context_.log) context_.log(LogLevel::warn, end.news);
  }

  [[nodiscard]] bool gone() const noexcept override { return file_->gone; }

  void sync() override {
    const SyncBook::Batches mine = std::exchange(unsynced_, {});
    if (mine.empty()) return;
    const std::lock_guard alone(file_->syncing);
    std::unique_lock lock(file_->mutex);
    if (file_->book.needs_sync(mine)) {
      const std::uint64_t written = file_->book.written();
      if (const LineFile::Outcome outcome = file_->file.sync(lock); outcome.failed()) {
        file_->book.failed(file_->file.text(outcome));
      } else {
        file_->book.synced(written);
      }
    }
    if (const std::string why = file_->book.failure_of(mine); !why.empty()) throw std::runtime_error(why);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }

 private:
  FileBatch::End write(std::span<const Delivery> batch, const std::stop_token& stop) {
    FileBatch lines(*file_, stop);
    ChunkWriter out(*buffer_, [&lines](std::string_view chunk) { return lines.write(chunk); });
    for (const Delivery& event : batch) {
      if (format_ == LineFormat::json) {
        put_json_line(out, event);
      } else {
        out.put(event.text());
        out.put("\n");
      }
    }
    // `lines` knows about a failed write, and why it failed.
    static_cast<void>(out.flush());
    return lines.finish(context_.ack == Ack::synced);
  }

  const std::shared_ptr<SharedFile> file_;
  const std::string name_;
  const LineFormat format_;
  const SinkContext context_;
  const std::unique_ptr<ChunkBuffer> buffer_ = std::make_unique<ChunkBuffer>();
  SyncBook::Batches unsynced_;
};

// An empty path means standard output.
SinkFactory sinks_into(std::string path, std::string name, LineFormat format) {
  return [path = std::move(path), name = std::move(name), format](const SinkContext& context) {
    std::shared_ptr<SharedFile> file = open_shared(path, format);
    std::unique_lock lock(file->mutex);
    const std::string news = file->file.take_news();
    lock.unlock();
    if (!news.empty() && context.log) context.log(LogLevel::warn, news);
    return std::make_unique<FileSink>(std::move(file), name, format, context);
  };
}

}  // namespace

SinkFactory file_sinks(const std::string& path, LineFormat format) { return sinks_into(path, "file:" + path, format); }

SinkFactory stdout_sinks(LineFormat format) { return sinks_into({}, "stdout", format); }

}  // namespace sluice
