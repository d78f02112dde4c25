// Decodes the content coding of one body, step by step: a step ends with its input or the room for its output, so a
// small input with a large output costs no more than the caller allows. What the libraries allocate is charged to the
// server's budget first. Its connection's thread. It refuses corrupt input, a larger window than kMaxWindowLog, and
// memory for which the budget has no room.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "http/budget.h"
#include "http/coding.h"

namespace sluiced::http {

// The largest window of a zstd frame, as a power of two: the limit of RFC 9659 for HTTP. gzip and deflate need 32 KiB.
inline constexpr int kMaxWindowLog = 23;

struct DecodeStep {
  enum class Fault : std::uint8_t {
    none,
    corrupt,   // not of this coding, damaged, or garbage behind its end
    window,    // larger than kMaxWindowLog
    no_room,   // in the budget now
    too_much,  // more than the whole budget
  };
  std::size_t used = 0;     // of the input
  std::size_t written = 0;  // of the room
  Fault fault = Fault::none;
};

class Decoder {
 public:
  Decoder() = default;
  virtual ~Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Without a fault it ends with all input used, or with the room full: then there may be more output without new
  // input.
  [[nodiscard]] virtual DecodeStep step(std::string_view input, std::span<char> room) noexcept = 0;
  // Whether the body may end here; else it is truncated. Not to be called if the last step filled its room.
  [[nodiscard]] virtual bool may_end() const noexcept = 0;
  // The memory that is charged.
  [[nodiscard]] virtual std::size_t memory() const noexcept = 0;
};

// `coding` is not identity or unknown. All it allocates is charged, but for the object itself.
[[nodiscard]] std::unique_ptr<Decoder> make_decoder(Coding coding, Budget& budget);
[[nodiscard]] std::unique_ptr<Decoder> make_inflater(Coding coding, Budget& budget);  // gzip, deflate
[[nodiscard]] std::unique_ptr<Decoder> make_zstd_decoder(Budget& budget);

// An allocator for a library: charges the budget first. Outlives all that it has allocated.
class CodecMemory {
 public:
  explicit CodecMemory(Budget& budget) noexcept : budget_(budget) {}
  ~CodecMemory() { assert(held_ == 0 && "a library kept memory"); }
  CodecMemory(const CodecMemory&) = delete;
  CodecMemory& operator=(const CodecMemory&) = delete;

  [[nodiscard]] void* allocate(std::size_t bytes) noexcept;  // null: no_room_fault() says why
  void release(void* memory) noexcept;                       // null is allowed

  [[nodiscard]] std::size_t held() const noexcept { return held_; }
  [[nodiscard]] DecodeStep::Fault no_room_fault() const noexcept {
    return too_much_ ? DecodeStep::Fault::too_much : DecodeStep::Fault::no_room;
  }

 private:
  Budget& budget_;
  std::size_t held_ = 0;
  bool too_much_ = false;
};

}  // namespace sluiced::http
