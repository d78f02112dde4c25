// Acts on one request whose head has been read: answers it, or has its body received and hands its events to the
// tracker. Lives for that one call, on its connection's thread. It refuses what this server does not serve, with the
// answer that says why.
#pragma once

#include <cstddef>
#include <string_view>

#include "http/answers.h"
#include "http/body_reader.h"
#include "http/charged_bytes.h"
#include "http/intake.h"
#include "http/request.h"

namespace sluiced::http {

class Connection;

class RequestHandler {
 public:
  // `rest`: what has arrived behind the head.
  RequestHandler(Connection& connection, const Head& head, std::string_view rest) noexcept
      : connection_(connection), head_(head), rest_(rest), is_head_(head.method == "HEAD") {}

  std::size_t run();  // returns how much of `rest` was used

 private:
  std::size_t dispatch(std::string_view path);
  std::size_t receive_events();
  std::size_t begin_body(const BodyReader::Head& body, ChargedBytes attributes);

  template <typename Write>
  std::size_t answer(Write write);
  template <typename Make>
  std::size_t show(const Make& make);
  std::size_t problem(Problem problem);
  std::size_t allowed(std::string_view fields);
  std::size_t refuse(int status, std::string_view detail);

  Connection& connection_;
  const Head& head_;
  const std::string_view rest_;
  const bool is_head_;
};

// A request that has been received whole. All views and references are valid during submit() only.
struct WholeRequest {
  Content content;
  std::string_view content_type;
  ChargedBytes& attributes;  // of a CloudEvent in binary mode
  std::string_view body;
  Ending ending;
};

// Hands its events to the tracker. Answered at once if the outcome is known at once, or when the committer has it.
void submit(Connection& connection, const WholeRequest& request);

}  // namespace sluiced::http
