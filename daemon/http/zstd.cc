// The only file that uses libzstd: zstd by RFC 8878, none of the formats before it. Thread: its connection's.
#define ZSTD_STATIC_LINKING_ONLY  // for the allocator and the headers of frames
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "http/decoder.h"

namespace sluiced::http {
namespace {

class ZstdDecoder final : public Decoder {
 public:
  explicit ZstdDecoder(Budget& budget) noexcept : memory_(budget) {}
  ~ZstdDecoder() override { ZSTD_freeDCtx(context_); }

  DecodeStep step(std::string_view input, std::span<char> room) noexcept override {
    DecodeStep step;
    if (context_ == nullptr && !begin()) {
      step.fault = memory_.no_room_fault();
      return step;
    }
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    // At the end of a frame the loop goes on only with more input, which begins the next frame.
    while (step.fault == DecodeStep::Fault::none && out.pos < out.size && (in.pos < in.size || !ended_)) {
      const std::size_t used = in.pos;
      const std::size_t written = out.pos;
      if (in_frame_) {
        step.fault = decompress(in, out);
      } else {
        step.fault = read_header(in, out);
      }
      if (in.pos == used && out.pos == written) break;
    }
    step.used = in.pos;
    step.written = out.pos;
    return step;
  }
  bool may_end() const noexcept override { return ended_; }
  std::size_t memory() const noexcept override { return memory_.held(); }

 private:
  bool begin() noexcept {
    const ZSTD_customMem allocator{
        [](void* of, std::size_t bytes) { return static_cast<CodecMemory*>(of)->allocate(bytes); },
        [](void* of, void* memory) { static_cast<CodecMemory*>(of)->release(memory); }, &memory_};
    context_ = ZSTD_createDCtx_advanced(allocator);
    return context_ != nullptr &&
           ZSTD_isError(ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kMaxWindowLog)) == 0;
  }

  // Gives the library each frame's header whole and checked. In a partial header it recognises the formats from before
  // RFC 8878, and would decode them with memory that is not charged.
  [[nodiscard]] DecodeStep::Fault read_header(ZSTD_inBuffer& in, ZSTD_outBuffer& out) noexcept {
    ended_ = false;
    ZSTD_frameHeader parsed;
    std::size_t wanted = 0;
    while ((wanted = ZSTD_getFrameHeader(&parsed, header_.data(), header_size_)) != 0) {
      if (ZSTD_isError(wanted) != 0) return fault_of(wanted);
      const std::size_t more = std::min(wanted - header_size_, in.size - in.pos);
      if (more == 0) return DecodeStep::Fault::none;
      std::memcpy(header_.data() + header_size_, static_cast<const char*>(in.src) + in.pos, more);
      header_size_ += more;
      in.pos += more;
    }
    in_frame_ = true;
    ZSTD_inBuffer header{header_.data(), std::exchange(header_size_, 0), 0};
    return decompress(header, out);
  }

  [[nodiscard]] DecodeStep::Fault decompress(ZSTD_inBuffer& in, ZSTD_outBuffer& out) noexcept {
    const std::size_t said = ZSTD_decompressStream(context_, &out, &in);
    if (ZSTD_isError(said) != 0) return fault_of(said);
    ended_ = said == 0;
    in_frame_ = !ended_;
    return DecodeStep::Fault::none;
  }

  [[nodiscard]] DecodeStep::Fault fault_of(std::size_t said) const noexcept {
    switch (ZSTD_getErrorCode(said)) {
      case ZSTD_error_memory_allocation:
        return memory_.no_room_fault();
      case ZSTD_error_frameParameter_windowTooLarge:
        return DecodeStep::Fault::window;
      default:
        return DecodeStep::Fault::corrupt;
    }
  }

  CodecMemory memory_;
  ZSTD_DCtx* context_ = nullptr;
  std::array<char, ZSTD_FRAMEHEADERSIZE_MAX> header_{};  // of the next frame, as far as received
  std::size_t header_size_ = 0;
  bool in_frame_ = false;  // behind its header
  bool ended_ = false;     // a frame ended with the last byte of the input so far
};

}  // namespace

std::unique_ptr<Decoder> make_zstd_decoder(Budget& budget) { return std::make_unique<ZstdDecoder>(budget); }

}  // namespace sluiced::http
