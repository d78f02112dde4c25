// The only file that uses zlib: gzip and deflate. Thread: its connection's.
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "http/decoder.h"

namespace sluiced::http {
namespace {

constexpr int kWindowBits = 15;          // 32 KiB, the most that the format has
constexpr int kGzip = kWindowBits + 16;  // zlib's convention
constexpr int kRaw = -kWindowBits;

class Inflater final : public Decoder {
 public:
  Inflater(Coding coding, Budget& budget) noexcept : gzip_(coding == Coding::gzip), memory_(budget) {
    stream_.opaque = &memory_;
    stream_.zalloc = [](void* of, unsigned items, unsigned size) {
      return static_cast<CodecMemory*>(of)->allocate(std::size_t{items} * size);
    };
    stream_.zfree = [](void* of, void* memory) { static_cast<CodecMemory*>(of)->release(memory); };
  }
  ~Inflater() override {
    if (begun_) inflateEnd(&stream_);
  }

  DecodeStep step(std::string_view input, std::span<char> room) noexcept override {
    DecodeStep step;
    if (!begun_ && !input.empty()) step.fault = begin(input.front());
    while (step.fault == DecodeStep::Fault::none && step.written < room.size() &&
           (step.used < input.size() || (begun_ && !ended_)) && one(step, input, room)) {
    }
    return step;
  }
  bool may_end() const noexcept override { return ended_; }
  std::size_t memory() const noexcept override { return memory_.held(); }

 private:
  DecodeStep::Fault begin(char first) noexcept {
    // Deflate should have the zlib header (RFC 9110, 8.4.1.2), and often has none. With the header, the low half of the
    // first byte is 8; without, that would be a stored block with non-zero padding, which no encoder writes.
    const bool wrapped = (static_cast<unsigned char>(first) & 0x0FU) == Z_DEFLATED;
    if (inflateInit2(&stream_, gzip_ ? kGzip : wrapped ? kWindowBits : kRaw) != Z_OK) return memory_.no_room_fault();
    begun_ = true;
    return DecodeStep::Fault::none;
  }

  // One call of zlib. False: no progress is possible.
  bool one(DecodeStep& step, std::string_view input, std::span<char> room) noexcept {
    if (ended_ && step.used < input.size()) {  // another member, or garbage
      if (!gzip_ || inflateReset(&stream_) != Z_OK) {
        step.fault = DecodeStep::Fault::corrupt;
        return false;
      }
      ended_ = false;
    }
    constexpr std::size_t most = std::numeric_limits<unsigned>::max();
    const std::string_view rest = input.substr(step.used, most);
    const std::span<char> space = room.subspan(step.written, std::min(room.size() - step.written, most));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));  // zlib only reads it
    stream_.avail_in = static_cast<unsigned>(rest.size());
    stream_.next_out = reinterpret_cast<Bytef*>(space.data());
    stream_.avail_out = static_cast<unsigned>(space.size());
    const int said = inflate(&stream_, Z_NO_FLUSH);
    const std::size_t used = rest.size() - stream_.avail_in;
    const std::size_t written = space.size() - stream_.avail_out;
    step.used += used;
    step.written += written;
    switch (said) {
      case Z_STREAM_END:
        ended_ = true;
        return true;
      case Z_OK:
        return used + written != 0;
      case Z_BUF_ERROR:  // no input, or no room: no fault
        return false;
      case Z_MEM_ERROR:
        step.fault = memory_.no_room_fault();
        return false;
      default:  // Z_DATA_ERROR; and Z_NEED_DICT: there is no agreed dictionary
        step.fault = DecodeStep::Fault::corrupt;
        return false;
    }
  }

  const bool gzip_;
  CodecMemory memory_;
  z_stream stream_{};
  bool begun_ = false;
  bool ended_ = false;  // a member ended with the last byte of the input so far
};

}  // namespace

std::unique_ptr<Decoder> make_inflater(Coding coding, Budget& budget) {
  return std::make_unique<Inflater>(coding, budget);
}

}  // namespace sluiced::http
