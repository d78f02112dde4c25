// The version, which is said in one place: the project's line in CMakeLists.txt.
#include "sluice/version.h"

namespace sluice {

std::string_view version() noexcept { return SLUICE_VERSION; }

}  // namespace sluice
