// The sets, and the comparing of them. Everything is kept until the end: a run is short.
#include "model/oracle.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace model {

std::uint64_t Oracle::hash(std::string_view payload) noexcept {
  std::uint64_t hash = payload.size() * 0x9e3779b97f4a7c15;
  while (!payload.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = std::min(sizeof word, payload.size());
    std::memcpy(&word, payload.data(), size);
    hash = (hash ^ word) * 0xbf58476d1ce4e5b9;
    hash ^= hash >> 29;
    payload.remove_prefix(size);
  }
  return hash;
}

std::uint64_t Oracle::send(std::span<const std::string> payloads) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t number = requests_.size();
  Request& request = requests_.emplace_back();
  for (const std::string& payload : payloads) {
    const std::uint64_t of_payload = hash(payload);
    const bool fresh = places_.emplace(of_payload, Place{number, request.events.size()}).second;
    assert(fresh && "two events with the same payload");
    static_cast<void>(fresh);
    request.events.push_back(of_payload);
  }
  return number;
}

void Oracle::acknowledge(std::uint64_t request, const sluice::EventId& first, Promise promise) {
  const std::scoped_lock lock(mutex_);
  Request& asked = requests_.at(request);
  asked.answer = Answer::acknowledged;
  asked.was_acknowledged = true;
  asked.promise = promise;
  sluice::EventId id = first;
  for (const std::uint64_t event : asked.events) {
    meet(id, event, "acknowledged");
    ++id.sequence;
  }
}

void Oracle::refuse(std::uint64_t request) {
  const std::scoped_lock lock(mutex_);
  requests_.at(request).answer = Answer::refused;
}

void Oracle::synced() {
  const std::scoped_lock lock(mutex_);
  for (Request& request : requests_) request.promise = Promise::survives_power;
}

void Oracle::stopped() {
  const std::scoped_lock lock(mutex_);
  for (Request& request : requests_) request.promise = std::max(request.promise, Promise::survives_kill);
}

void Oracle::next_life(bool power_was_cut) {
  const std::scoped_lock lock(mutex_);
  handed_out_in_this_life_.clear();
  delivered_in_this_life_.clear();
  for (Request& request : requests_) {
    if (request.answer == Answer::acknowledged && request.promise == Promise::survives_stop) request.written_off = true;
  }
  if (!power_was_cut) return;
  for (Request& request : requests_) {
    if (request.answer == Answer::acknowledged && request.promise == Promise::survives_kill) {
      request.answer = Answer::unknown;
      // What a sink had before the power went may stand alone: the rest was not to survive.
      for (const std::uint64_t event : request.events) {
        const auto id = names_.find(event);
        if (id != names_.end() && offered_.contains(id->second)) request.early.insert(event);
      }
    }
  }
}

void Oracle::handed_out(const sluice::EventId& id, std::string_view payload) {
  const std::scoped_lock lock(mutex_);
  show(id, payload);
  if (!handed_out_in_this_life_.insert(id).second) add_complaint("handed out twice in one life: " + to_string(id));
}

void Oracle::shown(const sluice::EventId& id, std::string_view payload) {
  const std::scoped_lock lock(mutex_);
  show(id, payload);
}

void Oracle::show(const sluice::EventId& id, std::string_view payload) {
  meet(id, hash(payload), "handed out");
  if (delivered_in_this_life_.contains(id))
    add_complaint("handed out, and was delivered in this life: " + to_string(id));
  if (settles_count_ && settled_for_good_.contains(id))
    add_complaint("handed out, and was settled for good: " + to_string(id));
}

void Oracle::offered(const sluice::EventId& id) {
  const std::scoped_lock lock(mutex_);
  offered_.insert(id);
}

void Oracle::delivered(const sluice::EventId& id) {
  const std::scoped_lock lock(mutex_);
  delivered_in_this_life_.insert(id);
}

void Oracle::settled_for_good(const sluice::EventId& id) {
  const std::scoped_lock lock(mutex_);
  settled_for_good_.insert(id);
}

void Oracle::overtaken(const sluice::EventId& id, std::uint64_t by) {
  const std::scoped_lock lock(mutex_);
  const auto younger = ids_.find({id.run, by});
  const auto place = younger == ids_.end() ? places_.end() : places_.find(younger->second);
  if (place != places_.end() && !requests_.at(place->second.request).was_acknowledged) return;
  add_complaint("out of order: " + to_string(id) + " behind " + std::to_string(by));
}

void Oracle::drained(std::span<const std::pair<sluice::EventId, std::uint64_t>> file) {
  const std::scoped_lock lock(mutex_);
  std::set<std::uint64_t> there;
  for (const auto& [id, event] : file) {
    meet(id, event, "delivered");
    there.insert(event);
  }
  std::uint64_t missing = 0;
  std::string first_missing;
  for (std::uint64_t number = 0; number < requests_.size(); ++number) {
    const Request& request = requests_[number];
    std::size_t found = 0;
    std::size_t early = 0;
    std::string absent;
    for (const std::uint64_t event : request.events) {
      if (there.contains(event)) {
        ++found;
        early += request.early.contains(event) ? 1U : 0U;
      } else {
        absent += ' ' + name(event);
      }
    }
    if (request.answer == Answer::refused && found > 0) {
      add_complaint("refused and delivered: request " + std::to_string(number));
      continue;
    }
    const bool may_be_absent = request.answer != Answer::acknowledged && found == early;
    if (found == request.events.size() || may_be_absent || request.written_off) continue;
    missing += request.events.size() - found;
    if (missing <= excused_) continue;
    add_complaint(
        (request.answer == Answer::acknowledged ? "acknowledged and not delivered:" : "half delivered, without:") +
        absent + " (of " + std::to_string(request.events.size()) + ')');
  }
}

void Oracle::forget_settles() {
  const std::scoped_lock lock(mutex_);
  settles_count_ = false;
}

void Oracle::write_off() {
  const std::scoped_lock lock(mutex_);
  for (Request& request : requests_) request.written_off = true;
}

void Oracle::excuse(std::uint64_t lost) {
  const std::scoped_lock lock(mutex_);
  excused_ += lost;
}

void Oracle::complain(std::string what) {
  const std::scoped_lock lock(mutex_);
  add_complaint(std::move(what));
}

std::vector<std::string> Oracle::complaints() const {
  const std::scoped_lock lock(mutex_);
  return complaints_;
}

std::size_t Oracle::acknowledged() const {
  const std::scoped_lock lock(mutex_);
  std::size_t count = 0;
  for (const Request& request : requests_) count += request.answer == Answer::acknowledged ? 1U : 0U;
  return count;
}

// This id and this event were seen together.
void Oracle::meet(const sluice::EventId& id, std::uint64_t event, std::string_view where) {
  const std::string at = std::string(where) + ' ' + to_string(id) + ": ";
  if (!places_.contains(event)) return add_complaint(at + "nobody sent this payload");
  const auto [by_id, new_id] = ids_.emplace(id, event);
  if (!new_id && by_id->second != event) {
    add_complaint(at + "the id of " + name(by_id->second) + " belongs to " + name(event) + " as well");
  }
  const auto [by_event, new_event] = names_.emplace(event, id);
  if (!new_event && by_event->second != id) {
    add_complaint(at + name(event) + " was known as " + to_string(by_event->second));
  }
}

void Oracle::add_complaint(std::string what) {
  constexpr std::size_t kEnough = 20;  // one broken rule breaks a thousand times
  if (complaints_.size() < kEnough) complaints_.push_back(std::move(what));
}

std::string Oracle::name(std::uint64_t event) const {
  const auto place = places_.find(event);
  if (place == places_.end()) return "an unknown event";
  std::string text = 'r' + std::to_string(place->second.request) + '.' + std::to_string(place->second.index);
  if (const auto id = names_.find(event); id != names_.end()) text += '=' + std::to_string(id->second.sequence);
  return text;
}

}  // namespace model
