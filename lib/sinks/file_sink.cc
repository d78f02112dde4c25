// The file sink: batches become lines in a file that all workers share. A worker makes the first 64 KiB of its lines
// before it takes the lock, so small batches are made side by side and only written in turn.
// Each sink belongs to one worker; SharedFile is guarded by its mutex.
#include "sinks/file_sink.h"

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

#include "sinks/json_line.h"
#include "sinks/line_file.h"
#include "sinks/pieces.h"

namespace sluice {

namespace {

struct SharedFile {
  std::mutex mutex;
  LineFile file;  // guarded by mutex
};

// The open files of this process by path; standard output is the empty path. Closing is under the mutex too, so that
// who opens a path again never meets the lock of the one who is just closing it.
class OpenFiles {
 public:
  // Never destroyed: a worker that was left behind in a stuck sink may let go of its file while the process ends.
  static OpenFiles& instance() {
    static auto* const files = new OpenFiles;  // NOLINT(cppcoreguidelines-owning-memory)
    return *files;
  }

  // Owners: the factory that asked and each of its sinks, of which one may be left behind in a stuck write.
  std::shared_ptr<SharedFile> open(const std::string& path, LineFormat format) {
    const std::string key = key_of(path);
    const LineFile::Lines lines = format == LineFormat::json ? LineFile::Lines::json : LineFile::Lines::any;
    const std::lock_guard lock(mutex_);
    if (auto open_already = files_[key].lock()) return open_already;
    const auto close = [this](SharedFile* file) {
      const std::lock_guard closing(mutex_);
      delete file;  // NOLINT(cppcoreguidelines-owning-memory)
    };
    auto* const made = path.empty() ? new SharedFile{{}, LineFile::standard_output(lines)}
                                    : new SharedFile{{}, LineFile(path, lines, LineFile::Hold::alone)};
    std::shared_ptr<SharedFile> file(made, close);
    files_[key] = file;
    return file;
  }

 private:
  // One file under two names would be refused as in use; what has no canonical name (a pipe in /proc) goes by its own.
  static std::string key_of(const std::string& path) {
    std::error_code no_such;
    const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, no_such);
    return no_such || path.empty() ? path : canonical.string();
  }

  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<SharedFile>> files_;  // guarded by mutex_
};

// One batch on its way into the file: holds the file from its first piece to its end.
class FileBatch {
 public:
  FileBatch(SharedFile& shared, const std::stop_token& stop) : shared_(shared), stop_(stop) {}
  FileBatch(const FileBatch&) = delete;
  FileBatch& operator=(const FileBatch&) = delete;
  // Whatever ended it early, nothing of it stays.
  ~FileBatch() {
    if (held_) shared_.file.abandon();
  }

  bool write(std::string_view piece) {
    if (!held_) {
      held_ = std::unique_lock(shared_.mutex);
      outcome_ = shared_.file.begin(stop_);
    }
    if (!outcome_.failed()) outcome_ = shared_.file.write(piece, stop_);
    return !outcome_.failed();
  }

  struct End {
    std::string failure;  // empty: the file has the batch
    std::string news;     // for the log
  };
  // After the last piece; gives the file back.
  End finish(bool sync) {
    if (!held_) return {};  // there was nothing to write
    if (!outcome_.failed()) outcome_ = shared_.file.finish(sync);
    End end{outcome_.failed() ? shared_.file.text(outcome_) : "", shared_.file.take_news()};
    if (outcome_.failed()) shared_.file.abandon();
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
  FileSink(std::shared_ptr<SharedFile> file, std::string name, LineFormat format, SinkOptions options)
      : file_(std::move(file)), name_(std::move(name)), format_(format), options_(std::move(options)) {}

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    const FileBatch::End end = write(batch, stop);
    for (Verdict& verdict : verdicts) {
      if (end.failure.empty()) {
        verdict = Verdict::delivered;
      } else {
        verdict = {Verdict::try_again, end.failure};
      }
    }
    if (!end.news.empty() && options_.log) options_.log(LogLevel::warn, end.news);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }

 private:
  FileBatch::End write(std::span<const Delivery> batch, const std::stop_token& stop) {
    FileBatch lines(*file_, stop);
    Pieces out(*buffer_, [&lines](std::string_view piece) { return lines.write(piece); });
    for (const Delivery& event : batch) {
      if (format_ == LineFormat::json) {
        put_json_line(out, event);
      } else {
        out.put(event.text());
        out.put("\n");
      }
    }
    // What could not be written is known to `lines`, which also says why.
    static_cast<void>(out.flush());
    return lines.finish(options_.ack == Ack::synced);
  }

  const std::shared_ptr<SharedFile> file_;
  const std::string name_;
  const LineFormat format_;
  const SinkOptions options_;
  const std::unique_ptr<PieceBuffer> buffer_ = std::make_unique<PieceBuffer>();
};

SinkFactory sinks_into(std::shared_ptr<SharedFile> file, std::string name, LineFormat format, SinkOptions options) {
  {
    std::unique_lock lock(file->mutex);
    const std::string news = file->file.take_news();
    lock.unlock();
    if (!news.empty() && options.log) options.log(LogLevel::warn, news);
  }
  return [file = std::move(file), name = std::move(name), format, options = std::move(options)] {
    return std::make_unique<FileSink>(file, name, format, options);
  };
}

}  // namespace

SinkFactory file_sinks(const std::string& path, LineFormat format, const SinkOptions& options) {
  return sinks_into(OpenFiles::instance().open(path, format), "file:" + path, format, options);
}

SinkFactory stdout_sinks(LineFormat format, const SinkOptions& options) {
  return sinks_into(OpenFiles::instance().open({}, format), "stdout", format, options);
}

}  // namespace sluice
