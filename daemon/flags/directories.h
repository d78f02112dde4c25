// The directories that the environment gives sluiced and sluicectl. Pure functions; any thread. An empty string is a
// variable that is not set; an empty path is no directory.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace sluiced::flags {

// The first of a list as systemd gives it, separated by ':'.
[[nodiscard]] inline std::filesystem::path first_directory(std::string_view list) {
  return list.substr(0, list.find(':'));
}

// $STATE_DIRECTORY, else $XDG_STATE_HOME/sluice, else ~/.local/state/sluice. The XDG specification requires that
// relative paths be ignored.
[[nodiscard]] inline std::filesystem::path default_state_dir(std::string_view state_directory,
                                                             std::string_view xdg_state_home, std::string_view home) {
  std::filesystem::path first = first_directory(state_directory);
  if (!first.empty()) return first;
  const std::filesystem::path xdg = xdg_state_home;
  if (xdg.is_absolute()) return xdg / "sluice";
  if (!home.empty()) return std::filesystem::path(home) / ".local/state/sluice";
  return {};
}

}  // namespace sluiced::flags
