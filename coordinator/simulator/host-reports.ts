import { LATENCY_BUCKETS } from '../../protocol/control.js';
import {
  BUCKETS_AT,
  FIELDS_AT,
  type InstanceFacts,
  type InstanceNews,
  NO_SAMPLE,
  SAMPLE_FIELDS,
} from '../../protocol/instance-news.js';

type Field = (typeof SAMPLE_FIELDS)[number];

const ROW_MAX = BUCKETS_AT + 2 * LATENCY_BUCKETS;
const FIRST_ROWS = 16;

/** What a simulated instance has counted since it began. Changed in place, since hundreds count each second. */
export class Tally {
  /** As a row of samples has them; NaN: not counted. */
  readonly fields = new Float64Array(SAMPLE_FIELDS.length).fill(Number.NaN);
  readonly buckets = new Float64Array(LATENCY_BUCKETS);
  /** What was said of it last; null before it was said. */
  said: InstanceFacts | null = null;

  constructor(known: Readonly<Partial<Record<Field, number>>>) {
    for (const [i, field] of SAMPLE_FIELDS.entries()) this.fields[i] = known[field] ?? Number.NaN;
  }
}

/**
 * What the agent of a simulated host reports, second by second, as its link would deliver it: names and facts only where
 * they are new, samples as rows of numbers. The rows are good until the next report.
 */
export class HostReports {
  #ids: string[] = [];
  #hasSaid = false;
  #count = 0;
  #isSame = true;
  #changed: InstanceFacts[] = [];
  #rows = new Float64Array(FIRST_ROWS * ROW_MAX);
  #length = 0;

  /** The host's next instance, in an order that may change. `hasSample`: it has something to say of its work. */
  add(facts: InstanceFacts, tally: Tally, hasSample: boolean): void {
    if (this.#ids[this.#count] !== facts.id) {
      this.#isSame = false;
      this.#ids[this.#count] = facts.id;
    }
    this.#count += 1;
    if (tally.said !== facts) {
      this.#changed.push(facts);
      tally.said = facts;
    }
    this.#write(hasSample ? tally : null);
  }

  /** The report of all that were added since the last one. */
  finish(): InstanceNews {
    const news: InstanceNews = { instances: this.#changed, samples: this.#rows.subarray(0, this.#length) };
    const isSame = this.#hasSaid && this.#isSame && this.#ids.length === this.#count;
    this.#ids.length = this.#count;
    if (!isSame) news.ids = this.#ids.slice();
    this.#hasSaid = true;
    this.#isSame = true;
    this.#count = 0;
    this.#changed = [];
    this.#length = 0;
    return news;
  }

  #write(tally: Tally | null): void {
    if (this.#length + ROW_MAX > this.#rows.length) {
      const more = new Float64Array(2 * this.#rows.length);
      more.set(this.#rows);
      this.#rows = more;
    }
    const rows = this.#rows;
    const start = this.#length;
    if (tally === null) {
      rows[start] = NO_SAMPLE;
      this.#length = start + 1;
      return;
    }
    const { fields, buckets } = tally;
    for (let i = 0; i < fields.length; i += 1) rows[start + FIELDS_AT + i] = fields[i] as number;
    let at = start + BUCKETS_AT;
    for (let bucket = 0; bucket < buckets.length; bucket += 1) {
      const calls = buckets[bucket] as number;
      if (calls === 0) continue;
      rows[at] = bucket;
      rows[at + 1] = calls;
      at += 2;
    }
    rows[start] = (at - start - BUCKETS_AT) / 2;
    this.#length = at;
  }
}
