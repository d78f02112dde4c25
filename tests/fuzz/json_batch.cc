// Arrays and sequences of JSON texts. An array is taken apart if and only if it is JSON, with the same fault otherwise;
// its elements are JSON, stand in the text in their order, and together with commas are the array again; one that is
// taken apart anew has the same. Of a sequence: each record is JSON, and written as one again it has the same.
#include "http/json_batch.h"

#include <vector>

#include "fuzz.h"

namespace {

using namespace sluiced::http;
using fuzz::Exact;
using fuzz::must;

template <typename Texts>
std::vector<std::string> texts_of(std::string_view text, JsonFault& fault) {
  const Exact exact(text);
  Texts texts(exact.view());
  std::vector<std::string> all;
  const char* behind = exact.view().data();
  while (const auto one = texts.next()) {
    must(one->data() >= behind && one->data() + one->size() <= exact.view().data() + exact.view().size(),
         "they stand in the text in their order", text);
    behind = one->data() + one->size();
    must(!check_json_grammar(*one), "each is JSON", *one);
    all.emplace_back(*one);
  }
  fault = texts.fault();
  must(!texts.next(), "behind the last there is none");
  must(fault.byte <= text.size() + 1, "a fault is within the text or at its end", text);
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::view(data, size);
  JsonFault fault;
  if (begins_as_array(text)) {
    const std::vector<std::string> elements = texts_of<JsonArray>(text, fault);
    const JsonFault whole = check_json_grammar(text);
    must(static_cast<bool>(fault) == static_cast<bool>(whole), "an array is taken apart if it is JSON", text);
    must(fault.byte == whole.byte && (!fault || std::string_view(fault.what) == whole.what), "by the same fault", text);
    if (!fault) {
      std::string again = "[";
      for (const std::string& element : elements) again.append(element).append(" ,");
      if (elements.empty()) again += ' ';
      again.back() = ']';
      must(texts_of<JsonArray>(again, fault) == elements && !fault, "written again it has the same", again);
    }
  }
  const std::vector<std::string> records = texts_of<JsonSequence>(text, fault);
  std::string again;
  for (const std::string& record : records) again.append("\x1e").append(record).append("\n");
  must(texts_of<JsonSequence>(again, fault) == records && !fault, "a sequence, likewise", again);
  return 0;
}
