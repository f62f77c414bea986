import type { CopyMessage } from '../../protocol/state-copies.js';

/**
 * The message with no time of this host's own clock that is yet to come: another host that says so gains no more by it than by
 * having been asked just now. Else it could make a lease, or what may be read of a copy, last as long as it likes.
 */
export function withoutFuture(message: CopyMessage, nowMs: number): CopyMessage {
  switch (message.type) {
    case 'held':
    case 'known':
      return message.askedAtMs <= nowMs ? message : { ...message, askedAtMs: nowMs };
    case 'pass':
      return (message.saidAtMs ?? nowMs) <= nowMs ? message : { ...message, saidAtMs: nowMs };
    default:
      // Their times are of the sender's clock, and only said back to it.
      return message;
  }
}
