// The arguments of the benchmark's programs: words first, then NAME=VALUE in any order. What nobody asks for is
// refused.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument(argv[i]);
      const std::size_t equals = argument.find('=');
      if (equals == std::string_view::npos) {
        words_.emplace_back(argument);
      } else {
        values_.emplace(argument.substr(0, equals), argument.substr(equals + 1));
      }
    }
  }

  // The word at that place, from 0.
  [[nodiscard]] const std::string& word(std::size_t place) const {
    if (place >= words_.size()) throw std::invalid_argument("too few arguments");
    return words_[place];
  }

  // Each takes what it returns, so that in the end nothing may be left.
  [[nodiscard]] std::string text(const char* name) {
    const auto at = values_.find(name);
    if (at == values_.end()) return {};
    std::string value = std::move(at->second);
    values_.erase(at);
    return value;
  }
  [[nodiscard]] double number(const char* name, double otherwise) {
    const std::string value = text(name);
    return value.empty() ? otherwise : std::stod(value);
  }
  [[nodiscard]] std::size_t count(const char* name, std::size_t otherwise) {
    const std::string value = text(name);
    return value.empty() ? otherwise : std::stoul(value);
  }
  void no_more() const {
    if (!values_.empty()) throw std::invalid_argument("unknown: " + values_.begin()->first);
  }

 private:
  std::vector<std::string> words_;
  std::map<std::string, std::string, std::less<>> values_;
};

// What each main does: run with the arguments; 1 if that throws, and the reason on stderr.
inline int run_main(int argc, char** argv, const std::function<void(Arguments&)>& run) {
  try {
    Arguments arguments(argc, argv);
    run(arguments);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}

}  // namespace bench
