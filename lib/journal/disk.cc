// The default of Disk::pass(), which does nothing. In a file of its own, so that a test program can link its own.
#include "journal/disk.h"

namespace sluice {

void Disk::pass(Instant /*now*/) noexcept {}

}  // namespace sluice
