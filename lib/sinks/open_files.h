// One shared object per open file of this process: created by its first user, destroyed after its last. Two names of
// one file (a link, ./ in the path) lead to the same object. Any thread. While an object is being destroyed, open() for
// the same file waits, so that the new object does not find the file locked by the old one.
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

template <class Shared>
class OpenFiles {
 public:
  // Never destroyed: a worker that was left behind in a stuck sink may release its file while the process exits.
  static OpenFiles& instance() {
    static auto* const files = new OpenFiles;  // NOLINT(cppcoreguidelines-owning-memory)
    return *files;
  }

  // The object of this file; `make` creates it if there is none, and may throw. Owners: all its users.
  template <class Make>
  std::shared_ptr<Shared> open(const std::string& path, Make make) {
    const std::string name = canonical(path);
    std::unique_lock lock(mutex_);
    auto found = find(name);
    while (found != entries_.end()) {
      if (auto held = found->second.lock()) return {held, held->object.get()};
      closed_.wait(lock);  // its last user is destroying it
      found = find(name);
    }
    auto held = std::make_shared<Entry>(*this, name);
    const auto place = entries_.emplace(name, held).first;
    try {
      held->object = make();
    } catch (...) {
      entries_.erase(place);
      throw;
    }
    return {held, held->object.get()};
  }

 private:
  struct Entry {
    Entry(OpenFiles& in, std::string by_name) : files(in), name(std::move(by_name)) {}
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      if (!object) return;  // `make` threw, and open() has removed the entry
      object.reset();
      const std::lock_guard lock(files.mutex_);
      files.entries_.erase(name);
      files.closed_.notify_all();
    }

    OpenFiles& files;
    const std::string name;
    std::unique_ptr<Shared> object;
  };
  using Entries = std::map<std::string, std::weak_ptr<Entry>>;

  // A file without a canonical name (a pipe in /proc) is found by the name given.
  static std::string canonical(const std::string& path) {
    std::error_code no_such;
    const std::filesystem::path name = std::filesystem::weakly_canonical(path, no_such);
    return no_such || path.empty() ? path : name.string();
  }

  // By this name, or by another name of the same file.
  typename Entries::iterator find(const std::string& name) {
    if (const auto same = entries_.find(name); same != entries_.end()) return same;
    const auto file = FileId::of(name);
    if (!file) return entries_.end();
    return std::ranges::find_if(entries_, [&](const auto& each) { return FileId::of(each.first) == file; });
  }

  std::mutex mutex_;
  std::condition_variable closed_;
  Entries entries_;  // guarded by mutex_; an expired one is being destroyed
};

}  // namespace sluice
