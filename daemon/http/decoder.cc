// The decoder of a coding, and the memory of the libraries. Each library is used by one file: inflate.cc, zstd.cc.
// Thread: see the header.
#include "http/decoder.h"

#include <cstdlib>
#include <new>

namespace sluiced::http {
namespace {

// Each allocation is preceded by its size, in a space that keeps it aligned for any type.
constexpr std::size_t kBefore = alignof(std::max_align_t);
static_assert(kBefore >= sizeof(std::size_t));

}  // namespace

void* CodecMemory::allocate(std::size_t bytes) noexcept {
  const std::size_t whole = bytes + kBefore;
  if (whole < bytes || whole > budget_.limit()) {
    too_much_ = true;
    return nullptr;
  }
  if (!budget_.try_charge(whole)) return nullptr;
  void* const memory = std::malloc(whole);
  if (memory == nullptr) {
    budget_.give_back(whole);
    return nullptr;
  }
  held_ += whole;
  new (memory) std::size_t(whole);
  return static_cast<std::byte*>(memory) + kBefore;
}

void CodecMemory::release(void* memory) noexcept {
  if (memory == nullptr) return;
  void* const begin = static_cast<std::byte*>(memory) - kBefore;
  const std::size_t whole = *static_cast<const std::size_t*>(begin);
  std::free(begin);
  held_ -= whole;
  budget_.give_back(whole);
}

std::unique_ptr<Decoder> make_decoder(Coding coding, Budget& budget) {
  return coding == Coding::zstd ? make_zstd_decoder(budget) : make_inflater(coding, budget);
}

}  // namespace sluiced::http
