// Stored events in one request: which of them a batch format carries byte for byte, and the body that does. Plain
// values; one thread; nothing is sent here. It refuses an event that the batch at hand has no room or no format for:
// that one begins the next batch. Formats are those of the intake: lines (NDJSON), an array, an array of CloudEvents.
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
  // Bodies of at most so many bytes, unless a single event is larger.
  Batch(std::size_t max_events, std::size_t max_bytes) : max_events_(max_events), max_bytes_(max_bytes) {}

  // Copies the event behind those that are here. False: it has to go with a later request.
  [[nodiscard]] bool try_add(const sluice::Delivery& event);
  void clear();
  // From the next event on, once a server has shown that it takes no more at a time.
  void set_max_events(std::size_t max_events) noexcept { max_events_ = max_events; }

  [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
  [[nodiscard]] std::span<const sluice::EventId> ids() const noexcept { return ids_; }

  struct Request {
    std::string content_type;  // empty: none
    std::string_view query;    // what an array in it means to the intake
    std::string body;
  };
  // Of `count` of the events, from `first` on. One event travels alone, with the content type that it came with.
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
  unsigned formats_ = 0;      // those that carry all of the events, a bit each
  std::string content_type_;  // of the first event, as it came
  std::string texts_;
  std::vector<Text> at_;
  std::vector<sluice::EventId> ids_;  // as many
};

}  // namespace sluicectl
