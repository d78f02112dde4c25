// What the twin's disk and its page cache hold: an inode keeps what is seen, what is durable and what happened in
// between; names likewise. It decides nothing until a power cut: then the dice do. Under the lock of its world.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/dice.h"
#include "model/memory_disk.h"

namespace model {

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
// More versions of one block make a cut no nastier, but cost memory where nobody syncs.
inline constexpr std::size_t kMostVersions = 6;
inline constexpr std::size_t kMostGhosts = 16;

inline std::uint64_t in_blocks(std::uint64_t size) { return (size + kBlock - 1) / kBlock; }

// This block of the file, filled up with zeros.
inline std::string block_of(const std::string& bytes, std::uint64_t block) {
  const std::size_t begin = block * kBlock;
  std::string content = begin < bytes.size() ? bytes.substr(begin, kBlock) : std::string();
  content.resize(kBlock);
  return content;
}

// Puts what fits of the block into a file whose size is settled.
inline void put_block(std::string& bytes, std::uint64_t block, const std::string& content) {
  const std::size_t begin = block * kBlock;
  if (begin < bytes.size()) std::memcpy(&bytes[begin], content.data(), std::min(kBlock, bytes.size() - begin));
}

inline bool all_zeros(const std::string& bytes) {
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

inline void make(const NameChange& change, Names& names) {
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

inline Fortune throw_fortune(Dice& dice) {
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

}  // namespace model
