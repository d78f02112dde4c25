// Journals as earlier builds have written them, kept in tests/unit/journals: every later build opens each, takes all
// that is in it, and says the same of it from outside. One file a journal, as text:
//   file NAME SIZE            of the journal's directory, zeros but for
//   OFFSET HEX                these bytes
//   event RUN-SEQ PAYLOAD     what must come of it
// With SLUICE_WRITE_JOURNAL=FILE this build's own is written there, to be kept beside them when it is released.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "unit/journal_trial.h"

using namespace trial;

namespace {

struct Kept {
  Files files;
  Expected expected;
};

std::string bytes_of(std::string_view hex) {
  std::string bytes;
  for (; hex.size() >= 2; hex.remove_prefix(2)) {
    unsigned char byte = 0;
    std::from_chars(hex.data(), hex.data() + 2, byte, 16);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

// The first word of the line, which is cut off.
std::string_view take_word(std::string_view& line) {
  const auto end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

std::size_t number_of(std::string_view text) {
  std::size_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Kept read(const std::filesystem::path& from) {
  Kept kept;
  std::ifstream in(from);
  std::string* file = nullptr;
  for (std::string text; std::getline(in, text);) {
    std::string_view line = text;
    if (line.starts_with('#')) continue;
    const std::string_view first = take_word(line);
    if (first == "file") {
      file = &kept.files[std::string(take_word(line))];
      file->resize(number_of(line));
    } else if (first == "event") {
      const std::string id(take_word(line));
      kept.expected.delivered[id] = line;
    } else {
      REQUIRE(file != nullptr);
      const std::string bytes = bytes_of(line);
      file->replace(number_of(first), bytes.size(), bytes);
    }
  }
  return kept;
}

void write(const Specimen& of, std::ostream& out) {
  constexpr std::size_t kRow = 32;
  for (const auto& [name, bytes] : of.files) {
    out << "file " << name << ' ' << bytes.size() << '\n';
    for (std::size_t at = 0; at < bytes.size(); at += kRow) {
      const std::string_view row = std::string_view(bytes).substr(at, kRow);
      if (row.find_first_not_of('\0') == std::string_view::npos) continue;
      out << at << ' ';
      for (const char byte : row) out << fmt::format("{:02x}", static_cast<unsigned char>(byte));
      out << '\n';
    }
  }
  for (const auto& [id, payload] : expected_undamaged(of).delivered) out << "event " << id << ' ' << payload << '\n';
}

}  // namespace

TEST_CASE("journal versions: what any earlier build has left is opened, all of it comes, and it looks whole") {
  std::size_t journals = 0;
  for (const auto& entry : std::filesystem::directory_iterator(JOURNALS)) {
    INFO(entry.path().filename().string());
    const Kept kept = read(entry.path());
    REQUIRE(kept.files.size() > 10);
    REQUIRE(kept.expected.delivered.size() > 20);
    CHECK(complaints_of_start(kept.files, kept.expected) == std::vector<std::string>{});
    CHECK(complaints_of_view(Shelf(kept.files), kept.expected) == std::vector<std::string>{});
    ++journals;
  }
  CHECK(journals >= 2);
}

TEST_CASE("journal versions: what this build leaves can be kept as a text, and read back from it") {
  const char* const wanted = std::getenv("SLUICE_WRITE_JOURNAL");
  const test::TempDir dir;
  const std::filesystem::path to = wanted != nullptr ? std::filesystem::path(wanted) : dir.path() / "journal";
  {
    std::ofstream out(to);
    write(specimen(), out);
  }
  const Kept kept = read(to);
  CHECK(kept.files == specimen().files);
  CHECK(kept.expected == expected_undamaged(specimen()));
}
