// The head of a request in HTTP/1.1: finds its end and parses it. Views point into the text. Pure functions; any
// thread. It refuses, with the status to answer, everything that two readers could understand differently (request
// smuggling): bare line feeds, folded lines, two lengths, two hosts, unknown codings.
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

// Where a head ends. `size`: of a whole head, with its empty line; of a partial one, how much need not be searched
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
  std::string_view host, origin;  // values of the fields; empty: none
  bool http10 = false;
  bool keep_alive = true;
  bool chunked = false;
  bool has_length = false;
  Coding coding = Coding::identity;
  bool expects_continue = false;  // the client may wait for 100 Continue before it sends the body
  bool expects_else = false;      // or expects something that this server cannot do
  bool cross_site = false;        // a browser says that a page of another site sends this
  bool for_admin = false;         // Sluice-Admin: 1, which a page can send only after a preflight
  bool preflight = false;         // a browser asks what a page may send
  std::uint64_t content_length = 0;
  std::string_view length_digits;  // as written
  std::vector<Field> cloud_event;  // fields with attributes of a CloudEvent, unchanged
};

struct HeadFault {
  int status = 0;  // 0: none
  std::string_view detail;
};

// Parses a whole head. With a fault, `head` has the fields before it.
[[nodiscard]] HeadFault parse_head(std::string_view text, Head& head);

// The path of a target, without the query and without the scheme and host of a proxy's absolute form.
[[nodiscard]] std::string_view path_of(std::string_view target) noexcept;

// A path without the slashes that joining it to a base URL leaves: a row of slashes becomes one, one at the end is
// removed.
[[nodiscard]] bool is_tidy(std::string_view path) noexcept;
[[nodiscard]] std::string tidied(std::string_view path);

}  // namespace sluiced::http
