// What the fuzzers share. Each is one function from bytes to a check: that what it looks at does not crash is the
// least; what it must hold beside that is said in each file's first comment. A must() that does not hold aborts, and
// libFuzzer writes down the bytes that led there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace fuzz {

inline void must(bool holds, const char* what, std::string_view seen = {}) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n%.*s\n", what, static_cast<int>(seen.size()), seen.data());
  std::abort();
}

// A copy that is not a byte longer than it says, so that who reads behind it is seen.
class Exact {
 public:
  explicit Exact(std::string_view text) : size_(text.size()), bytes_(new char[text.size()]) {
    std::copy(text.begin(), text.end(), bytes_.get());
  }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<char[]> bytes_;
};

// Takes pieces off the front of a text, up to a mark.
class Pieces {
 public:
  explicit Pieces(std::string_view text) noexcept : left_(text) {}

  [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
  [[nodiscard]] std::string_view next(char mark) noexcept {
    const std::string_view piece = left_.substr(0, left_.find(mark));
    left_.remove_prefix(std::min(left_.size(), piece.size() + 1));
    return piece;
  }
  [[nodiscard]] std::string_view rest() const noexcept { return left_; }

 private:
  std::string_view left_;
};

// The input of a libFuzzer's call.
inline std::string_view view(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
