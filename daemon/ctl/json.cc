// See the header.
#include "ctl/json.h"

#include <simdjson.h>

namespace sluicectl {

struct Json::Impl {
  explicit Impl(std::string_view text) { good = parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS; }

  template <class Value>
  [[nodiscard]] std::optional<Value> at(std::string_view pointer) const {
    Value value{};
    if (!good || root.at_pointer(pointer).get(value) != simdjson::SUCCESS) return std::nullopt;
    return value;
  }

  simdjson::dom::parser parser;
  simdjson::dom::element root;
  bool good = false;
};

Json::Json(std::string_view text) : impl_(std::make_unique<Impl>(text)) {}

Json::~Json() = default;

std::optional<std::uint64_t> Json::number(std::string_view pointer) const { return impl_->at<std::uint64_t>(pointer); }

std::optional<double> Json::real(std::string_view pointer) const { return impl_->at<double>(pointer); }

std::optional<std::string> Json::text(std::string_view pointer) const {
  const auto view = impl_->at<std::string_view>(pointer);
  return view ? std::optional(std::string(*view)) : std::nullopt;
}

}  // namespace sluicectl
