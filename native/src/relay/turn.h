#pragma once

namespace shoal::relay {

/** What came of a part's turn: nothing to do, some progress, a failure, or a peer that broke the protocol. */
enum class Turn { idle, progress, failed, hostile };

}  // namespace shoal::relay
