// See the header.
#include "ctl/find_admin.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace sluicectl {

namespace {

bool somebody_listens_at(const Address& address) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::memcpy(at.sun_path, address.path.c_str(), address.path.size() + 1);  // parse_address() has checked the length
  // Non-blocking, so that a full listen queue does not delay us: EAGAIN means that somebody listens.
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const bool connected = ::connect(probe, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 || errno == EAGAIN;
  ::close(probe);
  return connected;
}

// Also true for a socket that this user may not use: the error message then says so.
bool is_there(const Address& address) {
  std::error_code ignored;
  return std::filesystem::symlink_status(address.path, ignored).type() == std::filesystem::file_type::socket;
}

}  // namespace

Address find_admin(const Arguments& arguments, std::string_view otherwise) {
  if (arguments.admin) return *arguments.admin;
  for (const Address& socket : arguments.admin_sockets) {
    if (somebody_listens_at(socket)) return socket;
  }
  if (!otherwise.empty() && !arguments.state_dir_named) return parse_address(otherwise).value();
  for (const Address& socket : arguments.admin_sockets) {
    if (is_there(socket)) return socket;
  }
  return arguments.admin_sockets.front();
}

}  // namespace sluicectl
