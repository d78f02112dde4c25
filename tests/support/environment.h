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

}  // namespace test
