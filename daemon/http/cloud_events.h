// CloudEvents 1.0.2: whether a text is an event in the JSON format, alone or in a batch, and how a message in binary
// mode (attributes in `ce-` fields, data as the body) reads in that format. Pure functions over bytes; any thread.
//
// An event is kept as the text that arrived; no value is parsed and written again, so numbers keep their digits and
// strings their escapes. Checked is the form: JSON, names, types, required members, no member twice. The meaning of an
// attribute (whether `time` is a time, `source` a URI) is between producer and consumer.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/charged_bytes.h"
#include "http/request.h"

namespace sluiced::http {

inline constexpr std::string_view kCloudEventType = "application/cloudevents+json";
inline constexpr std::size_t kMaxMembers = 1024;  // of one event; bounds the search for doubled names

// Why a text is no event. `detail` needs no escaping in JSON.
struct CloudFault {
  int status = 0;  // to answer; 0: nothing is wrong
  std::string detail;

  explicit operator bool() const noexcept { return status != 0; }
};

// ---- the JSON format

// Checks the whole text: JSON, and an event.
[[nodiscard]] CloudFault check_cloud_event(std::string_view text);

// Checks that the whole text is JSON and a list; not its elements.
[[nodiscard]] CloudFault check_cloud_batch(std::string_view text);

// The texts of the elements, in order. `checked` has passed check_cloud_batch.
class CloudBatch {
 public:
  explicit CloudBatch(std::string_view checked) noexcept;
  [[nodiscard]] std::optional<std::string_view> next() noexcept;

 private:
  std::string_view rest_;
};

// Checks that an element, which is valid JSON, is an event.
[[nodiscard]] CloudFault check_batched_event(std::string_view element);

// ---- binary mode

// Whether a field of this name carries an attribute.
[[nodiscard]] bool is_cloud_event_field(std::string_view name) noexcept;

// Begins the event: `{` and the members for these fields and this Content-Type (empty: there was none), checked, so
// that with a `}` it is an event without data. Done before the body has arrived: a client that is refused need not send
// it.
[[nodiscard]] CloudFault put_attributes(std::span<const Field> fields, std::string_view content_type,
                                        ChargedBytes& out);

// Ends it: the body as the member `data` (the value itself if its type is JSON, a string if it is text in UTF-8), else
// as `data_base64`; no member if it is empty; then `}`. 413 if the event gets larger than `limit`.
[[nodiscard]] CloudFault put_data(std::string_view content_type, std::string_view body, std::size_t limit,
                                  ChargedBytes& out);

}  // namespace sluiced::http
