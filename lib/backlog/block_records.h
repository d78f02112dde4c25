// Blocks as the journal sees them. The journal knows no queue, so a commit, a recovery and a read reach it as values
// and callbacks made here. Called by the committer's and the feeder's threads; keeps no state.
#pragma once

#include <cstdint>
#include <span>
#include <system_error>

#include "journal/journal.h"
#include "queue/block.h"
#include "queue/block_memory.h"

namespace sluice::backlog {

// Journal::commit() of these blocks, which are framed and numbered: one run, sequences counting up.
[[nodiscard]] std::error_code commit_blocks(journal::Journal& journal, std::span<Block* const> blocks,
                                            std::uint64_t reserved, bool sync, journal::Journal::Place& place);

// Journal::recover() with the blocks that were committed and not synced. Those it writes anew get a new home().
[[nodiscard]] std::error_code recover_blocks(journal::Journal& journal, std::span<Block* const> unsynced);

// Buffers for Journal::read_backlog() out of this memory, which outlives the journal.
[[nodiscard]] journal::BufferSource buffers_of(BlockMemory& memory);

// A buffer of so many bytes that buffers_of() made, for Block::adopt().
[[nodiscard]] BlockMemory::Lent piece_of(BlockMemory& memory, journal::Buffer buffer, std::size_t bytes) noexcept;

}  // namespace sluice::backlog
