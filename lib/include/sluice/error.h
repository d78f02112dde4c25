// Why something could not be started. Only constructors and start-up throw this; a running tracker answers by value.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "sluice/api.h"

namespace sluice {

class SLUICE_API StartError : public std::runtime_error {
 public:
  enum class Kind : std::uint8_t {
    usage,        // the option itself is wrong                        (sluiced exits with 64)
    in_use,       // somebody else holds the address, directory, file   (69)
    unavailable,  // not there yet: an address, a name                  (69 under a service manager, else 78)
    io,           // it cannot be read or written                       (74)
    unusable,     // well formed, and no use here                       (78)
  };

  // `what` is one line that names the thing and the system's reason.
  StartError(Kind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}

  [[nodiscard]] Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

}  // namespace sluice
