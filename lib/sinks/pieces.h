// Text on its way to a file, gathered into pieces of at most 64 KiB, so that a batch is never one huge string.
// One thread. It refuses nothing, but once a piece could not be written it swallows the rest.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

namespace sluice {

using PieceBuffer = std::array<char, std::size_t{64} << 10U>;

class Pieces {
 public:
  // Takes a piece; false if it could not, and then it is not called again.
  using Write = std::function<bool(std::string_view piece)>;

  // The buffer belongs to the caller, who may use it again for the next batch.
  Pieces(PieceBuffer& buffer, Write write) : buffer_(buffer), write_(std::move(write)) {}

  void put(std::string_view text);
  // Line breaks become spaces.
  void put_on_one_line(std::string_view text);
  // A JSON string with its quotes. What is not UTF-8 becomes U+FFFD.
  void put_json_string(std::string_view text);
  // Base64 (RFC 4648, 4) with its padding, without quotes.
  void put_base64(std::span<const std::byte> bytes);

  // What is still gathered goes out; true if everything did.
  [[nodiscard]] bool flush();

 private:
  // Makes sure that there is some room, and says it.
  std::span<char> room();

  PieceBuffer& buffer_;
  Write write_;
  std::size_t used_ = 0;
  bool failed_ = false;
};

}  // namespace sluice
