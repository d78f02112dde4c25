// The exit codes of a start that failed; README lists them.
#include "refusal.h"

#include <cstdlib>
#include <string_view>

#include "host/standard_streams.h"

namespace sluiced {

namespace {

using Kind = sluice::StartError::Kind;

int exit_code(Kind kind) {
  switch (kind) {
    case Kind::usage:
      return 64;
    case Kind::in_use:
      return 69;
    case Kind::unavailable:
      // A service manager starts us again until the address exists; a person has named one that this host lacks.
      return std::getenv("NOTIFY_SOCKET") != nullptr ? 69 : 78;
    case Kind::io:
      return 74;
    case Kind::unusable:
      return 78;
  }
  return 70;
}

}  // namespace

int answer(const options::Exit& exit) {
  if (!exit.on_stderr) {
    if (host::print(exit.text)) return exit.code;
    host::complain({"sluiced: standard output cannot be written"});
    return 74;
  }
  std::string_view text = exit.text;
  if (text.ends_with('\n')) text.remove_suffix(1);
  host::complain({text});
  return exit.code;
}

int refuse(const sluice::StartError& error) {
  host::complain({"sluiced: ", error.what()});
  return exit_code(error.kind());
}

bool is_final(const sluice::StartError& error) noexcept {
  return error.kind() == Kind::usage || error.kind() == Kind::unusable;
}

}  // namespace sluiced
