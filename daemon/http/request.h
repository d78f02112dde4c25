// Reads the framing of HTTP/1.1 requests: finds a head, takes it apart, unwraps chunked bodies. Views point into the
// bytes that were given. No thread of its own, no state but a ChunkReader's. It refuses, with the status to answer,
// whatever two readers could understand differently (request smuggling): bare line feeds, folded lines, two lengths,
// odd codings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace sluiced::http {

inline constexpr std::size_t kMaxHead = std::size_t{16} << 10U;   // request line and headers, in all
inline constexpr std::size_t kMaxTarget = std::size_t{8} << 10U;  // RFC 9112 wants 8000 at least

// Where a head ends. `size` counts the head with its empty line when whole; when partial, what need not be searched
// again.
struct FoundHead {
  enum class State : std::uint8_t { partial, whole, bad };
  State state = State::partial;
  std::size_t size = 0;
};
[[nodiscard]] FoundHead find_head(std::string_view text, std::size_t searched) noexcept;

struct Field {
  std::string_view name, value;
};

struct Head {
  std::string_view method, target, content_type;
  bool http10 = false;
  bool keep_alive = true;
  bool chunked = false;
  bool has_length = false;
  bool encoded = false;           // has a Content-Encoding
  bool expects_continue = false;  // waits for a 100 before it sends the body
  std::uint64_t content_length = 0;
  std::vector<Field> cloud_event;  // the fields that carry attributes of a CloudEvent, as they came
};

struct HeadFault {
  int status = 0;  // 0: none
  std::string_view detail;
};

// What a step through a chunked body gave.
struct ChunkStep {
  enum class State : std::uint8_t { going, starved, done, bad };
  State state = State::going;
  std::size_t used = 0;   // bytes of the input that are done with; the rest is to be given again, with more behind it
  std::string_view data;  // of the body, part of the input
};

class ChunkReader {
 public:
  ChunkReader() = default;
  ChunkReader(const ChunkReader&) = delete;
  ChunkReader& operator=(const ChunkReader&) = delete;
  virtual ~ChunkReader() = default;
  [[nodiscard]] virtual ChunkStep step(std::string_view input) = 0;
};

// Takes a whole head apart. For a chunked body `chunks` is what reads it.
[[nodiscard]] HeadFault parse_head(std::string_view text, Head& head, std::unique_ptr<ChunkReader>& chunks);

// The path of a target: without the query, and without what a proxy's absolute form puts before it.
[[nodiscard]] std::string_view path_of(std::string_view target) noexcept;

}  // namespace sluiced::http
