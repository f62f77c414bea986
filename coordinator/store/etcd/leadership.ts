import type { Clockwork } from '../../clockwork.js';
import type { Etcd } from './etcd.js';

/** The lease is prolonged so many times in its life: some may fail. */
const KEEPS_PER_LIFE = 4;
/** One try may take so large a part of its life: etcd's disk may be slow, and one that does not answer is not the last. */
const TRIES_PER_LIFE = 3;
/** A failed try is repeated after so long. */
const RETRY_MS = 50;
/** Our clock may run slower than etcd's by this part before two could believe that they lead. */
const CLOCK_DRIFT_MAX = 0.1;

/** Writes a beat; false: somebody else leads, or nobody any more. */
export type Beat = (timeoutMs: number) => Promise<boolean>;

/**
 * A lease that is kept until it is lost. Counted from when it was asked for, not from when the answer came, and by a clock
 * that never goes back, it ends here before it can end in etcd. It is kept only together with a beat, by which others see
 * that it is kept: etcd itself prolongs all leases when its own leader changes.
 */
export class Leadership {
  readonly leaseId: bigint;
  readonly #etcd: Etcd;
  readonly #clockwork: Clockwork;
  readonly #lost: () => void;
  readonly #beat: Beat;
  readonly #lifeMs: number;
  #untilMs: number;
  #cancelKeep: () => void = () => undefined;
  #cancelEnd: () => void = () => undefined;
  #over = false;

  /** Asks for a lease and keeps it. `lost` is called once when it ends by itself. Throws EtcdError. */
  static async begin(
    etcd: Etcd,
    clockwork: Clockwork,
    options: { seconds: number; timeoutMs: number; beat: (lease: bigint) => Beat; lost: () => void },
  ): Promise<Leadership> {
    const askedMs = clockwork.nowMs();
    // Etcd may give more seconds; who waits for a beat does not.
    const { id } = await etcd.grantLease(options.seconds, options.timeoutMs);
    const { seconds, lost } = options;
    return new Leadership(etcd, clockwork, { id, seconds, askedMs, beat: options.beat(id), lost });
  }

  private constructor(
    etcd: Etcd,
    clockwork: Clockwork,
    {
      id,
      seconds,
      askedMs,
      beat,
      lost,
    }: { id: bigint; seconds: number; askedMs: number; beat: Beat; lost: () => void },
  ) {
    this.#etcd = etcd;
    this.#clockwork = clockwork;
    this.#lost = lost;
    this.#beat = beat;
    this.leaseId = id;
    this.#lifeMs = seconds * 1_000 * (1 - CLOCK_DRIFT_MAX);
    this.#untilMs = askedMs + this.#lifeMs;
    this.#expect();
    this.#keepAfter(this.#lifeMs / KEEPS_PER_LIFE);
  }

  /** How long it holds at least, ms; 0 when it is over. */
  get remainingMs(): number {
    return this.#over ? 0 : Math.max(0, this.#untilMs - this.#clockwork.nowMs());
  }

  /** Ends it here, and in etcd when that can be reached. */
  async end(timeoutMs: number): Promise<void> {
    this.#stop();
    await this.#etcd.endLease(this.leaseId, timeoutMs);
  }

  /** It is no longer held here; etcd ends it in its own time. */
  #stop(): void {
    this.#over = true;
    this.#cancelKeep();
    this.#cancelEnd();
  }

  #keepAfter(ms: number): void {
    this.#cancelKeep = this.#clockwork.after(ms, () => void this.#keep());
  }

  async #keep(): Promise<void> {
    const askedMs = this.#clockwork.nowMs();
    const timeoutMs = this.#lifeMs / TRIES_PER_LIFE;
    let kept: boolean;
    try {
      const asked = [this.#etcd.keepLease(this.leaseId, timeoutMs), this.#beat(timeoutMs)] as const;
      const [seconds, held] = await Promise.all(asked);
      kept = seconds > 0 && held;
    } catch {
      // Whatever the reason: until its time is over the lease may still be kept.
      if (!this.#over) this.#keepAfter(RETRY_MS);
      return;
    }
    if (this.#over) return;
    if (!kept) return this.#expire();
    this.#untilMs = askedMs + this.#lifeMs;
    this.#expect();
    // From when it was asked, so that slow answers do not eat up its life.
    this.#keepAfter(Math.max(0, askedMs + this.#lifeMs / KEEPS_PER_LIFE - this.#clockwork.nowMs()));
  }

  #expect(): void {
    this.#cancelEnd();
    this.#cancelEnd = this.#clockwork.after(this.remainingMs, () => {
      if (this.remainingMs === 0) this.#expire();
      else this.#expect();
    });
  }

  #expire(): void {
    if (this.#over) return;
    this.#stop();
    this.#lost();
  }
}
