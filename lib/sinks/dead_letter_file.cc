// See the header. A dead letter's event leaves the books when append() has answered, so the answer waits for the disk.
#include "sinks/dead_letter_file.h"

#include <mutex>

#include "sinks/json_line.h"
#include "sinks/line_file.h"
#include "sinks/pieces.h"

namespace sluice {

struct DeadLetterFile::Impl {
  explicit Impl(const std::filesystem::path& path)
      : file(path.string(), LineFile::Lines::json, LineFile::Hold::shared) {}

  LineFile::Outcome write(std::span<const DeadLetter> letters) {
    // Not to be interrupted by a stop: the disk answers, or the process ends without us.
    const std::stop_token never;
    LineFile::Outcome outcome = file.begin(never);
    if (outcome.failed()) return outcome;
    Pieces out(buffer, [&](std::string_view piece) {
      outcome = file.write(piece, never);
      return !outcome.failed();
    });
    for (const DeadLetter& letter : letters) put_dead_letter(out, letter.event, letter.reason);
    return out.flush() ? file.finish(/*sync=*/true) : outcome;
  }

  std::mutex mutex;
  LineFile file;       // guarded by mutex; its state directory belongs to one process, so the file needs no lock
  PieceBuffer buffer;  // guarded by mutex
};

DeadLetterFile::DeadLetterFile(const std::filesystem::path& state_dir)
    : impl_(std::make_unique<Impl>(state_dir / "dead-letter.ndjson")) {}

DeadLetterFile::~DeadLetterFile() = default;

std::error_code DeadLetterFile::append(std::span<const DeadLetter> letters) {
  if (letters.empty()) return {};
  const std::lock_guard lock(impl_->mutex);
  const LineFile::Outcome outcome = impl_->write(letters);
  if (outcome.failed()) impl_->file.abandon();
  return outcome.error;
}

}  // namespace sluice
