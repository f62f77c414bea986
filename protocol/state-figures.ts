/** What a segment holds and what was done with it, as its owner last said: nothing is decided by it. */
export interface SegmentFigures {
  shard: number;
  entries: number;
  /** Of the entries. */
  liveBytes: number;
  /** Of memory of the host, with garbage. */
  heldBytes: number;
  /** Since the segment was made: entries looked up, and written or deleted. */
  reads: number;
  writes: number;
  /** Writes refused since a limit was reached or memory was lacking. */
  refused: number;
  /** Entries looked up by instances that do not own the shard; absent: none. */
  copyReads?: number;
}

/** By `<app>/<component>`: all segments of it on one host. */
export type StateFigures = Record<string, SegmentFigures[]>;
