// See the header.
#include "journal/event_reader.h"

namespace sluice::journal {

std::uint64_t record_bytes(const Record& event) {
  return aligned(kEventFrame + event.content_type.size() + event.payload.size());
}

EventReader::EventReader(const Segment& segment, std::uint64_t from, std::uint64_t to)
    : reader_(*segment.file, segment.header.seed, from, to) {
  reader_.ends_at_footer();
  if (segment.unreadable) reader_.read_around();
}

std::optional<Record> EventReader::next_event() {
  for (auto item = reader_.next(); item.what != RecordReader::What::end; item = reader_.next()) {
    if (item.what == RecordReader::What::error) {
      error_ = reader_.error();
      return std::nullopt;
    }
    holes_ = holes_ || item.what == RecordReader::What::hole;
    if (item.what != RecordReader::What::record || item.head.kind != RecordKind::event) continue;
    offset_ = item.offset;
    return event_in(item.record);
  }
  return std::nullopt;
}

RequestReader::RequestReader(const Segment& segment, std::uint64_t from, std::uint64_t to, const IntervalSet& wanted)
    : reader_(*segment.file, segment.header.seed, from, to), wanted_(wanted) {
  reader_.ends_at_footer();
  if (segment.unreadable) reader_.read_around();
}

std::optional<Record> RequestReader::next() {
  if (given_ == request_.size() && !read_request()) return std::nullopt;
  return event_in(request_[given_++]);
}

bool RequestReader::read_request() {
  begin_anew(false);
  for (auto item = reader_.next(); item.what != RecordReader::What::end; item = reader_.next()) {
    if (item.what == RecordReader::What::error) {
      error_ = reader_.error();
      return false;
    }
    if (item.what != RecordReader::What::record || item.head.kind != RecordKind::event) {
      begin_anew(false);
      continue;
    }
    if (item.head.begins_request) begin_anew(true);
    if (open_ && !item.head.begins_request && item.offset != end_) begin_anew(false);
    end_ = item.offset + item.size;
    if (open_ && wanted_.contains(event_in(item.record).sequence)) {
      request_.emplace_back(item.record.begin(), item.record.end());
    }
    if (item.head.ends_request && open_ && !request_.empty()) return true;
  }
  begin_anew(false);
  return false;
}

void RequestReader::begin_anew(bool open) {
  request_.clear();
  given_ = 0;
  open_ = open;
}

}  // namespace sluice::journal
