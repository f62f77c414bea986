import type { EventView } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';

export type NewEvent = Omit<EventView, 'id'>;

/** The last events of the cluster, for people and for live views. Kept in memory; the oldest are forgotten. */
export interface EventLog {
  append(event: NewEvent): EventView;
  /** Ids from here on are greater than those of every leader before, whatever their clocks said. */
  beginTerm(term: number): void;
  /** Events with a greater id than `after`, oldest first. */
  since(after: number): EventView[];
  /** Called for each new event. Returns a function that unsubscribes. */
  subscribe(listener: (event: EventView) => void): () => void;
}

/** Above the ids of earlier versions, which counted from the clock in µs. */
const ID_FIRST = 2 ** 51;
/** Ids stay exact for millions of terms. */
const IDS_PER_TERM = 2 ** 30;

/**
 * Ids rise across restarts and leaders too, since they begin with the term: a live view that comes back with the last id
 * it has seen gets what is new and nothing twice.
 */
export function createEventLog(keptMax: number = LIMITS.eventsKeptMax): EventLog {
  const kept: EventView[] = [];
  const listeners = new Set<(event: EventView) => void>();
  let nextId = ID_FIRST;
  return {
    append(event) {
      const numbered = { id: nextId, ...event };
      nextId += 1;
      kept.push(numbered);
      if (kept.length > keptMax) kept.splice(0, kept.length - keptMax);
      for (const listener of [...listeners]) listener(numbered);
      return numbered;
    },
    beginTerm(term) {
      nextId = Math.max(nextId, ID_FIRST + term * IDS_PER_TERM);
    },
    since(after) {
      return kept.filter((event) => event.id > after);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
