// A buffer whose capacity is charged to a Budget before it is allocated. Belongs to one connection and its thread. It
// refuses to grow where the budget has no room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "http/budget.h"

namespace sluiced::http {

// Empty ones hold nothing.
class ChargedBytes {
 public:
  explicit ChargedBytes(Budget& budget) noexcept : budget_(budget) {}
  ~ChargedBytes() { release(); }
  ChargedBytes(const ChargedBytes&) = delete;
  ChargedBytes& operator=(const ChargedBytes&) = delete;
  ChargedBytes(ChargedBytes&& other) noexcept
      : budget_(other.budget_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}

  [[nodiscard]] std::string_view view() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  // A capacity of this many bytes in all. False: the budget has no room, and nothing changed.
  [[nodiscard]] bool try_reserve(std::size_t capacity) noexcept {
    if (capacity <= capacity_) return true;
    if (!budget_.try_charge(capacity - capacity_)) return false;
    void* grown = std::realloc(data_, capacity);
    if (grown == nullptr) {
      budget_.give_back(capacity - capacity_);
      return false;
    }
    data_ = static_cast<char*>(grown);
    capacity_ = capacity;
    return true;
  }

  // Grows by doubling where it must.
  [[nodiscard]] bool try_append(std::string_view bytes) noexcept {
    constexpr std::size_t least = 512;  // most half-read heads fit
    const std::size_t needed = size_ + bytes.size();
    if (needed > capacity_ && !try_reserve(std::max({least, needed, 2 * capacity_})) && !try_reserve(needed))
      return false;
    if (data_ != nullptr && !bytes.empty()) std::memcpy(data_ + size_, bytes.data(), bytes.size());
    size_ = needed;
    return true;
  }

  // Free space at the end, and commit() for what was written there.
  [[nodiscard]] char* space() noexcept { return data_ + size_; }
  [[nodiscard]] std::size_t room() const noexcept { return capacity_ - size_; }
  void commit(std::size_t bytes) noexcept { size_ += bytes; }

  void drop_front(std::size_t bytes) noexcept {
    if (bytes >= size_ || data_ == nullptr) return release();
    if (bytes == 0) return;
    std::memmove(data_, data_ + bytes, size_ - bytes);
    size_ -= bytes;
  }

  void drop_back(std::size_t bytes) noexcept { size_ -= std::min(bytes, size_); }

  void release() noexcept {
    std::free(std::exchange(data_, nullptr));
    budget_.give_back(std::exchange(capacity_, 0));
    size_ = 0;
  }

 private:
  Budget& budget_;
  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;  // as charged
};

}  // namespace sluiced::http
