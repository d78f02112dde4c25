// Values of a JSON text by JSON Pointer ("/books/accepted"). Its .cc is the only file of this room that includes
// simdjson. One thread. A text that is not JSON has no values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sluicectl {

class Json {
 public:
  explicit Json(std::string_view text);
  ~Json();
  Json(const Json&) = delete;
  Json& operator=(const Json&) = delete;

  [[nodiscard]] std::optional<std::uint64_t> number(std::string_view pointer) const;
  [[nodiscard]] std::optional<double> real(std::string_view pointer) const;
  [[nodiscard]] std::optional<std::string> text(std::string_view pointer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluicectl
