// Gathers the body of one request: by its length or in chunks, as it is or decoded. Its memory is charged to the
// server's budget in steps, as bytes arrive: what a client has announced is not what it will send. Its connection's
// thread alone. It refuses what is too large, malformed, or more than there is room for; state() and refusal() say so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/answers.h"
#include "http/charged_bytes.h"
#include "http/chunks.h"
#include "http/client_socket.h"
#include "http/coding.h"
#include "http/decoder.h"
#include "http/intake.h"
#include "http/server.h"

namespace sluiced::http {

class Connection;

inline constexpr std::string_view kTooLarge = "the body is larger than this server takes";
inline constexpr std::string_view kNoRoom = "no room to receive this now";

// How long a body in a coding may be: one that gains nothing gets a little longer.
[[nodiscard]] constexpr std::size_t encoded_limit(std::size_t limit) noexcept { return limit + limit / 64 + 1024; }

class BodyReader {
 public:
  // What the head says of the body.
  struct Head {
    Content content;
    std::string_view content_type;
    Ending ending;
    std::size_t limit = 0;   // of the decoded body
    std::size_t length = 0;  // as sent, unless chunked
    bool chunked = false;
    Coding coding = Coding::identity;
  };
  enum class State : std::uint8_t {
    partial,
    paused,  // there is more to decode, in the next turn
    whole,
    refused,
  };
  struct Refusal {
    int status = 0;
    std::string_view detail;
    bool closes = true;  // else the body has been received whole, so the next request's beginning is known
  };

  // `attributes`: of a CloudEvent in binary mode.
  BodyReader(Connection& connection, const Head& head, ChargedBytes attributes);

  [[nodiscard]] bool try_charge() noexcept;  // for this object, first of all

  // Each of these goes on until it wants more or state() is another. While it is `partial`:
  std::size_t take(std::string_view input);       // returns how many bytes were used
  Received::State receive(ClientSocket& socket);  // if is_plain(): the same, straight from the kernel
  void resume();                                  // while it is `paused`

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const Refusal& refusal() const noexcept { return refusal_; }  // if refused
  [[nodiscard]] bool is_plain() const noexcept { return !chunks_ && !decoder_; }

  // Of a whole body.
  [[nodiscard]] Content content() const noexcept { return content_; }
  [[nodiscard]] const std::string& content_type() const noexcept { return content_type_; }
  [[nodiscard]] ChargedBytes& attributes() noexcept { return attributes_; }
  [[nodiscard]] std::string_view body() const noexcept { return body_.view(); }
  [[nodiscard]] Ending ending() const noexcept { return ending_; }

  // Progress: whether enough has arrived since the last true to give the client more time.
  [[nodiscard]] bool try_mark() noexcept;
  [[nodiscard]] bool received_whole() const noexcept { return received_whole_; }
  [[nodiscard]] Clock::time_point begun_at() const noexcept { return begun_at_; }
  [[nodiscard]] Clock::time_point marked_at() const noexcept { return marked_at_; }
  [[nodiscard]] std::size_t memory() const noexcept { return body_.capacity() + undecoded_.capacity(); }

 private:
  std::size_t take_chunks(std::string_view input);
  void take_encoded(std::string_view piece, bool last);
  [[nodiscard]] std::size_t decode(std::string_view input);
  [[nodiscard]] bool make_room(std::size_t size);
  void refuse(int status, std::string_view detail);          // and close
  void refuse_content(int status, std::string_view detail);  // and close unless the body was received whole
  void refuse_decoding(DecodeStep::Fault fault);

  Connection& connection_;
  Charge own_;
  const Content content_;
  const std::string content_type_;  // a copy: the head's view points into what is read next
  const Ending ending_;
  const std::size_t limit_;
  const std::size_t length_;
  State state_ = State::partial;
  Refusal refusal_;

  ChargedBytes attributes_;
  ChargedBytes body_;
  std::optional<ChunkReader> chunks_;  // if chunked
  std::unique_ptr<Decoder> decoder_;   // if in a coding
  ChargedBytes undecoded_;             // received, to be decoded in the next turn
  std::size_t received_ = 0;           // of the body as sent, if it is decoded
  bool received_whole_ = false;        // likewise

  const Clock::time_point begun_at_;
  Clock::time_point marked_at_;
  std::size_t mark_ = 0;  // size of the body then
};

}  // namespace sluiced::http
