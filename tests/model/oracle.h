// What a run has seen of a journal's promises, kept outside of the world that ends: sets of what was sent,
// acknowledged, refused and delivered, and what must be true between them.
//
//   acknowledged is delivered after the next full drain      a request is delivered whole or not at all
//   refused is never delivered                               an id belongs to one event, and an event to one id
//   delivered was sent, byte for byte                        in one life nothing is handed out twice
//   what was settled for good is never handed out again      (a settle counts once it, and the sink, are synced)
//
// An acknowledgement that was only to survive a kill is unknown after a power cut, but for what was delivered before;
// one that was only to survive an orderly end is worth nothing, event by event, after any other.
// A request nobody answered, or answered `failed`, is unknown: whole or not at all. Any thread.
// It does not know how events are stored, and asks for no order but within those sets.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/event.h"

namespace model {

// How firm an acknowledgement is.
enum class Promise : std::uint8_t {
  survives_stop,   // `queued`: an orderly end, and nothing else
  survives_kill,   // `written`, and no sync since
  survives_power,  // `synced`
};

class Oracle {
 public:
  // A request is sent: its number. Payloads must be unique, also among requests.
  std::uint64_t send(std::span<const std::string> payloads);
  // It is answered. Its events have the ids from `first` on.
  void acknowledge(std::uint64_t request, const sluice::EventId& first, Promise promise);
  void refuse(std::uint64_t request);

  // All that was acknowledged so far survives power loss now; the end of the process.
  void synced();
  void stopped();
  // Another life begins: what was handed out in the last one may come again. After a power cut what was only to
  // survive a kill is unknown.
  void next_life(bool power_was_cut);
  // The journal hands this event out, once in a life; a sink is shown it, perhaps several times; the sink has made it
  // durable; and nobody may ever see it again.
  void handed_out(const sluice::EventId& id, std::string_view payload);
  void shown(const sluice::EventId& id, std::string_view payload);
  void offered(const sluice::EventId& id);  // a sink is about to write it, and may have, whatever it answers
  void delivered(const sluice::EventId& id);
  void settled_for_good(const sluice::EventId& id);
  // It came behind a younger one of its run. What nobody was told of has no place of its own: where it stands is known
  // only when a start finds it.
  void overtaken(const sluice::EventId& id, std::uint64_t by);

  // Everything was drained: the hashes of payloads that the sink's file holds.
  void drained(std::span<const std::pair<sluice::EventId, std::uint64_t>> file);

  // Something on the disk was damaged, so what was settled may come back. So many events may be missing, since the
  // journal found them damaged and said so.
  void forget_settles();
  void excuse(std::uint64_t lost);
  // The journal was removed by hand: whatever was sent until now may be missing, also in parts.
  void write_off();

  void complain(std::string what);
  [[nodiscard]] std::vector<std::string> complaints() const;
  [[nodiscard]] std::size_t acknowledged() const;

  [[nodiscard]] static std::uint64_t hash(std::string_view payload) noexcept;

 private:
  enum class Answer : std::uint8_t { unknown, refused, acknowledged };
  struct Request {
    Answer answer = Answer::unknown;
    Promise promise = Promise::survives_power;
    bool was_acknowledged = false;  // whatever became of it
    bool written_off = false;
    std::vector<std::uint64_t> events;  // their hashes
    std::set<std::uint64_t> early;      // delivered before a power cut that the request was not to survive
  };
  struct Place {
    std::uint64_t request = 0;
    std::size_t index = 0;
  };
  struct IdOrder {
    bool operator()(const sluice::EventId& a, const sluice::EventId& b) const noexcept {
      return a.run == b.run ? a.sequence < b.sequence : a.run.bytes < b.run.bytes;
    }
  };

  void show(const sluice::EventId& id, std::string_view payload);
  void meet(const sluice::EventId& id, std::uint64_t hash, std::string_view where);
  void add_complaint(std::string what);
  [[nodiscard]] std::string name(std::uint64_t hash) const;

  mutable std::mutex mutex_;
  // All guarded by mutex_.
  std::vector<Request> requests_;
  std::map<std::uint64_t, Place> places_;                  // by hash
  std::map<sluice::EventId, std::uint64_t, IdOrder> ids_;  // the event that was seen with this id
  std::map<std::uint64_t, sluice::EventId> names_;         // the id that was seen with this event
  std::set<sluice::EventId, IdOrder> handed_out_in_this_life_, delivered_in_this_life_, offered_, settled_for_good_;
  bool settles_count_ = true;
  std::uint64_t excused_ = 0;
  std::vector<std::string> complaints_;
};

}  // namespace model
