// How the twin keeps its books: an inode holds what is seen, what is durable and what happened in between; names
// likewise. Any thread, by the one lock of a world; files lock it too. It decides nothing until the end: then the dice
// do.
#include "model/memory_disk.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "model/dice.h"

namespace model {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
// More versions of one block make a cut no nastier, but cost memory where nobody syncs.
constexpr std::size_t kMostVersions = 6;
constexpr std::size_t kMostGhosts = 16;

std::error_code error(std::errc code) { return std::make_error_code(code); }

std::uint64_t in_blocks(std::uint64_t size) { return (size + kBlock - 1) / kBlock; }

// This block of the file, filled up with zeros.
std::string block_of(const std::string& bytes, std::uint64_t block) {
  const std::size_t begin = block * kBlock;
  std::string content = begin < bytes.size() ? bytes.substr(begin, kBlock) : std::string();
  content.resize(kBlock);
  return content;
}

// Puts what fits of the block into a file whose size is settled.
void put_block(std::string& bytes, std::uint64_t block, const std::string& content) {
  const std::size_t begin = block * kBlock;
  if (begin < bytes.size()) std::memcpy(&bytes[begin], content.data(), std::min(kBlock, bytes.size() - begin));
}

bool all_zeros(const std::string& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == '\0'; });
}

struct Inode {
  std::string visible;  // as the running program sees it
  std::string durable;  // as the disk would show it if nothing that is dirty had reached it
  std::map<std::uint64_t, std::vector<std::string>> dirty;  // each block's contents since the last sync, newest last
  std::vector<std::uint64_t> sizes;                         // since the last sync, newest last; empty: clean
  std::set<std::uint64_t> unbacked;  // clean blocks that a failed sync lost: visible, and perhaps not on the disk
  std::uint64_t preallocated = 0;    // until here an unwritten block reads as zeros
  std::size_t links = 0;
  std::size_t handles = 0;
};

// A change of names that no sync of the directory has covered.
struct NameChange {
  std::string name;                   // gone afterwards, unless it is made
  std::optional<std::uint64_t> made;  // the file that has this name now
  std::string renamed_to;             // if not empty: that name has the file of `name`

  [[nodiscard]] bool touches(const std::string& other) const {
    return other == name || (!renamed_to.empty() && other == renamed_to);
  }
  [[nodiscard]] bool touches(const NameChange& other) const {
    return touches(other.name) || (!other.renamed_to.empty() && touches(other.renamed_to));
  }
};

using Names = std::map<std::string, std::uint64_t>;

void make(const NameChange& change, Names& names) {
  if (change.made) {
    names[change.name] = *change.made;
  } else if (!change.renamed_to.empty()) {
    names[change.renamed_to] = names.at(change.name);
    names.erase(change.name);
  } else {
    names.erase(change.name);
  }
}

// How the dice treat all that was not synced. Pure cases are thrown often, since chance alone hardly ever makes them.
enum class Fortune : std::uint8_t { lost, kept, mixed };

Fortune throw_fortune(Dice& dice) {
  const std::size_t thrown = dice.below(6);
  return thrown == 0 ? Fortune::lost : thrown == 1 ? Fortune::kept : Fortune::mixed;
}

// The disk and the page cache: all that a process leaves behind when it is killed.
struct Tree {
  std::map<std::uint64_t, Inode> inodes;
  Names visible, durable;
  std::vector<NameChange> changes;  // oldest first; durable with all of them applied is visible
  std::vector<std::string> ghosts;  // blocks of removed files, which a new file may find where its data was lost
  std::uint64_t next_inode = 1;
  std::uint64_t capacity = kNoLimit;
  std::string elsewhere;  // a file that is on another disk
  Dice dice;

  explicit Tree(std::uint64_t seed) : dice(seed) {}

  Inode* find(const std::string& name) {
    const auto found = visible.find(name);
    return found == visible.end() ? nullptr : &inodes.at(found->second);
  }

  [[nodiscard]] const Inode* other_disks() const {
    const auto found = visible.find(elsewhere);
    return found == visible.end() ? nullptr : &inodes.at(found->second);
  }

  [[nodiscard]] std::uint64_t used() const {
    std::uint64_t blocks = 0;
    for (const auto& [number, inode] : inodes) {
      if (&inode == other_disks()) continue;
      if (inode.links + inode.handles > 0) blocks += in_blocks(inode.visible.size());
    }
    return blocks * kBlock;
  }

  // How long this file could become.
  [[nodiscard]] std::uint64_t longest(const Inode& file) const {
    if (capacity == kNoLimit || &file == other_disks()) return kNoLimit;
    const std::uint64_t others = used() - in_blocks(file.visible.size()) * kBlock;
    // What is there stays, also when somebody shrinks the disk below what it holds.
    return std::max<std::uint64_t>(file.visible.size(), capacity > others ? (capacity - others) / kBlock * kBlock : 0);
  }

  void change_names(NameChange change) {
    make(change, visible);
    changes.push_back(std::move(change));
  }

  void sync_names() {
    durable = visible;
    changes.clear();
    collect();
  }

  void give_up(const Inode& file) {
    for (std::uint64_t block = 0; block < in_blocks(file.visible.size()) && ghosts.size() < kMostGhosts; ++block) {
      std::string content = block_of(file.visible, block);
      if (!all_zeros(content)) ghosts.push_back(std::move(content));
    }
  }

  // Frees the files that nobody can reach any more, not even by losing names.
  void collect() {
    std::set<std::uint64_t> reachable;
    for (const auto& [name, number] : durable) reachable.insert(number);
    for (const NameChange& change : changes) {
      if (change.made) reachable.insert(*change.made);
    }
    std::erase_if(inodes, [&](const auto& entry) {
      const Inode& file = entry.second;
      if (file.links + file.handles > 0 || reachable.contains(entry.first)) return false;
      give_up(file);
      return true;
    });
  }

  // The visible bytes of these blocks have changed.
  void touch(Inode& file, std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t block = begin; block < end; ++block) {
      file.unbacked.erase(block);
      auto& versions = file.dirty[block];
      if (versions.size() == kMostVersions) versions.erase(versions.begin() + kMostVersions / 2);
      versions.push_back(block_of(file.visible, block));
    }
  }

  void resized(Inode& file) {
    const std::uint64_t known = file.sizes.empty() ? file.durable.size() : file.sizes.back();
    if (known == file.visible.size()) return;
    if (file.sizes.size() == kMostVersions) file.sizes.erase(file.sizes.begin() + kMostVersions / 2);
    file.sizes.push_back(file.visible.size());
  }

  void write(Inode& file, std::uint64_t offset, std::string_view data) {
    if (data.empty()) return;
    if (file.visible.size() < offset + data.size()) file.visible.resize(offset + data.size());
    std::memcpy(&file.visible[offset], data.data(), data.size());
    touch(file, offset / kBlock, in_blocks(offset + data.size()));
    resized(file);
  }

  void truncate(Inode& file, std::uint64_t size) {
    const std::uint64_t old = file.visible.size();
    file.visible.resize(size);
    // What was cut off is zeros, should the file grow again: a content like any other, kept or lost at a power cut.
    for (std::uint64_t block = size / kBlock; block < in_blocks(old); ++block) {
      const auto dirty = file.dirty.find(block);
      const std::string before = dirty == file.dirty.end() ? block_of(file.durable, block) : dirty->second.back();
      if (before != block_of(file.visible, block)) touch(file, block, block + 1);
    }
    resized(file);
  }

  void sync(Inode& file) {
    if (!file.sizes.empty()) file.durable.resize(file.visible.size());
    for (const auto& [block, versions] : file.dirty) put_block(file.durable, block, versions.back());
    clean(file);
  }

  // The kernel tried, and forgets that it failed. True: `destroys`, and bytes that were durable are gone with it.
  bool fail_sync(Inode& file, bool destroys) {
    std::string survived = survivor(file, throw_fortune(dice), {});
    bool destroyed = false;
    for (const auto& [block, versions] : file.dirty) {
      file.unbacked.insert(block);
      if (destroys && dice.one_in(3)) destroyed = destroy_sector(file, block, survived) || destroyed;
    }
    clean(file);
    file.durable = std::move(survived);
    return destroyed;
  }

  // Likewise a write that failed, on its way to these bytes.
  bool destroy(Inode& file, std::uint64_t offset, std::uint64_t size) {
    bool destroyed = false;
    for (std::uint64_t block = offset / kBlock; block < in_blocks(offset + size); ++block) {
      if (dice.one_in(3)) destroyed = destroy_sector(file, block, file.durable) || destroyed;
    }
    return destroyed;
  }

  // A sector of this block is noise. True: it was durable, and more than zeros.
  bool destroy_sector(const Inode& file, std::uint64_t block, std::string& bytes) {
    const std::size_t sector = dice.below(kBlock / kSector) * kSector;
    const bool was_used = !all_zeros(block_of(file.durable, block).substr(sector, kSector));
    std::string content = block_of(bytes, block);
    for (std::size_t at = sector; at < sector + kSector; ++at) content[at] = static_cast<char>(dice.below(256));
    put_block(bytes, block, content);
    return was_used;
  }

  static void clean(Inode& file) {
    file.dirty.clear();
    file.sizes.clear();
    file.preallocated = 0;
  }

  // Memory was short, and a page that counts as clean had to go: what the disk has is read again.
  void evict(Inode& file, std::uint64_t begin, std::uint64_t end) {
    for (auto block = file.unbacked.lower_bound(begin); block != file.unbacked.end() && *block < end;) {
      if (!dice.one_in(4)) {
        ++block;
        continue;
      }
      put_block(file.visible, *block, block_of(file.durable, *block));
      block = file.unbacked.erase(block);
    }
  }

  // Two contents of a block, the later one written over the earlier as far as the power lasted.
  std::string tear(const std::string& before, const std::string& after) {
    std::string torn = before;
    const std::size_t sectors = kBlock / kSector;
    const std::size_t split = dice.below(sectors + 1);
    const std::size_t how = dice.below(3);
    for (std::size_t sector = 0; sector < sectors; ++sector) {
      const bool written = how == 0 ? sector < split : how == 1 ? sector >= split : dice.coin();
      if (written) torn.replace(sector * kSector, kSector, after, sector * kSector, kSector);
    }
    return torn;
  }

  std::string surviving_block(const std::string& old, const std::vector<std::string>& versions, Fortune fortune) {
    if (fortune == Fortune::lost) return old;
    if (fortune == Fortune::kept) return versions.back();
    switch (dice.below(4)) {
      case 0:
        return old;
      case 1:
        return versions.back();
      case 2:
        return versions[dice.below(versions.size())];
      default: {
        const std::size_t later = dice.below(versions.size());
        const std::size_t earlier = dice.below(later + 1);  // 0: the old one
        return tear(earlier == 0 ? old : versions[earlier - 1], versions[later]);
      }
    }
  }

  // The file as the disk has it when the power goes now.
  std::string survivor(const Inode& file, Fortune fortune, const std::vector<std::string>& found) {
    std::string bytes = file.durable;
    if (!file.sizes.empty() && fortune != Fortune::lost) {
      const std::size_t which = fortune == Fortune::kept ? file.sizes.size() : dice.below(file.sizes.size() + 1);
      if (which > 0) bytes.resize(file.sizes[which - 1]);
    }
    for (const auto& [block, versions] : file.dirty) {
      if (block * kBlock >= bytes.size()) break;
      std::string old = block_of(file.durable, block);
      const bool never_written = block >= in_blocks(file.durable.size()) && block * kBlock >= file.preallocated;
      if (never_written && !found.empty() && dice.one_in(8)) old = found[dice.below(found.size())];
      put_block(bytes, block, surviving_block(old, versions, fortune));
    }
    return bytes;
  }

  // In what a journalling file system would leave, a change is kept if all before it are; in what others leave, if
  // those before it that touch its names are.
  Names surviving_names() {
    Names names = durable;
    const Fortune fortune = throw_fortune(dice);
    const bool in_order = dice.coin();
    const std::size_t prefix = dice.below(changes.size() + 1);
    std::vector<bool> kept(changes.size());
    for (std::size_t i = 0; i < changes.size(); ++i) {
      bool keep = fortune == Fortune::kept;
      if (fortune == Fortune::mixed) keep = in_order ? i < prefix : dice.coin();
      for (std::size_t earlier = 0; earlier < i && keep; ++earlier) {
        keep = kept[earlier] || !changes[earlier].touches(changes[i]);
      }
      kept[i] = keep;
      if (keep) make(changes[i], names);
    }
    return names;
  }

  // What the next start finds after a power cut.
  Tree after_power_cut() {
    Tree next(dice.next());
    next.capacity = capacity;
    next.elsewhere = elsewhere;
    next.visible = next.durable = surviving_names();
    next.next_inode = next_inode;
    const Fortune fortune = throw_fortune(dice);
    for (const auto& [name, number] : next.visible) {
      Inode file;
      file.durable = survivor(inodes.at(number), fortune == Fortune::mixed ? throw_fortune(dice) : fortune, ghosts);
      file.visible = file.durable;
      file.links = 1;
      next.inodes.emplace(number, std::move(file));
    }
    next.ghosts = ghosts;
    for (const auto& [number, file] : inodes) {
      if (!next.inodes.contains(number)) next.give_up(file);
    }
    return next;
  }

  // What the next start finds after a kill.
  Tree after_kill() {
    Tree next = *this;
    next.dice = Dice(dice.next());
    for (auto& [number, file] : next.inodes) file.handles = 0;
    next.collect();
    return next;
  }
};

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
  if (!fate.error) world_->removed = false;
  return fate.error;
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

std::shared_ptr<MemoryDisk> MemoryDisk::same() const { return std::shared_ptr<MemoryDisk>(new MemoryDisk(world_)); }

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
