// What a command says to a test by way of its environment.
#pragma once

#include <cstdlib>
#include <string>

namespace test {

// Throws on what is no number.
inline unsigned number_in_environment(const char* name, unsigned otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
}

// A program under test: as it was built, or the one of that name in $SLUICE_TEST_PROGRAMS.
inline std::string program(const std::string& built) {
  const char* const folder = std::getenv("SLUICE_TEST_PROGRAMS");
  return folder == nullptr ? built : folder + built.substr(built.rfind('/'));
}

}  // namespace test
