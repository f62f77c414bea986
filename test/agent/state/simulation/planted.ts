import type { CopyMemory, CopyNote } from '../../../../agent/state/copy-memory.js';
import type { CopyMessage } from '../../../../protocol/state-copies.js';

/** What is broken on purpose, at the edges of the machines. */
export interface Planted {
  /** Calls are answered before the replicas have them. */
  early?: boolean;
  /** Calls that come again are run again. */
  twice?: boolean;
  /** The coordinator sends a record before it is stored. */
  unstored?: boolean;
  receive?(message: CopyMessage, memory: CopyMemory): CopyMessage;
  /** To what the agent before has left. */
  restart?(note: CopyNote): void;
}

export const BUGS: Record<string, Planted> = {
  'writes are acknowledged before the replicas hold them': { early: true },
  'a call that comes again is done again': { twice: true },
  'the coordinator acts before it has stored': { unstored: true },
  'messages of an older epoch are obeyed': {
    receive: (message, { note }) => ({ ...message, epoch: Math.max(message.epoch, note.epoch) }),
  },
  'a pass leaves out the last writes': {
    receive: (message, { store }) => {
      if (message.type === 'held') return { ...message, last: message.last + 3 };
      return message.type === 'pass' ? { ...message, last: store.last } : message;
    },
  },
  'a lease has no end': {
    receive: (message) => (message.type === 'held' ? { ...message, askedAtMs: message.askedAtMs + 1e6 } : message),
  },
  'who reads a copy is told of too few writes': {
    receive: (message) => (message.type === 'known' ? { ...message, index: Math.max(0, message.index - 1) } : message),
  },
  'what is known of a copy is taken for newer than it is': {
    receive: (message) => (message.type === 'known' ? { ...message, askedAtMs: message.askedAtMs + 50 } : message),
  },
  'the lease that comes with a pass has no end': {
    receive: (message) => (message.type === 'pass' ? { ...message, saidAtMs: 1e6 } : message),
  },
  'a new agent forgets whom the last one required': {
    restart: (note) => {
      note.requires = note.requires.filter(({ since }) => since === 0);
    },
  },
};
