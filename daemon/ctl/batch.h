// Stored events in one request: which of them a batch format carries byte for byte, and the body. Plain values; one
// thread; sends nothing. Refuses an event for which the batch has no space or no format: that event begins the next
// batch. Formats are those of the intake: lines (NDJSON), an array, an array of CloudEvents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/event.h"

namespace sluicectl {

class Batch {
 public:
  // A body has at most `max_bytes`, unless a single event is larger.
  Batch(std::size_t max_events, std::size_t max_bytes) : max_events_(max_events), max_bytes_(max_bytes) {}

  // Appends a copy of the event. False: it has to go into a later request.
  [[nodiscard]] bool try_add(const sluice::Delivery& event);
  void clear();
  // From the next event on; for a server that has refused a larger batch.
  void set_max_events(std::size_t max_events) noexcept { max_events_ = max_events; }

  [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
  [[nodiscard]] std::span<const sluice::EventId> ids() const noexcept { return ids_; }

  struct Request {
    std::string content_type;  // empty: none
    std::string_view query;    // says how the intake reads an array
    std::string body;
  };
  // For `count` of the events, from `first` on. A single event has its own content type.
  [[nodiscard]] Request request(std::size_t first, std::size_t count) const;

 private:
  struct Text {
    std::size_t begin, size;  // in texts_
  };
  [[nodiscard]] std::string_view text(std::size_t nth) const {
    return std::string_view(texts_).substr(at_[nth].begin, at_[nth].size);
  }

  std::size_t max_events_;
  const std::size_t max_bytes_;
  unsigned formats_ = 0;      // that carry all of the events: one bit each
  std::string content_type_;  // of the first event
  std::string texts_;
  std::vector<Text> at_;
  std::vector<sluice::EventId> ids_;  // as many
};

}  // namespace sluicectl
