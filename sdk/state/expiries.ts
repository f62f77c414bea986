/** Entries expire by the bucket of so many ms: those of a bucket that has passed count as garbage. */
const BUCKET_MS = 16_384;

/** How many units of entries are to expire when, so that nobody has to look for them. */
export class Expiries {
  readonly #units = new Map<number, number>();
  #checked = 0;

  add(expiresAtMs: number, units: number): void {
    const bucket = bucketOf(expiresAtMs);
    this.#units.set(bucket, (this.#units.get(bucket) ?? 0) + units);
  }

  /** Whether they were still counted as being there. */
  remove(expiresAtMs: number, units: number): boolean {
    const bucket = bucketOf(expiresAtMs);
    const before = this.#units.get(bucket);
    if (before === undefined) return false;
    if (before > units) this.#units.set(bucket, before - units);
    else this.#units.delete(bucket);
    return true;
  }

  /** Units of entries that have expired since the last time. */
  takeExpired(nowMs: number): number {
    const now = bucketOf(nowMs);
    if (now === this.#checked) return 0;
    this.#checked = now;
    let expired = 0;
    for (const [bucket, units] of this.#units) {
      if (bucket >= now) continue;
      expired += units;
      this.#units.delete(bucket);
    }
    return expired;
  }
}

function bucketOf(timeMs: number): number {
  return Math.floor(timeMs / BUCKET_MS);
}
