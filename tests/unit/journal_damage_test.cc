// Bad bytes: the specimen with each of its bytes flipped in turn, and with each of its files cut off at each length.
// What must come of it says the oracle; a start and a look from outside must agree with it, and so with each other.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "unit/journal_trial.h"

using namespace trial;

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
  const Expected expected = expected_undamaged(specimen());
  CHECK(expected.delivered.size() > 20);
  CHECK(expected.lost == 0);
  CHECK(expected.holes.empty());
  const Shelf shelf(specimen().files);
  CHECK(complaints_of_start(specimen().files, expected) == std::vector<std::string>{});
  CHECK(complaints_of_view(shelf, expected) == std::vector<std::string>{});
}

TEST_CASE("journal damage: whichever byte is another, all that is intact comes, and nothing else") {
  constexpr std::array<unsigned char, 3> kBits{0x01, 0x80, 0xFF};
  Trials trials(specimen());
  std::uint64_t turn = 0;
  for (const auto& [file, bytes] : specimen().files) {
    for (const std::uint64_t at : places_in(bytes)) {
      const unsigned char bits = kBits[turn % kBits.size()];
      if (turn++ % kTrialStride == 0)
        trials.of(fmt::format("{} at {} ^ {:#x}", file, at, bits), flip(specimen(), file, at, bits));
    }
  }
}

TEST_CASE("journal damage: wherever a file ends too early, all that is intact comes, and nothing else") {
  Trials trials(specimen());
  std::uint64_t turn = 0;
  for (const auto& [file, bytes] : specimen().files) {
    for (const std::uint64_t length : places_in(bytes)) {
      if (turn++ % kTrialStride == 0)
        trials.of(fmt::format("{} cut off at {}", file, length), cut_off(specimen(), file, length));
    }
  }
}
