// See the header.
#include "model/tracker_on_disk.h"

#include <utility>

#include "tracker/engine.h"

namespace sluice {

std::unique_ptr<Tracker> TrackerOnDisk::make(Options options, SinkFactory sinks, std::shared_ptr<Disk> disk,
                                             const journal::Pace& pace) {
  auto engine = std::make_shared<Tracker::Engine>(std::move(options), std::move(disk), pace);
  return std::unique_ptr<Tracker>(new Tracker(std::move(engine), sinks));
}

const journal::Journal& TrackerOnDisk::journal(const Tracker& tracker) { return tracker.engine_->journal(); }

}  // namespace sluice
