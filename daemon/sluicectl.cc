// sluicectl: command line -> command -> exit code. No logic of its own.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ctl/arguments.h"
#include "ctl/commands.h"
#include "host/standard_streams.h"
#include "sluice/error.h"

namespace sluicectl {
namespace {

Environment environment() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  return {.state_directory = variable("STATE_DIRECTORY"),
          .xdg_state_home = variable("XDG_STATE_HOME"),
          .home = variable("HOME"),
          .runtime_directory = variable("RUNTIME_DIRECTORY")};
}

// An answer that could not be written is a failure.
int written(bool all, int code) {
  if (all) return code;
  sluiced::host::complain({"sluicectl: standard output cannot be written"});
  return code == kOk ? kUnreadable : code;
}

int run(const Arguments& arguments) {
  switch (arguments.command) {
    case Command::status:
      return status(arguments);
    case Command::send:
      return send(arguments);
    case Command::journal_ls:
      return journal_ls(arguments);
    case Command::journal_verify:
      return journal_verify(arguments);
    case Command::journal_dump:
      return journal_dump(arguments);
    case Command::journal_replay_to:
      return journal_replay_to(arguments);
    case Command::dead_letter_ls:
      return dead_letter_ls(arguments);
    case Command::dead_letter_requeue:
      return dead_letter_requeue(arguments);
    case Command::dead_letter_drop:
      return dead_letter_drop(arguments);
  }
  return kUsage;
}

}  // namespace
}  // namespace sluicectl

int main(int argc, char** argv) {
  using sluiced::host::complain;
  sluiced::host::open_standard_streams();
  try {
    const std::vector<const char*> args(argv + std::min(1, argc), argv + argc);
    const auto parsed = sluicectl::parse(args, sluicectl::environment());
    if (const auto* const exit = std::get_if<sluicectl::Exit>(&parsed)) {
      if (exit->code == sluicectl::kOk) return sluicectl::written(sluiced::host::print(exit->text), exit->code);
      std::string_view text = exit->text;
      if (text.ends_with('\n')) text.remove_suffix(1);
      complain({text});
      return exit->code;
    }
    const int code = sluicectl::run(std::get<sluicectl::Arguments>(parsed));
    return sluicectl::written(std::fflush(stdout) == 0, code);
  } catch (const sluice::StartError& error) {
    complain({"sluicectl: ", error.what()});
    return sluicectl::kUnreadable;
  } catch (const std::exception& error) {  // also from writing the answer
    complain({"sluicectl: ", error.what()});
    return sluicectl::kUnreadable;
  }
}
