// The moment that a disk is told of and has no use for. A file of its own, so that a test's program may end there.
#include "journal/disk.h"

namespace sluice {

void Disk::pass(Instant /*now*/) noexcept {}

}  // namespace sluice
