// A connection's bytes become requests: what has arrived is read, heads are found, bodies are gathered. Each head goes
// to a RequestHandler, each whole body to submit(). Its connection's thread alone. It refuses what is no HTTP/1.1, with
// the answer that says why, and the connection closes wherever the beginning of the next request is in doubt.
//
// Bytes are parsed where the thread read them to; only what cannot be used yet is copied, and charged.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include "http/body_reader.h"
#include "http/charged_bytes.h"
#include "http/client_socket.h"
#include "http/request.h"

namespace sluiced::http {

class RequestReader {
 public:
  explicit RequestReader(Connection& connection) noexcept;

  void read(ClientSocket& socket);     // takes what has arrived
  void discard(ClientSocket& socket);  // reads what nobody wants, so that it is not unread when the socket is closed
  void go_on();                        // takes what was held back for want of room
  void go_on_decoding();               // while paused()

  // For the handler of a head: the body comes; or it is not wanted, and so many bytes of it are still to come.
  void begin_body(std::unique_ptr<BodyReader> body) noexcept { body_ = std::move(body); }
  void skip(std::size_t bytes) noexcept { skip_ = bytes; }

  void drop_request() noexcept;  // of which a part has arrived; the connection ends
  void release() noexcept;       // its memory, too

  [[nodiscard]] bool half_read() const noexcept { return head_begun_ || body_ != nullptr; }
  [[nodiscard]] bool head_begun() const noexcept { return head_begun_; }
  [[nodiscard]] BodyReader* body() const noexcept { return body_.get(); }  // null: none is on its way
  [[nodiscard]] bool paused() const noexcept { return body_ != nullptr && body_->state() == BodyReader::State::paused; }
  [[nodiscard]] bool holds_nothing() const noexcept { return held_.empty(); }
  [[nodiscard]] std::size_t memory() const noexcept { return held_.capacity(); }
  [[nodiscard]] bool ended() const noexcept { return ended_; }    // the client sends no more
  [[nodiscard]] bool broken() const noexcept { return broken_; }  // the connection is gone
  [[nodiscard]] bool spoken() const noexcept { return spoken_; }  // the client has sent something

 private:
  [[nodiscard]] bool may_take() const noexcept;
  std::size_t consume(std::string_view input);
  std::size_t take_head(std::string_view input);
  std::size_t take_body(std::string_view input);
  void receive_body(ClientSocket& socket);
  void finish_body();
  void keep(std::string_view rest);
  void note(Received::State state) noexcept;

  Connection& connection_;
  ChargedBytes held_;                 // input that is not used yet: part of a head, or what waits for room
  std::unique_ptr<BodyReader> body_;  // null, but while a body is on its way
  std::size_t skip_ = 0;              // bytes of a body that is not wanted
  std::size_t searched_ = 0;          // of held_, for the end of a head
  bool head_begun_ = false;
  bool ended_ = false;
  bool broken_ = false;
  bool spoken_ = false;
};

}  // namespace sluiced::http
