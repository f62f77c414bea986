import { strict as assert } from 'node:assert';

/** A key, and what of it was seen since it has had a place: never more than there was. */
export interface SketchedKey {
  readonly shard: number;
  readonly state: string;
  readonly key: string;
  reads: number;
  writes: number;
  /** What others had in its place before; with it the sum of all places is all that was added. */
  over: number;
}

/**
 * The heaviest keys in bounded memory (SpaceSaving: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and
 * Top-k Elements in Data Streams", ICDT 2005): a key without a place takes that of the lightest, and what was counted there
 * is kept as its possible error. Who has more than one in `places` of all is among them.
 */
export class KeySketch {
  readonly #places: number;
  readonly #keys = new Map<string, SketchedKey>();

  constructor(places: number) {
    assert(places >= 1);
    this.#places = places;
  }

  add(shard: number, state: string, key: string, kind: 'reads' | 'writes', count: number): void {
    const id = `${state}\0${key}`;
    let known = this.#keys.get(id);
    if (known === undefined) {
      known = { shard, state, key, reads: 0, writes: 0, over: this.#room() };
      this.#keys.set(id, known);
    }
    known[kind] += count;
  }

  /** Those seen more often than their possible error, most first. */
  heaviest(): SketchedKey[] {
    return [...this.#keys.values()]
      .filter((each) => each.reads + each.writes > each.over)
      .sort((a, b) => weight(b) - weight(a));
  }

  /** What the place had that is free now. */
  #room(): number {
    if (this.#keys.size < this.#places) return 0;
    let lightest = '';
    let least = Number.POSITIVE_INFINITY;
    for (const [id, each] of this.#keys) {
      if (weight(each) >= least) continue;
      least = weight(each);
      lightest = id;
    }
    this.#keys.delete(lightest);
    return least;
  }
}

function weight({ reads, writes, over }: SketchedKey): number {
  return reads + writes + over;
}
