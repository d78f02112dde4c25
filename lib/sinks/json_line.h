// An event as a line of JSON, for files and for dead letters. Whatever the payload, the result is one line of valid
// JSON. Pure functions; any thread.
#pragma once

#include <string_view>

#include "sinks/chunk_writer.h"
#include "sluice/dead_letters.h"
#include "sluice/event.h"

namespace sluice {

// Writes {"id":"RUN-SEQ","time":"RFC 3339","datacontenttype":"…","data":…} and a line feed. A JSON payload is copied,
// with spaces for its line breaks; text becomes a string; any other payload, including one that is not what its type
// claims, becomes "data_base64". A missing type is left out. A CloudEvent is a line by itself, without an envelope.
void put_json_line(ChunkWriter& out, const Delivery& event);

// The same with "reason" and "attempts" before the type; a CloudEvent is the data of its line like any other JSON.
void put_dead_letter(ChunkWriter& out, const DeadLetter& letter);

}  // namespace sluice
