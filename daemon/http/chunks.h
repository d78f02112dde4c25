// Decodes a chunked body (RFC 9112, 7.1) byte by byte, a state machine, so that the bytes may be split anywhere and a
// fault is found at its byte. Extensions and trailers are ignored. It refuses everything that another reader might take
// for the end of a line or of the body: bare CR and LF, other control characters, folded trailers, trailers about
// framing, sizes over 64 bits. Belongs to one body and its connection's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluiced::http {

// The result of a step through a chunked body.
struct ChunkStep {
  enum class State : std::uint8_t {
    going,     // there is data, or there may be more in the input
    starved,   // all of the input is used, and more is wanted
    done,      // the body is whole, and ends at `used`
    bad,       // not a chunk; the rest cannot be parsed
    too_long,  // a chunk's head, or the trailers, are longer than ChunkReader::kMaxLine
  };
  State state = State::going;
  std::size_t used = 0;   // bytes of the input that are consumed
  std::string_view data;  // of the body, part of the input
};

class ChunkReader {
 public:
  static constexpr std::size_t kMaxLine = std::size_t{16} << 10U;  // a size with its extensions, or all trailers

  // `input`: the bytes not used before.
  [[nodiscard]] ChunkStep step(std::string_view input) noexcept;

 private:
  enum class At : std::uint8_t {
    size,           // digits, or what ends them
    blank,          // behind a size: an extension has to follow
    extension,      // to its CR
    size_end,       // the LF of a size's line
    data,           // left_ bytes
    data_cr,        // and
    data_end,       // their line end
    trailer,        // the first byte of a trailer, or the CR of the last line
    trailer_name,   // to its colon
    trailer_value,  // to its CR
    trailer_end,    // its LF
    last,           // the LF of the last line
    over,
  };

  [[nodiscard]] bool take(char byte) noexcept;
  [[nodiscard]] bool take_size(char byte) noexcept;
  [[nodiscard]] bool take_name(char byte) noexcept;

  std::uint64_t left_ = 0;       // of the chunk
  std::size_t line_ = 0;         // bytes since the last that was data
  std::array<char, 18> name_{};  // of a trailer, in lower case, as far as its beginning says whether it is refused
  std::size_t name_size_ = 0;
  At at_ = At::size;
  bool digits_ = false;
};

}  // namespace sluiced::http
