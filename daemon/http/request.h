// Reads the head of a request in HTTP/1.1: finds its end and takes it apart. Views point into the bytes that were
// given. Pure. It refuses, with the status to answer, whatever two readers could understand differently (request
// smuggling): bare line feeds, folded lines, two lengths, two hosts, odd codings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/coding.h"

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
  std::string_view host, origin;  // as the fields have them; empty: none
  bool http10 = false;
  bool keep_alive = true;
  bool chunked = false;
  bool has_length = false;
  Coding coding = Coding::identity;
  bool expects_continue = false;  // may wait for a 100 before it sends the body
  bool expects_else = false;      // or for what this server cannot do
  bool cross_site = false;        // a browser says that a page of another site asks
  bool for_admin = false;         // Sluice-Admin: 1, which no page can send without being asked about first
  bool preflight = false;         // a browser asks what a page may send
  std::uint64_t content_length = 0;
  std::string_view length_digits;  // as they stand there
  std::vector<Field> cloud_event;  // the fields that carry attributes of a CloudEvent, as they came
};

struct HeadFault {
  int status = 0;  // 0: none
  std::string_view detail;
};

// Takes a whole head apart. With a fault, `head` says what was read before it.
[[nodiscard]] HeadFault parse_head(std::string_view text, Head& head);

// The path of a target: without the query, and without what a proxy's absolute form puts before it.
[[nodiscard]] std::string_view path_of(std::string_view target) noexcept;

// A path without what joining a base URL to it leaves: slashes in a row count once, and one at the end not at all.
[[nodiscard]] bool is_tidy(std::string_view path) noexcept;
[[nodiscard]] std::string tidied(std::string_view path);

}  // namespace sluiced::http
