// The twin in memory of the journal's disk, as nasty as real ones are. It keeps what was synced; whatever was not, it
// loses, keeps, tears or reorders when the power goes, block by block, names included. Tests say when the power goes,
// when the process is killed and which call fails; the rest is chance, by a seed.
//
// Any thread: one mutex guards all of it. Deterministic as long as one thread calls.
//
// What real file systems taught it:
// - Bytes live in blocks of 4096. One that was not synced stands on the disk as it was, as it is, as it was in between
//   (the kernel writes back when it likes), or as a mixture of two of these, sector by sector.
// - A size is not data: the file may be as long as it was at any moment since its sync, and what is missing within it
//   reads as zeros, or as what a removed file left there (never in preallocated room).
// - sync() is about bytes and size, never about the name: a new file whose directory was not synced may vanish.
// - Names that were not synced are kept or lost one by one; those that touch the same name in their order, a rename
//   whole or not at all.
// - After a failed sync the pages count as clean, whatever the disk holds: the next sync succeeds and writes nothing of
//   them, and a later read may show what the disk has.
// - A block is written whole. So a call that fails may destroy what stood in the block before, also what an earlier
//   sync had made durable: as an option, since a file that appends within its last block cannot survive that.
// - kill -9 loses nothing that was written. It does not sync it either: the power may still go afterwards.
//
// A world that has ended (cut() or kill()) refuses everything with EIO and changes nothing more, so what still runs in
// it may finish harmlessly; reboot() gives the next one.
// It refuses to be a file system: one directory, no permissions, no lock but the directory's.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "journal/disk.h"

namespace model {

inline constexpr std::size_t kBlock = 4096;
inline constexpr std::size_t kSector = 512;

enum class Call : std::uint8_t {
  // These change something, and are what end_at_call() counts.
  create,
  rename,
  unlink,
  sync_directory,
  write,
  sync,
  preallocate,
  truncate,
  // These do not.
  hold,
  open,
  list,
  read,
  stat,
};
inline constexpr std::size_t kCalls = static_cast<std::size_t>(Call::stat) + 1;
[[nodiscard]] constexpr bool changes_something(Call call) noexcept { return call < Call::hold; }

enum class End : std::uint8_t {
  power_cut,  // what was not synced is at the mercy of chance
  kill,       // kill -9: all that was written is still there, and still not synced
};

enum class Moment : std::uint8_t {
  before,  // the call has done nothing
  during,  // a write has done a part of its work; anything else all or nothing
  after,   // it has done all, and its caller never learns
};

// A call that goes wrong.
struct Fault {
  Call call = Call::write;
  std::uint64_t nth = 1;  // of the calls that it fits, counted from now
  std::errc error = std::errc::io_error;
  bool lasts = false;  // until heal(); else once
  // Which files; empty: all. A handle goes by the name under which it was opened, the directory's calls by "".
  std::function<bool(std::string_view)> where = {};
};

class MemoryDisk final : public sluice::Disk {
 public:
  explicit MemoryDisk(std::uint64_t seed);
  ~MemoryDisk() override;

  [[nodiscard]] std::error_code hold() override;
  [[nodiscard]] std::error_code open(const std::string& name, Open how,
                                     std::unique_ptr<sluice::DiskFile>& file) override;
  [[nodiscard]] std::error_code rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] std::error_code unlink(const std::string& name) override;
  [[nodiscard]] std::error_code sync_directory() override;
  [[nodiscard]] std::error_code list(std::vector<std::string>& names) override;
  void pass(sluice::Instant now) noexcept override;

  // Another handle of the same world, for who must own one.
  [[nodiscard]] std::shared_ptr<MemoryDisk> same() const;
  // Likewise, as another process has it: hold() fails there, as long as this one holds the directory.
  [[nodiscard]] std::shared_ptr<MemoryDisk> of_another_process() const;

  // The end of the world: at once, or when the nth of something from now happens. Several may be planned; the first
  // one counts.
  void cut() { end(End::power_cut); }
  void kill() { end(End::kill); }
  void end(End how);
  void end_at(End how, sluice::Instant when, std::uint64_t nth = 1);
  void end_at_call(End how, std::uint64_t nth, Moment moment);  // counts the calls that change something
  void forget_ends();                                           // what was planned is not
  [[nodiscard]] bool ended() const { return ended_by().has_value(); }
  [[nodiscard]] std::optional<End> ended_by() const;

  // The world after the end, the same whenever it is asked for. After a power cut all that is in it is durable. The
  // capacity stays, faults and plans do not.
  [[nodiscard]] std::unique_ptr<MemoryDisk> reboot() const;

  // A write that fails has written a part (a random one, or what fits), a preallocation may have grown the file, a
  // failed sync has lost pages; anything else that fails has done nothing.
  void fail(Fault fault);
  // From here, in this world, a write or a sync of such a file that fails with EIO also destroys: in a third of the
  // blocks that it was to write one sector is noise on the disk, whether anything in that sector had changed or not.
  void destroy_what_fails(std::function<bool(std::string_view)> where);
  // Reads that meet these bytes of a file opened under this name fail from there on with EIO, until heal().
  void make_unreadable(const std::string& name, std::uint64_t from, std::uint64_t to);
  void set_capacity(std::uint64_t bytes);  // of all files together, in whole blocks; then ENOSPC
  // Everything that changes something fails, and so does opening to write; what is there can be read.
  void make_read_only();
  void heal();  // no faults, no capacity, and it can be written
  // This file lies on another disk, which never fills and never becomes read-only.
  void put_elsewhere(const std::string& name);
  // Somebody removes the directory for good. Open files go on working, with no links; hold() makes a new one. The
  // file that is named, if any, is taken for one of another directory.
  void remove_directory(const std::string& but_for = {});
  // Likewise one file; there must be such a one.
  void remove_file(const std::string& name);

  // Called before each call does its work, on its thread and without the lock: a test may count there, look, or wait
  // (a disk that hangs). To be set before there is a second thread.
  void on_call(std::function<void(Call, std::string_view)> hook);

  // For the tests, as the running program would see it. An ended world shows what it last saw.
  [[nodiscard]] std::vector<std::string> names() const;            // sorted
  [[nodiscard]] std::string bytes(const std::string& name) const;  // there must be such a file
  [[nodiscard]] std::optional<std::string> bytes_if_there(const std::string& name) const;
  void replace(const std::string& name, std::string bytes);                        // made if need be; durable at once
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> sizes() const;  // of all files, by name
  [[nodiscard]] std::uint64_t used() const;                                        // of the capacity
  [[nodiscard]] std::uint64_t calls(Call call) const;                              // so far, those that failed included
  [[nodiscard]] std::uint64_t changing_calls() const;
  [[nodiscard]] std::uint64_t passed(sluice::Instant instant) const;
  // Syncs of such files, by the names under which they were opened, that have failed and thrown pages away.
  [[nodiscard]] std::uint64_t failed_syncs(const std::function<bool(std::string_view)>& where) const;
  // Reads of such files that have failed.
  [[nodiscard]] std::uint64_t failed_reads(const std::function<bool(std::string_view)>& where) const;
  // Of the failed syncs, the ones that destroyed what was durable before.
  [[nodiscard]] std::uint64_t destroyed(const std::function<bool(std::string_view)>& where) const;
  // Files whose first sync was one that failed and destroyed: noise may stand where nothing ever was.
  [[nodiscard]] std::uint64_t spoiled() const;

 private:
  struct World;
  class File;

  explicit MemoryDisk(std::shared_ptr<World> world);
  [[nodiscard]] std::error_code open_old(const std::string& name, Open how, std::unique_ptr<File>& file);
  [[nodiscard]] std::error_code create(const std::string& name, std::unique_ptr<File>& file);

  std::shared_ptr<World> world_;  // owners: the disk, and each open file, which may outlive it
  std::uint64_t process_ = 1;
};

}  // namespace model
