// The common kinds of flags: counts, sizes, durations, choices, toggles. Each refuses a value that is not in its range,
// with a text that says what is allowed. Pure functions; one thread.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flags/flag.h"
#include "text/quantity.h"

namespace sluiced::flags {

// Stores `value` if there is one and it is within the range.
template <class Number>
Answer take(Number& target, const std::optional<Number>& value, Number least, Number most, std::string allowed) {
  if (!value || *value < least || *value > most) return wrong(std::move(allowed));
  target = *value;
  return std::nullopt;
}

template <class Values>
Flag<Values> count(std::string_view name, std::string_view meaning, std::size_t Values::*member, std::size_t least,
                   std::size_t most) {
  return {.name = name,
          .argument = "N",
          .meaning = std::string(meaning),
          .fallback = fmt::to_string(Values{}.*member),
          .set = [=](Values& values, std::string_view text) {
            auto allowed = fmt::format("an integer from {} to {}", least, most);
            return take(values.*member, sluice::parse_count(text), least, most, std::move(allowed));
          }};
}

template <class Values>
Flag<Values> size(std::string_view name, std::string_view meaning, std::size_t Values::*member, std::size_t least,
                  std::size_t most) {
  return {.name = name,
          .argument = "SIZE",
          .meaning = std::string(meaning),
          .fallback = sluice::size_text(Values{}.*member),
          .set = [=](Values& values, std::string_view text) {
            return take<std::size_t>(values.*member, sluice::parse_size(text), least, most,
                                     fmt::format("a size from {} to {}: an integer, bare or with B KiB MiB GiB",
                                                 sluice::size_text(least), sluice::size_text(most)));
          }};
}

template <class Values>
Flag<Values> duration(std::string_view name, std::string_view meaning, std::chrono::nanoseconds Values::*member,
                      std::chrono::nanoseconds least, std::chrono::nanoseconds most) {
  return {.name = name,
          .argument = "DUR",
          .meaning = std::string(meaning),
          .fallback = sluice::duration_text(Values{}.*member),
          .set = [=](Values& values, std::string_view text) {
            return take<std::chrono::nanoseconds>(
                values.*member, sluice::parse_duration(text), least, most,
                fmt::format("a duration from {} to {}: an integer with us ms s min h", sluice::duration_text(least),
                            sluice::duration_text(most)));
          }};
}

// `choices`: in the order in which --help and complaints name them.
template <class Value, class Values>
Flag<Values> choice(std::string_view name, std::string_view meaning, Value Values::*member,
                    std::vector<std::pair<std::string_view, Value>> choices) {
  std::string words;
  for (const auto& [word, value] : choices) words.append(words.empty() ? "" : ", ").append(word);
  Flag<Values> flag{
      .name = name, .argument = "WORD", .meaning = fmt::format("{}: {}", meaning, words), .fallback = {}, .set = {}};
  for (const auto& [word, value] : choices) {
    if (value == Values{}.*member) flag.fallback = word;
  }
  flag.set = [member, choices = std::move(choices), words](Values& values, std::string_view text) -> Answer {
    for (const auto& [word, value] : choices) {
      if (word != text) continue;
      values.*member = value;
      return std::nullopt;
    }
    return wrong(fmt::format("one of {}", words));
  };
  return flag;
}

// A flag without a value; `member` may be null.
template <class Values>
Flag<Values> toggle(std::string_view name, std::string_view meaning, bool Values::*member) {
  return {.name = name,
          .argument = {},
          .meaning = std::string(meaning),
          .fallback = {},
          .set = [=](Values& values, std::string_view text) -> Answer {
            if (!text.empty()) return wrong("nothing; this flag takes no value");
            if (member != nullptr) values.*member = true;
            return std::nullopt;
          },
          .repeatable = true};
}

template <class Values>
Flag<Values> with_letter(char letter, Flag<Values> flag) {
  flag.letter = letter;
  return flag;
}

template <class Values>
Flag<Values> with_fallback(std::string_view fallback, Flag<Values> flag) {
  flag.fallback = fallback;
  return flag;
}

}  // namespace sluiced::flags
