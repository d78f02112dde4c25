// A whole tracker over a disk that a test has made, in place of a state directory. It has no directory and no dead
// letters, so a sink must not refuse. Everything else is the product's: all threads, all rooms. A friend of Tracker.
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
  // Owners of the disk: the tracker, and each thread that it leaves behind.
  [[nodiscard]] static std::unique_ptr<Tracker> make(Options options, SinkFactory sinks, std::shared_ptr<Disk> disk,
                                                     const journal::Pace& pace);

  // Only after a shutdown that has left no thread behind.
  [[nodiscard]] static const journal::Journal& journal(const Tracker& tracker);
};

}  // namespace sluice
