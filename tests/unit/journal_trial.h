// What a start makes of a journal that some bytes of were changed, and what a look from outside says of it, in the
// words of the oracle. One thread.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/temp_dir.h"
#include "unit/journal_specimen.h"

namespace trial {

// The specimen with this damage is opened, all that it holds is taken and finished, and it is opened once more. Each
// sentence is a promise that was not kept.
[[nodiscard]] std::vector<std::string> complaints_of_start(const Files& files, const Expected& expected);

// The specimen in a real directory, for who opens files by name.
class Shelf {
 public:
  Shelf();
  [[nodiscard]] const std::filesystem::path& state_dir() const { return dir_.path(); }
  void put(const std::string& file, const std::string& bytes) const;
  void cut_off(const std::string& file, std::uint64_t length) const;
  // At its end too.
  void overwrite(const std::string& file, std::uint64_t at, std::string_view with) const;
  [[nodiscard]] Files files() const;

 private:
  test::TempDir dir_;
};

[[nodiscard]] std::vector<std::string> complaints_of_view(const Shelf& shelf, const Expected& expected);

// Both, of the specimen with one file replaced.
[[nodiscard]] std::vector<std::string> complaints_of(const Shelf& shelf, const Damage& damage,
                                                     const Expected& expected);

}  // namespace trial
