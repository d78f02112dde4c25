// The words of a command line: which are flags, which are their values, which are neither; how --help and complaints
// show them. Its .cc is the only file that includes cxxopts. Pure functions; one thread. Every value stays text: the
// vectors of cxxopts would split a path at a comma, its numbers accept "0x7".
#pragma once

#include <fmt/format.h>

#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flags/flag.h"

namespace sluiced::flags {

struct Name {
  std::string_view name;
  char letter = 0;  // 0: none
  bool takes_value = true;
};

struct Words {
  std::vector<std::pair<std::string, std::string>> flags;  // by long name, in the order given; "" without a value
  std::vector<std::string> others;                         // operands and unknown flags

  [[nodiscard]] bool has(std::string_view flag) const;
};

// Nothing: the last word is a flag whose value is missing.
[[nodiscard]] std::optional<Words> take_apart(std::span<const char* const> args, const std::vector<Name>& names);

template <class Values>
std::vector<Name> names_of(const std::vector<Group<Values>>& groups) {
  std::vector<Name> names;
  for (const auto& group : groups) {
    for (const auto& flag : group.flags) names.push_back({flag.name, flag.letter, !flag.argument.empty()});
  }
  return names;
}

// The flag of a name that take_apart() has returned.
template <class Values>
const Flag<Values>& flag_named(const std::vector<Group<Values>>& groups, std::string_view name) {
  for (const auto& group : groups) {
    for (const auto& flag : group.flags) {
      if (flag.name == name) return flag;
    }
  }
  throw std::logic_error("a flag that is not in the table");
}

// A line of --help.
[[nodiscard]] std::string help_line(const Name& flag, std::string_view argument, std::string_view meaning,
                                    std::string_view fallback);

template <class Values>
std::string help_of(const Group<Values>& group) {
  std::string text = fmt::format("\n{}\n", group.title);
  for (const auto& flag : group.flags)
    text += help_line({flag.name, flag.letter}, flag.argument, flag.meaning, flag.fallback);
  return text;
}

// A word of the command line inside a message: in quotes where its ends would not show, cut off if it is very long.
[[nodiscard]] std::string shown(std::string_view word);

// One line, whatever was typed.
[[nodiscard]] std::string on_one_line(std::string_view words);

[[nodiscard]] bool is_flag(std::string_view word) noexcept;

}  // namespace sluiced::flags
