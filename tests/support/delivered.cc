// Reading sinks.
#include "support/delivered.h"

#include <sqlite3.h>

#include <charconv>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string_view>

namespace test {
namespace {

// Counts the event whose payload is somewhere in `text`.
void count(std::string_view text, std::vector<std::uint8_t>& into) {
  const std::size_t k = number_of(text);
  if (k >= into.size()) throw std::runtime_error("in the sink, and no event of the load: " + std::string(text));
  if (into[k] < 255) ++into[k];
}

// Calls `row` with each value of the column.
template <class Row>
void each_row(const std::filesystem::path& path, const std::string& column, const Row& row) {
  sqlite3* raw = nullptr;
  const int opened = ::sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);  // a WAL may be left
  const std::unique_ptr<sqlite3, decltype(&::sqlite3_close)> db(raw, &::sqlite3_close);
  sqlite3_stmt* prepared = nullptr;
  const std::string query = "SELECT " + column + " FROM events ORDER BY id";
  if (opened != SQLITE_OK || ::sqlite3_prepare_v2(raw, query.c_str(), -1, &prepared, nullptr) != SQLITE_OK) {
    throw std::runtime_error(path.string() + ": " + ::sqlite3_errmsg(raw));
  }
  const std::unique_ptr<sqlite3_stmt, decltype(&::sqlite3_finalize)> statement(prepared, &::sqlite3_finalize);
  int step = 0;
  while ((step = ::sqlite3_step(prepared)) == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(::sqlite3_column_blob(prepared, 0));
    row(std::string_view(text, static_cast<std::size_t>(::sqlite3_column_bytes(prepared, 0))));
  }
  if (step != SQLITE_DONE) throw std::runtime_error(path.string() + ": " + ::sqlite3_errmsg(raw));
}

}  // namespace

std::size_t number_of(std::string_view text) {
  constexpr std::string_view kMark = R"({"k":)";
  const auto at = text.rfind(kMark);
  std::size_t k = std::string_view::npos;
  if (at != std::string_view::npos) std::from_chars(text.data() + at + kMark.size(), text.data() + text.size(), k);
  return k;
}

std::vector<std::uint8_t> delivered_to_file(const std::filesystem::path& path, std::size_t events) {
  std::vector<std::uint8_t> counts(events);
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) count(line, counts);
  return counts;
}

std::vector<std::uint8_t> delivered_to_sqlite(const std::filesystem::path& path, std::size_t events) {
  std::vector<std::uint8_t> counts(events);
  each_row(path, "payload", [&](std::string_view text) { count(text, counts); });
  return counts;
}

Disagreement compare(const Fates& told, const std::vector<std::uint8_t>& delivered) {
  Disagreement found;
  for (std::size_t k = 0; k < delivered.size(); ++k) {
    const std::size_t there = delivered[k] > 0 ? 1 : 0;
    found.doubled += delivered[k] > 1 ? 1 : 0;
    switch (told.of[k]) {
      case Fate::acknowledged:
        found.missing += 1 - there;
        break;
      case Fate::refused:
        found.refused_but_there += there;
        break;
      case Fate::unknown:
        found.unanswered_but_there += there;
        break;
      case Fate::unsent:
        found.unsent_but_there += there;
        break;
    }
  }
  return found;
}

void add(Fates& told, const Fates& later) {
  if (told.of.size() < later.of.size()) told.of.resize(later.of.size(), Fate::unsent);
  for (std::size_t k = 0; k < later.of.size(); ++k) {
    if (later.of[k] != Fate::unsent) told.of[k] = later.of[k];
  }
  told.acknowledged += later.acknowledged;
  told.refused += later.refused;
  told.unknown += later.unknown;
  for (const auto& [status, requests] : later.answers) told.answers[status] += requests;
  told.resets += later.resets;
  told.oddities.insert(told.oddities.end(), later.oddities.begin(), later.oddities.end());
}

std::vector<std::string> sqlite_column(const std::filesystem::path& path, const std::string& column) {
  std::vector<std::string> rows;
  each_row(path, column, [&](std::string_view text) { rows.emplace_back(text); });
  return rows;
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace test
