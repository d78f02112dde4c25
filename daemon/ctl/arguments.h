// The command line of sluicectl as typed values, or the text to print instead. Plain values and a pure function; reads
// no environment, file or address. Refuses (64) unknown words, flags of other commands, values out of their range.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ctl/http_client.h"

namespace sluicectl {

// Exit codes.
constexpr int kOk = 0;
constexpr int kNo = 1;            // damage, something refused, sluiced not ready
constexpr int kUsage = 64;        // the command line is wrong
constexpr int kUnreachable = 69;  // nobody listens there, or there is no answer
constexpr int kUnreadable = 74;   // a file or directory cannot be read, or the answer cannot be written

enum class Command : std::uint8_t {
  status,
  send,
  journal_ls,
  journal_verify,
  journal_dump,
  journal_replay_to,
  dead_letter_ls,
  dead_letter_requeue,
  dead_letter_drop,
};

struct Arguments {
  Command command = Command::status;
  bool json = false;
  std::optional<Address> admin;                                   // named by a flag
  std::vector<Address> admin_sockets;                             // else the default unix sockets, likeliest first
  bool state_dir_named = false;                                   // by a flag
  Url to;                                                         // where events go
  std::string file;                                               // "-": standard input
  std::size_t batch = 500;                                        // most events a request
  std::chrono::nanoseconds retry_for = std::chrono::seconds{30};  // how long to retry while the server is busy or away
  std::filesystem::path state_dir;                                // empty: none is known
  std::string place;                 // a file, or "none"; empty: the one in the state directory
  std::optional<std::size_t> limit;  // nothing: all
  bool everything = false;           // --all, said in words
};

struct Exit {
  int code = kOk;
  std::string text;  // with its line end; on stderr unless the code is kOk
};

// An empty string is a variable that is not set.
struct Environment {
  std::string state_directory, xdg_state_home, home;
  std::string runtime_directory = {};
};
// `args` are those of main without the program's name.
[[nodiscard]] std::variant<Arguments, Exit> parse(std::span<const char* const> args, const Environment& environment);

}  // namespace sluicectl
