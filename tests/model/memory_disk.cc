// The calls of the twin and what goes wrong with them; what it holds is in tree.h. Any thread, by the one lock of a
// world; files lock it too.
#include "model/memory_disk.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "model/tree.h"

namespace model {
namespace {

std::error_code error(std::errc code) { return std::make_error_code(code); }

struct Plan {
  End how;
  std::optional<sluice::Instant> instant;  // else a call
  std::uint64_t left;                      // until it is due
  Moment moment = Moment::before;
};

// Of a file, by the name under which it was opened.
struct Unreadable {
  std::string name;
  std::uint64_t from = 0, to = 0;
};

// What is to become of a call.
struct Fate {
  std::error_code error;        // it fails with this
  bool untouched = false;       // and does nothing, not even a part
  std::optional<End> end = {};  // the world ends with it
  Moment moment = Moment::after;

  [[nodiscard]] bool partly() const { return end && moment == Moment::during; }
};

}  // namespace

struct MemoryDisk::World {
  explicit World(Tree start) : tree(std::move(start)) {
    for (const auto& [name, number] : tree.visible) first_names.emplace(name);
  }

  mutable std::mutex mutex;
  // All guarded by mutex.
  Tree tree;
  std::optional<Tree> next;     // there once the world has ended
  std::optional<End> ended_by;  // likewise
  bool removed = false;         // the directory, and nobody has made a new one
  std::uint64_t processes = 1;  // that there are
  std::uint64_t holder = 0;     // the one that has locked the directory; 0: none
  bool read_only = false;
  bool was_full = false;                           // it has said so
  std::set<std::string, std::less<>> first_names;  // of the files that this world began with
  std::vector<Plan> plans;
  std::vector<Fault> faults;  // nth counts down to 0
  std::vector<Unreadable> unreadable;
  std::array<std::uint64_t, kCalls> calls{};
  std::array<std::uint64_t, sluice::kInstants> passed{};
  std::vector<std::string> failed_syncs;  // of which files
  std::vector<std::string> failed_reads;
  std::vector<std::string> destroyed;  // likewise: those that took durable bytes with them
  std::uint64_t spoiled = 0;           // files that were never synced before
  std::function<bool(std::string_view)> destroys;

  // Set before a second thread is there.
  std::function<void(Call, std::string_view)> hook;

  // The lock under which a call does its work; the hook comes first, without it.
  [[nodiscard]] std::unique_lock<std::mutex> enter(Call call, std::string_view name) {
    if (hook) hook(call, name);
    return std::unique_lock(mutex);
  }

  void end(End how) {
    if (next) return;
    next = how == End::power_cut ? tree.after_power_cut() : tree.after_kill();
    ended_by = how;
  }

  Fate begin(Call call, std::string_view name) {
    if (next) return {error(std::errc::io_error), true};
    ++calls[static_cast<std::size_t>(call)];
    if (read_only && changes_something(call) && (name.empty() || name != tree.elsewhere)) {
      return {error(std::errc::read_only_file_system), true};
    }
    Fate fate;
    if (changes_something(call)) {
      for (Plan& plan : plans) {
        if (!plan.instant && plan.left > 0 && --plan.left == 0 && !fate.end) {
          fate.end = plan.how;
          fate.moment = plan.moment;
        }
      }
      if (fate.end && fate.moment == Moment::before) {
        end(*fate.end);
        return {error(std::errc::io_error), true};
      }
    }
    for (Fault& fault : faults) {
      if (fault.call != call || (fault.where && !fault.where(name))) continue;
      if (fault.nth > 0) --fault.nth;
      if (fault.nth > 0 || fate.error) continue;
      fate.error = error(fault.error);
    }
    was_full = was_full || fate.error == std::errc::no_space_on_device;
    std::erase_if(faults, [](const Fault& fault) { return fault.nth == 0 && !fault.lasts; });
    return fate;
  }

  // Where there is no room nothing was written to a block that has some. Nor on a disk that is full, where a start has
  // to rewrite what it finds: that is assumed (format.h).
  [[nodiscard]] bool destroys_by(std::error_code failed, std::string_view name) const {
    const bool rewrites = was_full && first_names.contains(name);
    return failed == std::errc::io_error && tree.capacity == kNoLimit && !rewrites && destroys && destroys(name);
  }

  // Whether a call that is all or nothing does its work.
  bool goes_through(const Fate& fate) { return !fate.error && (!fate.partly() || tree.dice.coin()); }

  // The call's answer.
  std::error_code finish(const Fate& fate, std::error_code found = {}) {
    if (!fate.end) return fate.error ? fate.error : found;
    end(*fate.end);
    return error(std::errc::io_error);
  }

  void pass(sluice::Instant now) {
    if (next) return;
    ++passed[static_cast<std::size_t>(now)];
    for (Plan& plan : plans) {
      if (plan.instant == now && plan.left > 0 && --plan.left == 0) return end(plan.how);
    }
  }
};

class MemoryDisk::File final : public sluice::DiskFile {
 public:
  // The world's mutex is held.
  File(std::shared_ptr<World> world, std::uint64_t number, std::string name, bool for_writing)
      : world_(std::move(world)), number_(number), name_(std::move(name)), for_writing_(for_writing) {
    ++inode().handles;
  }
  ~File() override {
    const std::scoped_lock lock(world_->mutex);
    --inode().handles;
    world_->tree.collect();
  }

  std::error_code write(std::uint64_t offset, std::span<const std::span<const std::byte>> pieces) override {
    const auto lock = world_->enter(Call::write, name_);
    if (!for_writing_) return error(std::errc::bad_file_descriptor);
    Fate fate = world_->begin(Call::write, name_);
    if (fate.untouched) return fate.error;
    std::string data;
    for (const auto& piece : pieces) data.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    const std::uint64_t all = data.size();
    if (const std::uint64_t most = world_->tree.longest(inode()); offset + data.size() > most) {
      data.resize(most > offset ? most - offset : 0);
      if (!fate.error) fate.error = error(std::errc::no_space_on_device);
    } else if (fate.error || fate.partly()) {
      data.resize(world_->tree.dice.below(data.size()));
    }
    world_->tree.write(inode(), offset, data);
    if (world_->destroys_by(fate.error, name_)) {
      if (world_->tree.destroy(inode(), offset, all)) world_->destroyed.push_back(name_);
    }
    return world_->finish(fate);
  }

  std::error_code read(std::uint64_t offset, std::span<std::byte> to, std::size_t& got) override {
    const auto lock = world_->enter(Call::read, name_);
    got = 0;
    const Fate fate = world_->begin(Call::read, name_);
    if (fate.error) {
      if (!fate.untouched) world_->failed_reads.push_back(name_);
      return fate.error;
    }
    Inode& file = inode();
    if (offset >= file.visible.size()) return {};
    got = std::min<std::uint64_t>(to.size(), file.visible.size() - offset);
    world_->tree.evict(file, offset / kBlock, in_blocks(offset + got));
    std::error_code failed;
    for (const Unreadable& bad : world_->unreadable) {
      if (bad.name != name_ || bad.from >= offset + got || bad.to <= offset) continue;
      got = bad.from > offset ? bad.from - offset : 0;
      failed = error(std::errc::io_error);
    }
    if (got > 0) std::memcpy(to.data(), &file.visible[offset], got);
    return failed;
  }

  std::error_code sync() override {
    const auto lock = world_->enter(Call::sync, name_);
    const Fate fate = world_->begin(Call::sync, name_);
    if (fate.untouched) return fate.error;
    // The end in the midst of a sync is no different from the end before it.
    if (world_->goes_through(fate)) world_->tree.sync(inode());
    if (fate.error) {
      const bool destroys = world_->destroys_by(fate.error, name_);
      if (destroys && inode().durable.empty()) ++world_->spoiled;
      if (world_->tree.fail_sync(inode(), destroys)) world_->destroyed.push_back(name_);
      world_->failed_syncs.push_back(name_);
    }
    return world_->finish(fate);
  }

  std::error_code preallocate(std::uint64_t size) override {
    const auto lock = world_->enter(Call::preallocate, name_);
    if (!for_writing_) return error(std::errc::bad_file_descriptor);
    Fate fate = world_->begin(Call::preallocate, name_);
    if (fate.untouched) return fate.error;
    Inode& file = inode();
    const std::uint64_t before = file.visible.size();
    if (size > world_->tree.longest(file)) {
      size = world_->tree.longest(file);
      if (!fate.error) fate.error = error(std::errc::no_space_on_device);
    }
    if (size > before && (fate.error || fate.partly())) size = before + world_->tree.dice.below(size - before + 1);
    if (size > before) {
      file.preallocated = size;
      world_->tree.truncate(file, size);
    }
    return world_->finish(fate);
  }

  std::error_code truncate(std::uint64_t size) override {
    const auto lock = world_->enter(Call::truncate, name_);
    if (!for_writing_) return error(std::errc::bad_file_descriptor);
    const Fate fate = world_->begin(Call::truncate, name_);
    if (fate.untouched) return fate.error;
    if (size > world_->tree.longest(inode())) return world_->finish(fate, error(std::errc::no_space_on_device));
    if (world_->goes_through(fate)) world_->tree.truncate(inode(), size);
    return world_->finish(fate);
  }

  std::error_code stat(Stat& to) override {
    const auto lock = world_->enter(Call::stat, name_);
    const Fate fate = world_->begin(Call::stat, name_);
    if (fate.error) return fate.error;
    to = {inode().visible.size(), inode().links};
    return {};
  }

 private:
  Inode& inode() { return world_->tree.inodes.at(number_); }

  const std::shared_ptr<World> world_;  // owners: the disk, and each open file
  const std::uint64_t number_;
  const std::string name_;
  const bool for_writing_;
};

MemoryDisk::MemoryDisk(std::uint64_t seed) : world_(std::make_shared<World>(Tree(seed))) {}
MemoryDisk::MemoryDisk(std::shared_ptr<World> world) : world_(std::move(world)) {}
MemoryDisk::~MemoryDisk() = default;

std::error_code MemoryDisk::hold() {
  const auto lock = world_->enter(Call::hold, "");
  const Fate fate = world_->begin(Call::hold, "");
  if (fate.error) return fate.error;
  if (world_->holder != 0 && world_->holder != process_) return error(std::errc::operation_would_block);
  world_->holder = process_;
  world_->removed = false;
  return {};
}

std::error_code MemoryDisk::open(const std::string& name, Open how, std::unique_ptr<sluice::DiskFile>& file) {
  std::unique_ptr<File> opened;
  if (const auto failed = how == Open::create ? create(name, opened) : open_old(name, how, opened)) return failed;
  file = std::move(opened);  // out of the lock: the one that it replaces takes it to close
  return {};
}

std::error_code MemoryDisk::open_old(const std::string& name, Open how, std::unique_ptr<File>& file) {
  const auto lock = world_->enter(Call::open, name);
  const Fate fate = world_->begin(Call::open, name);
  if (fate.error) return fate.error;
  const auto found = world_->tree.visible.find(name);
  if (found == world_->tree.visible.end()) return error(std::errc::no_such_file_or_directory);
  if (how == Open::write && world_->read_only && name != world_->tree.elsewhere) {
    return error(std::errc::read_only_file_system);
  }
  file = std::make_unique<File>(world_, found->second, name, how == Open::write);
  return {};
}

std::error_code MemoryDisk::create(const std::string& name, std::unique_ptr<File>& file) {
  const auto lock = world_->enter(Call::create, name);
  const Fate fate = world_->begin(Call::create, name);
  if (fate.untouched) return fate.error;
  Tree& tree = world_->tree;
  if (world_->removed) return world_->finish(fate, error(std::errc::no_such_file_or_directory));
  if (tree.visible.contains(name)) return world_->finish(fate, error(std::errc::file_exists));
  if (!world_->goes_through(fate)) return world_->finish(fate);
  const std::uint64_t number = tree.next_inode++;
  tree.inodes[number].links = 1;
  tree.change_names({name, number, {}});
  if (fate.end) return world_->finish(fate);
  file = std::make_unique<File>(world_, number, name, true);
  return {};
}

std::error_code MemoryDisk::rename(const std::string& from, const std::string& to) {
  const auto lock = world_->enter(Call::rename, from);
  const Fate fate = world_->begin(Call::rename, from);
  if (fate.untouched) return fate.error;
  Tree& tree = world_->tree;
  if (!tree.visible.contains(from)) return world_->finish(fate, error(std::errc::no_such_file_or_directory));
  if (from == to || !world_->goes_through(fate)) return world_->finish(fate);
  if (Inode* replaced = tree.find(to)) replaced->links = 0;
  tree.change_names({from, {}, to});
  return world_->finish(fate);
}

std::error_code MemoryDisk::unlink(const std::string& name) {
  const auto lock = world_->enter(Call::unlink, name);
  const Fate fate = world_->begin(Call::unlink, name);
  if (fate.untouched) return fate.error;
  Tree& tree = world_->tree;
  Inode* const file = tree.find(name);
  if (file == nullptr) return world_->finish(fate, error(std::errc::no_such_file_or_directory));
  if (!world_->goes_through(fate)) return world_->finish(fate);
  file->links = 0;
  tree.change_names({name, {}, {}});
  return world_->finish(fate);
}

std::error_code MemoryDisk::sync_directory() {
  const auto lock = world_->enter(Call::sync_directory, "");
  const Fate fate = world_->begin(Call::sync_directory, "");
  if (fate.untouched) return fate.error;
  if (world_->goes_through(fate)) world_->tree.sync_names();
  return world_->finish(fate);
}

std::error_code MemoryDisk::list(std::vector<std::string>& names) {
  const auto lock = world_->enter(Call::list, "");
  const Fate fate = world_->begin(Call::list, "");
  if (fate.error) return fate.error;
  names.clear();
  for (const auto& [name, number] : world_->tree.visible) names.push_back(name);
  return {};
}

void MemoryDisk::pass(sluice::Instant now) noexcept {
  const std::scoped_lock lock(world_->mutex);
  world_->pass(now);
}

std::shared_ptr<MemoryDisk> MemoryDisk::same() const {
  std::shared_ptr<MemoryDisk> disk(new MemoryDisk(world_));
  disk->process_ = process_;
  return disk;
}

std::shared_ptr<MemoryDisk> MemoryDisk::of_another_process() const {
  std::shared_ptr<MemoryDisk> disk = same();
  const std::scoped_lock lock(world_->mutex);
  disk->process_ = ++world_->processes;
  return disk;
}

void MemoryDisk::end(End how) {
  const std::scoped_lock lock(world_->mutex);
  world_->end(how);
}

void MemoryDisk::end_at(End how, sluice::Instant when, std::uint64_t nth) {
  const std::scoped_lock lock(world_->mutex);
  world_->plans.push_back({how, when, nth});
}

void MemoryDisk::end_at_call(End how, std::uint64_t nth, Moment moment) {
  const std::scoped_lock lock(world_->mutex);
  world_->plans.push_back({how, {}, nth, moment});
}

void MemoryDisk::forget_ends() {
  const std::scoped_lock lock(world_->mutex);
  world_->plans.clear();
}

std::optional<End> MemoryDisk::ended_by() const {
  const std::scoped_lock lock(world_->mutex);
  return world_->ended_by;
}

std::unique_ptr<MemoryDisk> MemoryDisk::reboot() const {
  const std::scoped_lock lock(world_->mutex);
  return std::unique_ptr<MemoryDisk>(new MemoryDisk(std::make_shared<World>(world_->next.value())));
}

void MemoryDisk::fail(Fault fault) {
  const std::scoped_lock lock(world_->mutex);
  world_->faults.push_back(std::move(fault));
}

void MemoryDisk::destroy_what_fails(std::function<bool(std::string_view)> where) {
  const std::scoped_lock lock(world_->mutex);
  world_->destroys = std::move(where);
}

void MemoryDisk::make_unreadable(const std::string& name, std::uint64_t from, std::uint64_t to) {
  const std::scoped_lock lock(world_->mutex);
  world_->unreadable.push_back({name, from, to});
}

void MemoryDisk::set_capacity(std::uint64_t bytes) {
  const std::scoped_lock lock(world_->mutex);
  world_->tree.capacity = bytes;
}

void MemoryDisk::make_read_only() {
  const std::scoped_lock lock(world_->mutex);
  world_->read_only = true;
}

void MemoryDisk::put_elsewhere(const std::string& name) {
  const std::scoped_lock lock(world_->mutex);
  world_->tree.elsewhere = name;
}

void MemoryDisk::heal() {
  const std::scoped_lock lock(world_->mutex);
  world_->faults.clear();
  world_->unreadable.clear();
  world_->read_only = false;
  world_->tree.capacity = kNoLimit;
}

void MemoryDisk::remove_directory(const std::string& but_for) {
  const std::scoped_lock lock(world_->mutex);
  Tree& tree = world_->tree;
  std::erase_if(tree.visible, [&](const auto& entry) {
    if (entry.first != but_for) tree.inodes.at(entry.second).links = 0;
    return entry.first != but_for;
  });
  tree.sync_names();
  world_->removed = true;
  world_->holder = 0;  // the lock went with it
}

void MemoryDisk::remove_file(const std::string& name) {
  const std::scoped_lock lock(world_->mutex);
  Tree& tree = world_->tree;
  tree.inodes.at(tree.visible.at(name)).links = 0;
  tree.visible.erase(name);
  tree.sync_names();
}

void MemoryDisk::on_call(std::function<void(Call, std::string_view)> hook) { world_->hook = std::move(hook); }

std::vector<std::string> MemoryDisk::names() const {
  const std::scoped_lock lock(world_->mutex);
  std::vector<std::string> names;
  for (const auto& [name, number] : world_->tree.visible) names.push_back(name);
  return names;
}

std::string MemoryDisk::bytes(const std::string& name) const { return bytes_if_there(name).value(); }

std::optional<std::string> MemoryDisk::bytes_if_there(const std::string& name) const {
  const std::scoped_lock lock(world_->mutex);
  const Inode* const file = world_->tree.find(name);
  return file == nullptr ? std::nullopt : std::optional(file->visible);
}

void MemoryDisk::replace(const std::string& name, std::string bytes) {
  const std::scoped_lock lock(world_->mutex);
  Tree& tree = world_->tree;
  if (tree.find(name) == nullptr) {
    const std::uint64_t number = tree.next_inode++;
    tree.inodes[number].links = 1;
    tree.visible[name] = number;
  }
  tree.sync_names();
  Inode& file = *tree.find(name);
  Tree::clean(file);
  file.unbacked.clear();
  file.visible = file.durable = std::move(bytes);
}

std::vector<std::pair<std::string, std::uint64_t>> MemoryDisk::sizes() const {
  const std::scoped_lock lock(world_->mutex);
  std::vector<std::pair<std::string, std::uint64_t>> sizes;
  for (const auto& [name, number] : world_->tree.visible) {
    sizes.emplace_back(name, world_->tree.inodes.at(number).visible.size());
  }
  return sizes;
}

std::uint64_t MemoryDisk::used() const {
  const std::scoped_lock lock(world_->mutex);
  return world_->tree.used();
}

std::uint64_t MemoryDisk::calls(Call call) const {
  const std::scoped_lock lock(world_->mutex);
  return world_->calls[static_cast<std::size_t>(call)];
}

std::uint64_t MemoryDisk::changing_calls() const {
  const std::scoped_lock lock(world_->mutex);
  std::uint64_t all = 0;
  for (std::size_t call = 0; call < kCalls; ++call) {
    if (changes_something(static_cast<Call>(call))) all += world_->calls[call];
  }
  return all;
}

std::uint64_t MemoryDisk::failed_reads(const std::function<bool(std::string_view)>& where) const {
  const std::scoped_lock lock(world_->mutex);
  return static_cast<std::uint64_t>(std::ranges::count_if(world_->failed_reads, where));
}

std::uint64_t MemoryDisk::failed_syncs(const std::function<bool(std::string_view)>& where) const {
  const std::scoped_lock lock(world_->mutex);
  return static_cast<std::uint64_t>(std::ranges::count_if(world_->failed_syncs, where));
}

std::uint64_t MemoryDisk::destroyed(const std::function<bool(std::string_view)>& where) const {
  const std::scoped_lock lock(world_->mutex);
  return static_cast<std::uint64_t>(std::ranges::count_if(world_->destroyed, where));
}

std::uint64_t MemoryDisk::spoiled() const {
  const std::scoped_lock lock(world_->mutex);
  return world_->spoiled;
}

std::uint64_t MemoryDisk::passed(sluice::Instant instant) const {
  const std::scoped_lock lock(world_->mutex);
  return world_->passed[static_cast<std::size_t>(instant)];
}

}  // namespace model
