// How a test has sluiced end at an instant of the journal (lib/journal/disk.h): the program that does, and what its
// environment says to it.
#pragma once

#include <array>
#include <string_view>

namespace test {

// NAME:N, the instant and at which of its passes. Not set: it never ends itself.
inline constexpr const char* kEndAtInstant = "SLUICE_END_AT";

// By their names in the code, and in their order there.
inline constexpr std::array<std::string_view, 11> kInstantNames{
    "after_append", "before_sync",   "after_sync",   "at_rotation", "after_create", "before_settle",
    "after_settle", "before_unlink", "after_unlink", "after_copy",  "at_recovery"};

}  // namespace test
