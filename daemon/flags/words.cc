// See the header.
#include "flags/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cxxopts.hpp>

namespace sluiced::flags {

bool Words::has(std::string_view flag) const {
  return std::ranges::any_of(flags, [flag](const auto& given) { return given.first == flag; });
}

std::optional<Words> take_apart(std::span<const char* const> args, const std::vector<Name>& names) {
  cxxopts::Options grammar("");
  grammar.allow_unrecognised_options();  // returned in unmatched(), for a message of ours
  for (const Name& flag : names) {
    const auto value = cxxopts::value<std::string>();
    if (!flag.takes_value) value->implicit_value("");
    const std::string letter = flag.letter != 0 ? fmt::format("{},", flag.letter) : std::string{};
    grammar.add_options()(fmt::format("{}{}", letter, flag.name), "", value);
  }
  std::vector<const char*> argv{""};
  argv.insert(argv.end(), args.begin(), args.end());
  try {
    const cxxopts::ParseResult parsed = grammar.parse(static_cast<int>(argv.size()), argv.data());
    Words words{.flags = {}, .others = parsed.unmatched()};
    for (const auto& word : parsed.arguments()) words.flags.emplace_back(word.key(), word.value());
    return words;
  } catch (const cxxopts::exceptions::missing_argument&) {
    return std::nullopt;  // thrown only for a last word that needs one more
  }
}

std::string help_line(const Name& flag, std::string_view argument, std::string_view meaning,
                      std::string_view fallback) {
  const std::string letter = flag.letter != 0 ? fmt::format("-{},", flag.letter) : std::string{};
  const std::string name = fmt::format("  {:3} --{} {} ", letter, flag.name, argument);
  const std::string line = fmt::format("{:78}{}", fmt::format("{:31}{} ", name, meaning), fallback);
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string shown(std::string_view word) {
  constexpr std::size_t kMax = 200;
  if (word.size() > kMax) return fmt::format("{}...", word.substr(0, kMax));
  return word.empty() || word.find(' ') != std::string_view::npos ? fmt::format("'{}'", word) : std::string(word);
}

std::string on_one_line(std::string_view words) {
  std::string text(words);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
  return text;
}

bool is_flag(std::string_view word) noexcept { return word.size() > 1 && word.front() == '-'; }

}  // namespace sluiced::flags
