// The one source of chance in a model run: the same seed throws the same numbers on every machine and standard library.
// One thread, or under its owner's lock. Not for keys or ids: everybody can guess it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace model {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) noexcept : state_(seed) {}

  // SplitMix64: neighbouring seeds give unrelated numbers, so runs can be numbered from 0.
  std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }

  // 0 <= below(n) < n; below(0) is 0. The bias of the remainder is far below what a test could see.
  std::size_t below(std::size_t limit) noexcept { return limit == 0 ? 0 : static_cast<std::size_t>(next() % limit); }
  std::size_t between(std::size_t least, std::size_t most) noexcept { return least + below(most - least + 1); }
  bool one_in(std::size_t n) noexcept { return below(n) == 0; }
  bool coin() noexcept { return one_in(2); }

 private:
  std::uint64_t state_;
};

}  // namespace model
