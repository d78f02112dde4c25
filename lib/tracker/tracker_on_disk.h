// For tests: a whole tracker over a disk that they have made, in the place of a state directory's. It has no directory
// and no dead letters, so a sink must not refuse. Everything else is the tracker's: all its threads, all its rooms.
#pragma once

#include <memory>

#include "sluice/tracker.h"

namespace sluice {

class Disk;

namespace journal {
class Journal;
struct Pace;
}  // namespace journal

class TrackerOnDisk {
 public:
  // Owners of the disk: the tracker, and each of its threads that it has to leave behind.
  [[nodiscard]] static std::unique_ptr<Tracker> make(Options options, SinkFactory sinks, std::shared_ptr<Disk> disk,
                                                     const journal::Pace& pace);

  // For a look once the tracker is shut down and has left no thread behind.
  [[nodiscard]] static const journal::Journal& journal(const Tracker& tracker);
};

}  // namespace sluice
