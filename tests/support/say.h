// Durations in doctest's messages.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace doctest {

template <>
struct StringMaker<std::chrono::milliseconds> {
  static String convert(const std::chrono::milliseconds& duration) {
    return (std::to_string(duration.count()) + "ms").c_str();
  }
};

}  // namespace doctest
