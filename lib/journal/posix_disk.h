// The real disk: the files of STATE/journal, by system calls. Threads: as disk.h says.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "journal/disk.h"
#include "journal/named_lock.h"

namespace sluice {

class StateDir;

class PosixDisk final : public Disk {
 public:
  explicit PosixDisk(StateDir& state_dir);  // which outlives it

  [[nodiscard]] std::error_code hold() override;
  [[nodiscard]] std::error_code open(const std::string& name, Open how, std::unique_ptr<DiskFile>& file) override;
  [[nodiscard]] std::error_code rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] std::error_code unlink(const std::string& name) override;
  [[nodiscard]] std::error_code sync_directory() override;
  [[nodiscard]] std::error_code list(std::vector<std::string>& names) override;

 private:
  [[nodiscard]] std::error_code sync_names_above() const;

  StateDir& state_dir_;
  const std::filesystem::path directory_;
  // On the journal's directory itself: two state directories may lead to one journal.
  NamedLock lock_;
  bool names_synced_ = false;  // of the directory and its parents
};

// For reading only, without a lock: every change is refused. For a look into a journal from outside.
[[nodiscard]] std::unique_ptr<Disk> read_only_disk(const std::filesystem::path& state_dir);

// STATE/journal
[[nodiscard]] std::filesystem::path journal_directory(const std::filesystem::path& state_dir);

}  // namespace sluice
