// See the header.
#include "journal/settle_file.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "journal/scan.h"
#include "journal/segment.h"

namespace sluice::journal {

namespace {

constexpr std::size_t kRangesARecord = 4096;

std::uint64_t up_to(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

}  // namespace

std::error_code SettleFile::create(Disk& disk, std::uint64_t segment, std::uint64_t events) {
  size_ = up_to(kHeaderCopySize + events * kSettleBytes, kSettledStep);
  end_ = kHeaderCopySize;
  std::unique_ptr<DiskFile> file;
  if (const auto error = disk.open(settled_name(segment), Disk::Open::create, file)) return error;
  file_ = std::move(file);
  return file_->preallocate(size_);
}

void SettleFile::adopt(Disk& disk, std::uint64_t segment, std::unique_ptr<DiskFile> file, const Settled& found,
                       std::uint64_t size, IntervalSet inherited) {
  // Without a file, settles stay in memory until one can be made.
  if (!file) failed_ = bool{disk.open(settled_name(segment), Disk::Open::create, file)};
  file_ = std::move(file);
  size_ = size;
  end_ = found.end;
  dirty_ = !found.set.empty();  // perhaps only the kernel has them: the next sync covers them too
  unwritten_ = std::move(inherited);
  if (found.unreadable > 0) failed_ = true;  // the next write makes it anew
}

std::error_code SettleFile::reserve(std::uint64_t events) {
  const std::uint64_t need = kHeaderCopySize + events * kSettleBytes;
  if (need <= size_ || failed_) return {};
  const std::uint64_t size = up_to(need, kSettledStep);
  const std::error_code error = file_->preallocate(size);
  if (!error) size_ = size;
  return error;
}

std::error_code SettleFile::write_header(const Segment& of) { return write_header(*file_, of); }

std::error_code SettleFile::write_header(DiskFile& file, const Segment& of) {
  const HeaderCopyBytes bytes = encode(HeaderCopy{of.header, of.written.made_size});
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  return file.write(0, piece);
}

std::error_code SettleFile::write_ranges(DiskFile& file, const IntervalSet& set, std::uint64_t segment_seed,
                                         std::uint64_t& end) {
  std::vector<Range> ranges;
  set.each([&](std::uint64_t first, std::uint64_t count) { ranges.push_back({first, count}); });
  for (std::size_t at = 0; at < ranges.size(); at += kRangesARecord) {
    const auto some = std::span(ranges).subspan(at, std::min(kRangesARecord, ranges.size() - at));
    const std::string record = encode(some, settled_seed(segment_seed), end);
    const std::array<std::span<const std::byte>, 1> piece{std::as_bytes(std::span(record))};
    if (const auto error = file.write(end, piece)) return error;
    end += aligned(record.size());
  }
  return {};
}

std::error_code SettleFile::write(Disk& disk, const Segment& of) {
  if (failed_) return rewrite(disk, of);
  std::error_code error;
  if (end_ == 0) {  // made by a start, or by a build that did not write this copy
    error = write_header(of);
    if (!error) end_ = kHeaderCopySize;
  }
  if (!error) error = write_ranges(*file_, unwritten_, of.header.seed, end_);
  if (error) {
    failed_ = true;
    return error;
  }
  unwritten_.clear();
  dirty_ = true;
  return {};
}

// A new file beside the old one, with all that is known.
std::error_code SettleFile::rewrite(Disk& disk, const Segment& of) {
  const std::string draft = draft_name(settled_name(of.number));
  static_cast<void>(disk.unlink(draft));
  std::unique_ptr<DiskFile> file;
  std::error_code error = disk.open(draft, Disk::Open::create, file);
  if (!error) error = file->preallocate(std::max(size_, kHeaderCopySize + of.feed.events * kSettleBytes));
  if (!error) error = write_header(*file, of);
  std::uint64_t end = kHeaderCopySize;
  if (!error) error = write_ranges(*file, of.feed.finished, of.header.seed, end);
  if (!error) error = file->sync();
  if (!error) error = disk.rename(draft, settled_name(of.number));
  if (!error) error = disk.sync_directory();
  if (error) return error;
  file_ = std::move(file);
  end_ = end;
  unwritten_.clear();
  failed_ = dirty_ = false;
  return {};
}

std::shared_ptr<DiskFile> SettleFile::take_dirty() { return std::exchange(dirty_, false) ? file_ : nullptr; }

bool SettleFile::sync_failed(const std::shared_ptr<DiskFile>& file, const IntervalSet& finished) {
  if (file_ != file) return false;
  failed_ = true;
  if (unwritten_.empty()) unwritten_.add(finished);
  return true;
}

}  // namespace sluice::journal
