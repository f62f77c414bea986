import type { EventView } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';

export type NewEvent = Omit<EventView, 'id'>;

/** The last events of the cluster, for people and for live views. Kept in memory; the oldest are forgotten. */
export interface EventLog {
  append(event: NewEvent): EventView;
  /** Events with a greater id than `after`, oldest first. */
  since(after: number): EventView[];
  /** Called for each new event. Returns a function that unsubscribes. */
  subscribe(listener: (event: EventView) => void): () => void;
}

/**
 * Ids rise across restarts too, since they start from the clock: a live view that comes back with the last id it has
 * seen gets what is new and nothing twice.
 */
export function createEventLog(startMs: number, keptMax: number = LIMITS.eventsKeptMax): EventLog {
  const kept: EventView[] = [];
  const listeners = new Set<(event: EventView) => void>();
  let nextId = Math.floor(startMs) * 1_000;
  return {
    append(event) {
      const numbered = { id: nextId, ...event };
      nextId += 1;
      kept.push(numbered);
      if (kept.length > keptMax) kept.splice(0, kept.length - keptMax);
      for (const listener of [...listeners]) listener(numbered);
      return numbered;
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
