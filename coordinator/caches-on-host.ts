import type { CacheFigures, CachesFigures } from '../protocol/cache-figures.js';

/** Those that only rise. */
const TOTALS = ['hits', 'misses', 'nearHits', 'writes', 'failed', 'answerMs'] as const;

/** The caches of components on one host, as its agent last said; totals since this coordinator knows them. Changed in place. */
export class CachesOnHost {
  readonly #said = new Map<string, CacheFigures>();
  readonly #known = new Map<string, CacheFigures>();

  /** All that the host has. */
  take(caches: Readonly<CachesFigures>): void {
    for (const key of [...this.#said.keys()]) if (!Object.hasOwn(caches, key)) this.#forget(key);
    for (const [key, now] of Object.entries(caches)) {
      const before = this.#said.get(key);
      const known = this.#known.get(key);
      const next = { ...now };
      // An agent that counts from 0 again is another one than before.
      for (const each of TOTALS) {
        const was = before?.[each] ?? 0;
        next[each] = (known?.[each] ?? 0) + (now[each] >= was ? now[each] - was : now[each]);
      }
      this.#said.set(key, now);
      this.#known.set(key, next);
    }
  }

  of(key: string): Readonly<CacheFigures> | undefined {
    return this.#known.get(key);
  }

  #forget(key: string): void {
    this.#said.delete(key);
    this.#known.delete(key);
  }
}

/** Of a component on several hosts together; the slowest is that of all. Null: no host has said anything. */
export function sumOfCaches(each: readonly Readonly<CacheFigures>[]): CacheFigures | null {
  const [first, ...others] = each;
  if (first === undefined) return null;
  const sum = { ...first };
  for (const other of others) {
    for (const name of [...TOTALS, 'waiting', 'connections', 'clients'] as const) sum[name] += other[name];
    sum.slowestMs = Math.max(sum.slowestMs, other.slowestMs);
  }
  return sum;
}
