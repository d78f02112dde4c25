// A flag of a command line: name, meaning, default and how a value gets into its member. The parser, the checks and
// --help of sluiced and of sluicectl are made from a table of these (kinds.h makes the common kinds). Values; one
// thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluiced::flags {

inline constexpr int kUsage = 64;     // EX_USAGE: the flag itself is wrong
inline constexpr int kUnusable = 78;  // EX_CONFIG: well formed, unusable here

// Why a value is refused; the text says what is allowed.
struct Complaint {
  int code;
  std::string text;
};
using Answer = std::optional<Complaint>;  // nothing: the value is taken

inline Answer wrong(std::string allowed) { return Complaint{kUsage, std::move(allowed)}; }

template <class Values>
struct Flag {
  std::string_view name;
  char letter = 0;            // 0: none
  std::string_view argument;  // the name of the value in --help; empty: the flag takes none
  std::string meaning;
  std::string fallback;  // what holds without the flag, as --help shows it
  std::function<Answer(Values&, std::string_view)> set;
  bool repeatable = false;
};

template <class Values>
struct Group {
  std::string_view title;
  std::vector<Flag<Values>> flags;
};

}  // namespace sluiced::flags
