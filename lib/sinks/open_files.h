// What all users of one file in this process share: made by the first of them, destroyed by the last. By two names of
// one file (a link, ./ in the path) they get the same thing. Any thread. Nobody makes a thing while the one before it
// is still being destroyed: whoever asks meanwhile waits, so that the two never meet each other's lock.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>

#include "sinks/file_id.h"

namespace sluice {

template <class Thing>
class OpenFiles {
 public:
  // Never destroyed: a worker that was left behind in a stuck sink may let go of its file while the process ends.
  static OpenFiles& instance() {
    static auto* const files = new OpenFiles;  // NOLINT(cppcoreguidelines-owning-memory)
    return *files;
  }

  // The thing of this file; `make` makes it if there is none, and may throw. Owners: all its users.
  template <class Make>
  std::shared_ptr<Thing> open(const std::string& path, Make make) {
    const std::string name = canonical(path);
    std::unique_lock lock(mutex_);
    auto found = find(name);
    while (found != things_.end()) {
      if (auto held = found->second.lock()) return {held, held->thing.get()};
      closed_.wait(lock);  // its last user is destroying it
      found = find(name);
    }
    auto held = std::make_shared<Held>(*this, name);
    const auto place = things_.emplace(name, held).first;
    try {
      held->thing = make();
    } catch (...) {
      things_.erase(place);
      throw;
    }
    return {held, held->thing.get()};
  }

 private:
  struct Held {
    Held(OpenFiles& in, std::string by_name) : files(in), name(std::move(by_name)) {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
      if (!thing) return;  // it could not be made: open() has seen to the rest
      thing.reset();
      const std::lock_guard lock(files.mutex_);
      files.things_.erase(name);
      files.closed_.notify_all();
    }

    OpenFiles& files;
    const std::string name;
    std::unique_ptr<Thing> thing;
  };
  using Things = std::map<std::string, std::weak_ptr<Held>>;

  // What has no canonical name (a pipe in /proc) goes by its own.
  static std::string canonical(const std::string& path) {
    std::error_code no_such;
    const std::filesystem::path name = std::filesystem::weakly_canonical(path, no_such);
    return no_such || path.empty() ? path : name.string();
  }

  // By its name, or by another name that leads to the same file.
  typename Things::iterator find(const std::string& name) {
    if (const auto same = things_.find(name); same != things_.end()) return same;
    const auto file = FileId::of(name);
    if (!file) return things_.end();
    return std::ranges::find_if(things_, [&](const auto& each) { return FileId::of(each.first) == file; });
  }

  std::mutex mutex_;
  std::condition_variable closed_;
  Things things_;  // guarded by mutex_; expired: being destroyed
};

}  // namespace sluice
