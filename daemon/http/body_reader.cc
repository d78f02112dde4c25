// A body's bytes: counted, unwrapped, decoded, kept. Thread: see the header.
#include "http/body_reader.h"

#include <algorithm>

#include "http/coarse_clock.h"
#include "http/connection.h"
#include "http/io_thread.h"

namespace sluiced::http {
namespace {

constexpr std::size_t kFirstRoom = std::size_t{4} << 10U;  // or more if more has arrived; then by doubling
constexpr std::size_t kOwnCharge = 768;                    // this object, its content type and its decoder's object
constexpr std::size_t kDecoded = std::size_t{256} << 10U;  // in one turn: a fraction of a millisecond, as a rule
// Progress is this, and an eighth of what there is, so that a large body does not hold its memory for long.
constexpr std::size_t kProgress = std::size_t{16} << 10U;
constexpr std::size_t kProgressShare = 8;

}  // namespace

BodyReader::BodyReader(Connection& connection, const Head& head, ChargedBytes attributes)
    : connection_(connection),
      own_(connection.budget()),
      content_(head.content),
      content_type_(head.content_type),
      ending_(head.ending),
      limit_(head.limit),
      length_(head.length),
      attributes_(std::move(attributes)),
      body_(connection.budget()),
      undecoded_(connection.budget()),
      begun_at_(coarse_now()),
      marked_at_(begun_at_) {
  if (head.chunked) chunks_.emplace();
  if (head.coding != Coding::identity) decoder_ = make_decoder(head.coding, connection.budget());
}

bool BodyReader::try_charge() noexcept { return own_.try_add(kOwnCharge); }

// ---- bytes as they arrive

std::size_t BodyReader::take(std::string_view input) {
  if (chunks_) return take_chunks(input);
  if (decoder_) {
    const std::size_t size = std::min(input.size(), length_ - received_);
    take_encoded(input.substr(0, size), received_ + size == length_);
    return size;
  }
  const std::size_t size = std::min(input.size(), length_ - body_.size());
  if (!make_room(body_.size() + size) || !body_.try_append(input.substr(0, size))) return input.size();
  if (body_.size() == length_) state_ = State::whole;
  return size;
}

std::size_t BodyReader::take_chunks(std::string_view input) {
  std::size_t used = 0;
  while (state_ == State::partial) {
    const ChunkStep step = chunks_->step(input.substr(used));
    used += step.used;
    switch (step.state) {
      case ChunkStep::State::bad:
        refuse(400, "the chunks are malformed");
        return used;
      case ChunkStep::State::too_long:
        refuse(431, "a chunk's extensions or the trailers are longer than 16 KiB");
        return used;
      case ChunkStep::State::starved:
        return used;
      case ChunkStep::State::done:
        if (decoder_) {
          take_encoded({}, true);
        } else {
          state_ = State::whole;
        }
        return used;
      case ChunkStep::State::going:
        break;
    }
    if (decoder_) {
      take_encoded(step.data, false);
    } else if (body_.size() + step.data.size() > limit_) {
      refuse(413, kTooLarge);
    } else if (make_room(body_.size() + step.data.size())) {
      static_cast<void>(body_.try_append(step.data));  // there is room
    }
  }
  return used;
}

Received::State BodyReader::receive(ClientSocket& socket) {
  while (state_ == State::partial) {
    if (body_.room() == 0 && !make_room(body_.size() + 1)) break;
    const std::size_t room = body_.room();
    const Received received = socket.try_receive({body_.space(), room});
    if (received.state != Received::State::some) return received.state;
    body_.commit(received.size);
    if (body_.size() == length_) state_ = State::whole;
    if (received.size < room) break;  // the kernel has no more
  }
  return Received::State::some;
}

// ---- memory

// Room for `size` bytes of body in all, charged before it is made. False: refused.
bool BodyReader::make_room(std::size_t size) {
  if (size <= body_.capacity()) return true;
  const std::size_t most = decoder_  ? limit_ + 1  // which shows that it is too large
                           : chunks_ ? limit_
                                     : length_;
  connection_.thread().relieve(connection_);
  const std::size_t step = std::max({kFirstRoom, 2 * body_.capacity(), size + connection_.unread()});
  // Near the end of the budget the steps are small, but never a byte: each is a call and a copy of the whole body.
  const std::size_t least = std::min(most, size + kFirstRoom);
  if (body_.try_reserve(std::min(most, step)) || body_.try_reserve(least)) return true;
  // If this client holds so much beside the body that there will never be room, it need not come back.
  const std::size_t beside = kOwnCharge + attributes_.capacity() + undecoded_.capacity() +
                             connection_.memory_beside_body() + (decoder_ ? decoder_->memory() : 0);
  refuse_decoding(least + beside > connection_.budget().limit() ? DecodeStep::Fault::too_much
                                                                : DecodeStep::Fault::no_room);
  return false;
}

// ---- a body in a coding

void BodyReader::take_encoded(std::string_view piece, bool last) {
  received_whole_ = last;
  received_ += piece.size();
  if (received_ > encoded_limit(limit_)) return refuse(413, kTooLarge);
  const std::size_t used = decode(piece);
  if (state_ == State::paused && !undecoded_.try_append(piece.substr(used))) refuse(429, kNoRoom);
}

// At most one turn's worth, so that a body which is small outside and large inside keeps nobody else waiting. Returns
// how much of the input was used.
std::size_t BodyReader::decode(std::string_view input) {
  std::size_t used = 0;
  for (std::size_t left = kDecoded;;) {
    if (body_.room() == 0 && !make_room(body_.size() + 1)) return used;
    const std::size_t room = std::min(body_.room(), left);
    const DecodeStep step = decoder_->step(input.substr(used), {body_.space(), room});
    used += step.used;
    left -= step.written;
    body_.commit(step.written);
    if (body_.size() > limit_) {
      refuse_content(413, kTooLarge);
      return used;
    }
    if (step.fault != DecodeStep::Fault::none) {
      refuse_decoding(step.fault);
      return used;
    }
    if (step.written < room) break;  // it wants more input
    if (left == 0) {
      state_ = State::paused;
      return used;
    }
  }
  if (!received_whole_) return used;
  if (decoder_->may_end()) {
    state_ = State::whole;
  } else {
    refuse_content(400, "the body ends before its Content-Encoding does");
  }
  return used;
}

void BodyReader::resume() {
  state_ = State::partial;
  undecoded_.drop_front(decode(undecoded_.view()));
}

// ---- refusals

void BodyReader::refuse(int status, std::string_view detail) {
  state_ = State::refused;
  refusal_ = {.status = status, .detail = detail};
}

void BodyReader::refuse_content(int status, std::string_view detail) {
  state_ = State::refused;
  refusal_ = {.status = status, .detail = detail, .closes = !received_whole_};
}

void BodyReader::refuse_decoding(DecodeStep::Fault fault) {
  switch (fault) {
    case DecodeStep::Fault::none:
      return;
    case DecodeStep::Fault::corrupt:
      return refuse_content(400, "the body is not what its Content-Encoding says, or damaged");
    case DecodeStep::Fault::window:
      return refuse_content(400, "the window of the zstd frame is larger than 8 MiB");
    case DecodeStep::Fault::no_room:
      return refuse_content(429, kNoRoom);
    case DecodeStep::Fault::too_much:
      return refuse_content(413, "to receive this takes more memory than this server has for requests");
  }
}

// ---- progress

bool BodyReader::try_mark() noexcept {
  if (body_.size() - mark_ < std::max(kProgress, mark_ / kProgressShare)) return false;
  mark_ = body_.size();
  marked_at_ = coarse_now();
  return true;
}

}  // namespace sluiced::http
