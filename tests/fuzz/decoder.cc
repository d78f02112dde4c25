// The decoders of bodies. The first byte says which; the rest is a body, or the text of one, which is encoded here.
// However input and room are cut, the outcome is the same; a step never takes or writes more than it was given, and
// makes progress; what is held is charged, never more than the budget, and given back; and what was encoded comes out.
#include "http/decoder.h"

#include <zlib.h>
#include <zstd.h>

#include <array>
#include <vector>

#include "fuzz.h"

namespace {

using namespace sluiced::http;
using fuzz::Exact;
using fuzz::must;

constexpr std::size_t kBudget = std::size_t{9} << 20U;
constexpr std::size_t kMost = std::size_t{1} << 20U;  // of output: enough of a bomb

struct Outcome {
  std::string text;
  DecodeStep::Fault fault = DecodeStep::Fault::none;
  bool whole = false;
  bool too_large = false;

  bool operator==(const Outcome&) const = default;
};

Outcome decode(Coding coding, std::string_view body, std::size_t piece, std::size_t room) {
  Budget budget(kBudget);
  Outcome outcome;
  {
    const std::unique_ptr<Decoder> decoder = make_decoder(coding, budget);
    std::vector<char> space(room);
    while (!body.empty() && !outcome.too_large && outcome.fault == DecodeStep::Fault::none) {
      const Exact exact(body.substr(0, piece));
      std::string_view some = exact.view();
      body.remove_prefix(some.size());
      for (;;) {
        const DecodeStep step = decoder->step(some, space);
        must(step.used <= some.size() && step.written <= room, "a step stays within what it was given");
        must(decoder->memory() == budget.used(), "what a decoder holds is charged");
        outcome.text.append(space.data(), step.written);
        some.remove_prefix(step.used);
        outcome.fault = step.fault;
        outcome.too_large = outcome.text.size() > kMost;
        if (step.fault != DecodeStep::Fault::none || outcome.too_large) break;
        if (step.written == room) continue;
        must(some.empty(), "a step ends with its input or its room");
        break;
      }
    }
    outcome.whole = outcome.fault == DecodeStep::Fault::none && !outcome.too_large && decoder->may_end();
  }
  must(budget.used() == 0, "what was charged is given back");
  return outcome;
}

std::string encoded(Coding coding, std::string_view text) {
  if (coding == Coding::zstd) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
    return out;
  }
  z_stream stream{};
  must(deflateInit2(&stream, 1, Z_DEFLATED, coding == Coding::gzip ? 31 : 15, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<unsigned>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<unsigned>(out.size());
  must(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib encodes");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  constexpr std::array<Coding, 3> codings = {Coding::gzip, Coding::deflate, Coding::zstd};
  const Coding coding = codings[data[0] % codings.size()];
  const std::size_t cut = 1 + data[1];
  const std::string_view body = fuzz::view(data + 2, size - 2);

  const Outcome whole = decode(coding, body, body.size() + 1, 4096);
  const Outcome pieces = decode(coding, body, cut, 4096);
  const Outcome narrow = decode(coding, body, cut, cut);
  // How much had come out before a fault, or beyond the bound, is as the cuts were.
  must(whole.too_large || pieces.too_large || (whole.fault == pieces.fault && whole.whole == pieces.whole),
       "cut or not, the same outcome");
  if (whole.whole) must(whole == pieces && whole == narrow, "cut or not, the same text");

  const Outcome back = decode(coding, encoded(coding, body), cut, 1000);
  must(back.whole && back.text == body, "what was encoded comes out");
  return 0;
}
