// The request reader, as a connection uses it: requests one after another, heads, bodies by length and in chunks. Where
// the bytes were cut must not matter: in one piece, byte by byte, and in two pieces cut anywhere, the same is
// understood and the same is left over. And a head that is taken has one meaning: one Host at least with HTTP/1.1, one
// length.
#include "http/request.h"

#include <utility>

#include "fuzz.h"
#include "http/chunks.h"
#include "http/known_head.h"

namespace {

using namespace sluiced::http;
using fuzz::Exact;
using fuzz::must;

// Reads a stream in whatever pieces it comes, and writes down what it understands.
class Reading {
 public:
  void feed(std::string_view fresh) {
    held_ += fresh;
    while (open_ && !held_.empty() && step()) {
    }
  }

  // All that was understood, and how much waits for more.
  [[nodiscard]] std::string story() const {
    return story_ +
           (open_ ? "open, " + std::to_string(held_.size()) + " held, " + std::to_string(left_) + " wanted" : "closed");
  }

 private:
  enum class In { head, body, chunks };

  // False: more is wanted.
  bool step() {
    switch (in_) {
      case In::head:
        return read_head();
      case In::body:
        return read_body();
      case In::chunks:
        return read_chunks();
    }
    return false;
  }

  bool close(std::string_view why) {
    story_ += why;
    story_ += '\n';
    open_ = false;
    return false;
  }

  bool read_head() {
    if (!begun_ && held_.front() == '\r') {  // empty lines before a request are nothing
      if (held_.size() == 1) return false;
      if (held_[1] == '\n') return use(2);
    }
    const Exact most(std::string_view(held_).substr(0, kMaxHead));
    const FoundHead found = find_head(most.view(), searched_);
    must(found.size <= most.view().size(), "a head is found within what there is");
    if (found.state == FoundHead::State::bad) return close("bad head");
    if (found.state == FoundHead::State::partial) {
      if (held_.size() > kMaxHead) return close("long head");
      begun_ = true;
      searched_ = found.size;
      return false;
    }
    begun_ = false;
    searched_ = 0;
    const Exact text(most.view().substr(0, found.size));
    const std::size_t known = known_.match(text.view());
    must(known == 0 || known == text.view().size(), "a head that is known ends where it ends", text.view());
    Head head;
    const HeadFault fault = parse_head(text.view(), head);
    if (fault.status != 0) {
      must(known == 0, "what is refused is not known", text.view());
      must(fault.status >= 400 && fault.status < 600 && !fault.detail.empty(), "a fault has a status and a reason");
      return close("refused " + std::to_string(fault.status));
    }
    must(!(head.chunked && (head.has_length || head.http10)), "a request has one length", text.view());
    must(head.has_length || head.content_length == 0, "a length was said", text.view());
    must(!head.method.empty() && !head.target.empty(), "a request has a method and a target", text.view());
    must(text.view().find('\0') == std::string_view::npos, "no head has a NUL", text.view());
    const std::string before = story_;
    note(head);
    if (known != 0) {
      const std::string anew = std::exchange(story_, before);
      note(known_.head());
      must(story_ == anew, "a head that is known says what it says when it is read anew", text.view());
    }
    known_.keep(text.view(), head);
    use(found.size);
    left_ = head.content_length;
    in_ = head.chunked ? In::chunks : In::body;
    if (head.chunked) chunks_ = ChunkReader();
    return left_ > 0 || head.chunked || finish();
  }

  bool read_body() {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, held_.size()));
    body_ += held_.substr(0, size);
    left_ -= size;
    use(size);
    return left_ > 0 || finish();
  }

  bool read_chunks() {
    const Exact input(held_);
    const ChunkStep step = chunks_.step(input.view());
    must(step.used <= held_.size(), "no more is used than there is");
    must(step.data.empty() || (step.data.data() >= input.view().data() &&
                               step.data.data() + step.data.size() <= input.view().data() + step.used),
         "the data is a part of what was used");
    body_ += step.data;
    use(step.used);
    switch (step.state) {
      case ChunkStep::State::bad:
        return close("bad chunk behind " + body_);
      case ChunkStep::State::too_long:
        return close("long chunk line");
      case ChunkStep::State::starved:
        must(held_.empty(), "who is starved has used all");
        return false;
      case ChunkStep::State::done:
        return finish();
      case ChunkStep::State::going:
        must(step.used > 0, "who goes on gets on");
        return true;
    }
    return false;
  }

  bool use(std::size_t bytes) {
    held_.erase(0, bytes);
    return true;
  }

  bool finish() {
    story_ += "body " + body_ + '\n';
    body_.clear();
    in_ = In::head;
    return true;
  }

  void note(const Head& head) {
    const auto say = [this](std::string_view what) {
      story_ += what;
      story_ += ' ';
    };
    say(head.method);
    say(head.target);
    say(path_of(head.target));
    say(head.content_type);
    for (const bool is : {head.http10, head.keep_alive, head.chunked, head.has_length, head.coding == Coding::gzip,
                          head.expects_continue, head.expects_else}) {
      say(is ? "yes" : "no");
    }
    say(std::to_string(head.content_length));
    for (const Field& field : head.cloud_event) {
      say(field.name);
      say(field.value);
    }
    story_ += '\n';
  }

  std::string held_;
  std::string body_;
  std::string story_;
  ChunkReader chunks_;
  KnownHead known_;
  std::uint64_t left_ = 0;
  std::size_t searched_ = 0;
  In in_ = In::head;
  bool begun_ = false;
  bool open_ = true;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::view(data, size);
  Reading whole;
  whole.feed(text);

  Reading bytewise;
  for (std::size_t i = 0; i < size; ++i) bytewise.feed(text.substr(i, 1));
  must(bytewise.story() == whole.story(), "byte by byte it says the same", whole.story());

  // Anywhere: a few places an input, by its bytes, and all of them over many inputs.
  std::size_t place = std::hash<std::string_view>()(text);
  for (int i = 0; i < 4 && size > 1; ++i, place = place * 31 + 7) {
    const std::size_t cut = 1 + place % (size - 1);
    Reading halves;
    halves.feed(text.substr(0, cut));
    halves.feed(text.substr(cut));
    must(halves.story() == whole.story(), "cut in two it says the same", whole.story());
  }
  return 0;
}
