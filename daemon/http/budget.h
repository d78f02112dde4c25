// The bytes that a server may hold for its clients: bodies being received, requests half read, answers nobody reads
// yet. A Budget is shared by all threads of a server (one atomic); ChargedBytes belongs to one connection and its
// thread. It refuses, never waits: who finds no room answers 429 and closes.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace sluiced::http {

class Budget {
 public:
  explicit Budget(std::size_t limit) noexcept : limit_(limit) {}
  ~Budget() { assert(used_ == 0 && "a budget ended with bytes charged"); }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  [[nodiscard]] bool try_charge(std::size_t bytes) noexcept {
    std::size_t used = used_.load();
    do {
      if (bytes > limit_ - used) return false;  // 0 <= used <= limit_
    } while (!used_.compare_exchange_weak(used, used + bytes));
    return true;
  }
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

// A charge that is given back by its destructor.
class Charge {
 public:
  explicit Charge(Budget& budget) noexcept : budget_(budget) {}
  ~Charge() { budget_.give_back(bytes_); }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

  // On false it is as it was.
  [[nodiscard]] bool try_add(std::size_t bytes) noexcept {
    if (!budget_.try_charge(bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  void give_back(std::size_t bytes) noexcept {
    budget_.give_back(bytes);
    bytes_ -= bytes;
  }

 private:
  Budget& budget_;
  std::size_t bytes_ = 0;
};

// Bytes that are charged, by capacity, before there is room for them. Empty ones hold nothing.
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

  // Room for this many in all. False: the budget has none, and nothing changed.
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

  // Where the next bytes may be written, and that so many were.
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
  std::size_t capacity_ = 0;  // what is charged
};

}  // namespace sluiced::http
