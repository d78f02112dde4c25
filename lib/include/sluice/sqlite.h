// The sinks of sluice/sinks.h, and `sqlite:`. A program that uses this header links the component sluice::sqlite
// (pkg-config: sluice-sqlite); no other header needs it.
#pragma once

#include <string_view>

#include "sluice/api.h"
#include "sluice/sink.h"

namespace sluice::sqlite {

// sluice::sinks_for(), and `sqlite:PATH` besides. A database that is locked, on a full disk or damaged is logged, and
// events wait; a file that is no database, or has another table in the way, is StartError (unusable).
[[nodiscard]] SLUICE_API SinkFactory sinks_for(std::string_view url);

}  // namespace sluice::sqlite
