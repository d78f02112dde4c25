// See the header.
#include "backlog/block_records.h"

#include <vector>

namespace sluice::backlog {

namespace {

class UnsyncedBlocks final : public journal::UnsyncedEvents {
 public:
  explicit UnsyncedBlocks(std::span<Block* const> blocks) : blocks_(blocks) {}

  void add_records(std::uint64_t segment, std::vector<journal::Record>& to) const override {
    for (const Block* const block : blocks_) {
      if (block->home() != segment) continue;  // moved by an earlier attempt, or synced with its segment
      for (std::uint32_t i = 0; i < block->count(); ++i) {
        const Delivery event = block->delivery(i);
        to.push_back({event.id.sequence, event.received, event.content_type, event.payload});
      }
    }
  }
  void moved(std::uint64_t from, std::uint64_t to) override {
    for (Block* const block : blocks_) {
      if (block->home() == from) block->settle_in(to);
    }
  }

 private:
  const std::span<Block* const> blocks_;
};

void frame_block(Block& block, std::uint64_t seed, std::uint64_t offset) noexcept {
  std::byte* const body = block.body().data();
  for (std::uint32_t i = 0; i < block.count(); ++i) {
    const std::size_t frame_at = block.frame_at(i);
    journal::frame_event(body + frame_at, block.type_size(i), block.payload_size(i),
                         {.sequence = block.first_sequence() + i,
                          .received = block.received(),
                          .begins_request = i == 0,
                          .ends_request = i + 1 == block.count()},
                         seed, offset + frame_at);
  }
}

}  // namespace

std::error_code commit_blocks(journal::Journal& journal, std::span<Block* const> blocks, std::uint64_t reserved,
                              bool sync, journal::Journal::Place& place) {
  std::vector<journal::CommitRequest> requests;
  requests.reserve(blocks.size());
  for (Block* const block : blocks) requests.push_back({block->body(), block->first_sequence(), block->count()});
  const auto frame = [&](std::size_t i, std::uint64_t seed, std::uint64_t offset) {
    frame_block(*blocks[i], seed, offset);
  };
  return journal.commit(requests, frame, reserved, sync, place);
}

std::error_code recover_blocks(journal::Journal& journal, std::span<Block* const> unsynced) {
  UnsyncedBlocks events(unsynced);
  return journal.recover(events);
}

journal::BufferSource buffers_of(BlockMemory& memory) {
  return [from = &memory](std::size_t bytes) {
    const auto give_back = [from, bytes](std::byte* piece) { from->put(piece, bytes); };
    return journal::Buffer(static_cast<std::byte*>(from->take(bytes)), give_back);
  };
}

BlockMemory::Lent piece_of(BlockMemory& memory, journal::Buffer buffer, std::size_t bytes) noexcept {
  return {buffer.release(), {&memory, bytes}};
}

}  // namespace sluice::backlog
