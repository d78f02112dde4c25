// What a scrape of /metrics says, as numbers. Throws on what is no answer or no number; whether the text is
// Prometheus's is promtool's to say.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "support/client.h"

namespace test {

struct Scrape {
  std::string text;
  std::map<std::string, double> numbers;  // by series, as it is written: `sluice_refused_total{reason="full"}`

  [[nodiscard]] double of(const std::string& series) const;  // throws if it is not there
  [[nodiscard]] std::uint64_t count(const std::string& series) const { return static_cast<std::uint64_t>(of(series)); }
  [[nodiscard]] std::uint64_t refused(const std::string& reason) const {
    return count("sluice_refused_total{reason=\"" + reason + "\"}");
  }
};

// On a connection that stays; nothing if it ends.
[[nodiscard]] std::optional<Scrape> try_scrape(Client& admin);
[[nodiscard]] Scrape scrape(const std::string& admin);

}  // namespace test
