import type { SegmentFigures, StateFigures } from '../protocol/state-figures.js';

/** What was done with a component's state on one host since this coordinator knows it. */
export interface StateWork {
  reads: number;
  writes: number;
  refused: number;
  copyReads: number;
}

/** The state of components on one host, as its agent last said. Changed in place. */
export class StateOnHost {
  /** By component key, then by shard. */
  readonly #segments = new Map<string, Map<number, SegmentFigures>>();
  readonly #work = new Map<string, StateWork>();

  take(state: Readonly<StateFigures>): void {
    for (const [key, segments] of Object.entries(state)) {
      const before = this.#segments.get(key);
      const work = this.#work.get(key) ?? { reads: 0, writes: 0, refused: 0, copyReads: 0 };
      for (const each of segments) addRise(work, before?.get(each.shard), each);
      if (segments.length === 0) this.#segments.delete(key);
      else this.#segments.set(key, new Map(segments.map((each) => [each.shard, each])));
      if (segments.length === 0) this.#work.delete(key);
      else this.#work.set(key, work);
    }
  }

  segment(key: string, shard: number): SegmentFigures | undefined {
    return this.#segments.get(key)?.get(shard);
  }

  segments(key: string): IterableIterator<SegmentFigures> {
    return (this.#segments.get(key) ?? new Map<number, SegmentFigures>()).values();
  }

  /** Never less than before, even when a segment goes or is made anew. */
  work(key: string): Readonly<StateWork> | undefined {
    return this.#work.get(key);
  }
}

/** A segment that counts from 0 again is another one than before. */
function addRise(work: StateWork, before: SegmentFigures | undefined, now: SegmentFigures): void {
  for (const what of ['reads', 'writes', 'refused', 'copyReads'] as const) {
    const was = before?.[what] ?? 0;
    const is = now[what] ?? 0;
    work[what] += is >= was ? is - was : is;
  }
}
