/**
 * What instances of one host did with the cache of their component since their agent began to reach it; its agent says so every few
 * seconds. Nothing is decided by it.
 */
export interface CacheFigures {
  /** Reads by way of the agent that found a value, and that found none. */
  hits: number;
  misses: number;
  /** Reads of what instances keep near, as they say. */
  nearHits: number;
  /** Entries set, deleted, compared and set. */
  writes: number;
  /** Requests that were answered by an error. */
  failed: number;
  /** Summed over the requests that the cache answered: from when the agent has read it until it answers, in ms. */
  answerMs: number;
  /** The longest of those since this was said last. */
  slowestMs: number;
  /** Now: requests under way, connections to servers, processes of instances that are connected. */
  waiting: number;
  connections: number;
  clients: number;
}

/** By `<app>/<component>`. */
export type CachesFigures = Record<string, CacheFigures>;
