// What a sink holds of the events of a Load, and how that fits what the load's clients were told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "support/load.h"

namespace test {

// The number of the event whose payload is somewhere in `text`, the last one if there are more; npos if there is none.
[[nodiscard]] std::size_t number_of(std::string_view text);

// How often each event stands in the sink, by number. Throws on a line or row that is none of a Load's events.
[[nodiscard]] std::vector<std::uint8_t> delivered_to_file(const std::filesystem::path& path, std::size_t events);
[[nodiscard]] std::vector<std::uint8_t> delivered_to_sqlite(const std::filesystem::path& path, std::size_t events);

// Where clients and sink disagree; all 0 is what Sluice promises.
struct Disagreement {
  std::size_t missing = 0;  // acknowledged, and not in the sink
  std::size_t doubled = 0;  // more than once in it
  std::size_t refused_but_there = 0;
  std::size_t unanswered_but_there = 0;  // taken, and the answer did not arrive
  std::size_t unsent_but_there = 0;
};
[[nodiscard]] Disagreement compare(const Fates& told, const std::vector<std::uint8_t>& delivered);

// Adds what the clients of a later load were told: the two share no number.
void add(Fates& told, const Fates& later);

// All rows of `SELECT column FROM events ORDER BY id`.
[[nodiscard]] std::vector<std::string> sqlite_column(const std::filesystem::path& path, const std::string& column);

// The lines of a file, without their ends.
[[nodiscard]] std::vector<std::string> lines_of(const std::filesystem::path& path);

}  // namespace test
