// The content codings of bodies (RFC 9110, 8.4) that this server decodes.
#pragma once

#include <cstdint>

namespace sluiced::http {

enum class Coding : std::uint8_t {
  identity,
  gzip,     // RFC 1952, any number of members
  deflate,  // RFC 1950; or RFC 1951 alone, as some senders understand it
  zstd,     // RFC 8878, any number of frames
  unknown,  // or more than one of these: two make a decompression bomb
};

}  // namespace sluiced::http
