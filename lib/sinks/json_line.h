// An event as a line of JSON, for files and for dead letters. Whatever came in, what goes out is one line and valid
// JSON. Pure functions: any thread.
#pragma once

#include <string_view>

#include "sinks/pieces.h"
#include "sluice/event.h"

namespace sluice {

// {"id":"RUN-SEQ","time":"RFC 3339","datacontenttype":"…","data":…} and a line feed. JSON goes in as it came, its line
// breaks made spaces; text as a string; all else, also what only claims to be JSON or text, as "data_base64". A type
// that is missing is left out. A CloudEvent is a line by itself, with nothing around it.
void put_json_line(Pieces& out, const Delivery& event);

// The same with "reason" and "attempts" in front of the type; a CloudEvent is the data of its line like any other JSON.
void put_dead_letter(Pieces& out, const Delivery& event, std::string_view reason);

}  // namespace sluice
