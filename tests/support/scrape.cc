// Lines of the text format: comments begin with #, others are a series, a space and a number.
#include "support/scrape.h"

#include <sstream>
#include <stdexcept>

namespace test {

namespace {

Scrape read(const Answer& answer) {
  if (answer.status != 200) throw std::runtime_error("a scrape is answered " + std::to_string(answer.status));
  Scrape scrape;
  scrape.text = answer.body;
  std::istringstream lines(answer.body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    const auto space = line.rfind(' ');
    if (space == std::string::npos) throw std::runtime_error("no line of a scrape: " + line);
    if (!scrape.numbers.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second)
      throw std::runtime_error("twice in one scrape: " + line);
  }
  return scrape;
}

}  // namespace

double Scrape::of(const std::string& series) const {
  const auto found = numbers.find(series);
  if (found == numbers.end()) throw std::runtime_error("not in the scrape: " + series);
  return found->second;
}

std::optional<Scrape> try_scrape(Client& admin) {
  const Answer answer = admin.ask(get("/metrics"));
  return answer.status == 0 ? std::nullopt : std::optional(read(answer));
}

Scrape scrape(const std::string& admin) { return read(ask_once(admin, get("/metrics"))); }

}  // namespace test
