// Bad bytes: the specimen with each of its bytes flipped in turn, and with each of its files cut off at each length.
// What must come of it says the oracle; a start and a look from outside must agree with it, and so with each other.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "unit/journal_trial.h"

namespace {

using namespace trial;

// A sanitizer takes each trial twenty times as long; every so manieth finds what it is there for.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kStride = 29;
#else
constexpr std::uint64_t kStride = 1;
#endif

// More would say nothing more.
constexpr int kMostSaid = 10;

class Trials {
 public:
  void of(const std::string& what, const Damage& damage) {
    const Expected expected = expected_of(damage);
    ++made_;
    lost_ += expected.lost;
    aside_ += expected.set_aside.size();
    torn_ += std::ranges::count_if(expected.holes, &Hole::torn);
    const auto complaints = complaints_of(shelf_, damage, expected);
    if (complaints.empty()) return;
    if (++failed_ <= kMostSaid) MESSAGE(what, ":\n  ", fmt::format("{}", fmt::join(complaints, "\n  ")));
  }
  ~Trials() {
    CHECK(failed_ == 0);
    MESSAGE(made_, " trials: ", lost_, " events lost, ", aside_, " segments set aside, ", torn_, " torn holes");
    // Else they were about nothing.
    CHECK(lost_ > 0);
    CHECK(aside_ > 0);
    CHECK(torn_ > 0);
  }
  Trials() = default;
  Trials(const Trials&) = delete;
  Trials& operator=(const Trials&) = delete;

 private:
  Shelf shelf_;
  int failed_ = 0;
  std::uint64_t made_ = 0, lost_ = 0, aside_ = 0;
  std::ptrdiff_t torn_ = 0;
};

// Where anything is written, padding and the word behind it included; and some places in what is zeros.
std::vector<std::uint64_t> places_in(const std::string& bytes) {
  std::vector<std::uint64_t> places;
  std::uint64_t next_zero = 0;
  std::uint64_t used_to = 0;
  for (std::uint64_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] != '\0') used_to = at + 16;
    if (at >= used_to && at < next_zero) continue;
    if (at >= used_to) next_zero = at + (at < 16384 ? 509 : 16381);
    places.push_back(at);
  }
  return places;
}

}  // namespace

TEST_CASE("journal damage: the specimen holds what it is there for, and undamaged all of it is taken") {
  std::map<Record::Kind, int> kinds;
  int copies = 0, sealed = 0, named = 0;
  for (const Segment& segment : specimen().segments) {
    for (const Record& record : segment.records) {
      ++kinds[record.kind];
      sealed += record.kind == Record::Kind::footer;
    }
    kinds[Record::Kind::settles] += static_cast<int>(segment.settles.size());
    copies += segment.copies;
    named += segment.named_by != 0;
  }
  CHECK(specimen().segments.size() == 9);
  CHECK(kinds[Record::Kind::event] > 40);
  CHECK(kinds[Record::Kind::settles] >= 10);
  CHECK(copies == 2);
  CHECK(sealed == 6);
  CHECK(named >= 4);
  const Expected expected = expected_undamaged();
  CHECK(expected.delivered.size() > 20);
  CHECK(expected.lost == 0);
  CHECK(expected.holes.empty());
  Shelf shelf;
  CHECK(complaints_of_start(specimen().files, expected) == std::vector<std::string>{});
  CHECK(complaints_of_view(shelf, expected) == std::vector<std::string>{});
}

TEST_CASE("journal damage: whichever byte is another, all that is intact comes, and nothing else") {
  constexpr std::array<unsigned char, 3> kBits{0x01, 0x80, 0xFF};
  Trials trials;
  std::uint64_t turn = 0;
  for (const auto& [file, bytes] : specimen().files) {
    for (const std::uint64_t at : places_in(bytes)) {
      const unsigned char bits = kBits[turn % kBits.size()];
      if (turn++ % kStride == 0) trials.of(fmt::format("{} at {} ^ {:#x}", file, at, bits), flip(file, at, bits));
    }
  }
}

TEST_CASE("journal damage: wherever a file ends too early, all that is intact comes, and nothing else") {
  Trials trials;
  std::uint64_t turn = 0;
  for (const auto& [file, bytes] : specimen().files) {
    for (const std::uint64_t length : places_in(bytes)) {
      if (turn++ % kStride == 0) trials.of(fmt::format("{} cut off at {}", file, length), cut_off(file, length));
    }
  }
}
