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

// A journal in a real directory, for who opens files by name.
class Shelf {
 public:
  explicit Shelf(const Files& files);
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

// A sanitizer takes each trial twenty times as long; some of them find what it is there for.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::uint64_t kTrialStride = 29;
#else
inline constexpr std::uint64_t kTrialStride = 1;
#endif

// Where anything is written, padding and the words behind it included; and some places in what is zeros.
[[nodiscard]] std::vector<std::uint64_t> places_in(const std::string& bytes);

// Many trials, both ways: a promise that was not kept fails the test. `of` outlives them.
class Trials {
 public:
  explicit Trials(const Specimen& of);
  ~Trials();
  Trials(const Trials&) = delete;
  Trials& operator=(const Trials&) = delete;

  void of(const std::string& what, const Damage& damage);
  // Any journal at all.
  void of(const std::string& what, const Files& files, const Expected& expected);

 private:
  void judge(const std::string& what, const std::vector<std::string>& complaints, const Expected& expected);

  Shelf shelf_;
  int failed_ = 0;
  std::uint64_t made_ = 0, lost_ = 0, aside_ = 0, torn_ = 0;
};

}  // namespace trial
