// A file descriptor with one owner, closed with the object; and reading and writing through it without short counts.
// One thread at a time.
#pragma once

#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace sluice {

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}  // negative: none
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor();

  [[nodiscard]] bool is_open() const noexcept { return number_ >= 0; }
  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

  // Reads the next bytes, at most as many as the buffer holds; `got` is empty at the end of the file.
  [[nodiscard]] std::error_code read(std::span<char> buffer, std::string_view& got) const;
  // Writes all of it.
  [[nodiscard]] std::error_code write(std::string_view bytes) const;

 private:
  int number_;
};

// errno as an error code.
[[nodiscard]] std::error_code last_error() noexcept;

}  // namespace sluice
