import type { Reply, StateApp } from './state-app.js';

const WRITERS = 3;
const READERS = 4;
const CALL_MS_MAX = 4_000;
/** Between two calls of a client. */
const THINK_MS = 10;

/** As numbers.mts answers `here`. */
interface Read {
  who: string;
  lagMs: number | null;
  values: number[];
}

/** A value that was answered to who wrote or read it. */
interface Known {
  /** By performance.now(), here. */
  atMs: number;
  value: number;
}

/**
 * Clients that count up keys and read them at any instance, and look whether what they are answered is what is promised. Of
 * replicated state: an instance never goes back, and lacks no write that was acknowledged earlier than its lag allows, so that one
 * which joins has all that was written before. Of partitioned state whose copies may be read, with a bound: none that was
 * acknowledged before that.
 */
export class ReplicaWatch {
  readonly #cluster: StateApp;
  readonly #keys: readonly string[];
  readonly #boundMs: number | null;
  /** By key. */
  readonly #acknowledged: Known[][];
  readonly #unknown: number[];
  /** By process. */
  readonly #seen = new Map<string, Known[]>();
  /** What was answered and may not be. */
  readonly wrong: string[] = [];
  written = 0;
  /** Why a write was not acknowledged, for people. */
  lastFailure = '';
  #running = false;
  #clients: Promise<void>[] = [];

  /** `boundMs`: in place of the lag that instances say. */
  constructor(cluster: StateApp, keys: readonly string[], boundMs: number | null = null) {
    this.#cluster = cluster;
    this.#boundMs = boundMs;
    this.#keys = keys;
    this.#acknowledged = keys.map(() => []);
    this.#unknown = keys.map(() => 0);
  }

  start(): void {
    this.#running = true;
    const writers = Array.from({ length: WRITERS }, (_, i) =>
      this.#repeat((turn) => this.#write((i + turn) % this.#keys.length)),
    );
    const readers = Array.from({ length: READERS }, () => this.#repeat(() => this.read()));
    this.#clients = [...writers, ...readers];
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#clients);
  }

  /** Instances whose processes were read, each by the name of its instance and its own. */
  get processes(): string[] {
    return [...this.#seen.keys()];
  }

  /** Reads at some instance. Null when nobody answers. */
  async read(): Promise<Read | null> {
    const beganAtMs = performance.now();
    const path = `/here?keys=${this.#keys.join()}&ms=${CALL_MS_MAX}`;
    const { answer } = await this.#cluster.askCaller<Reply>(path, CALL_MS_MAX + 5_000).catch((): Reply => ({}));
    const read = (answer ?? null) as Read | null;
    if (read !== null) this.#check(read, beganAtMs);
    return read;
  }

  /** What may not be of these values in the end, when all that was asked has come to an end. */
  wrongInTheEnd(values: readonly number[]): string[] {
    return this.#keys.flatMap((key, i) => {
      const answers = (this.#acknowledged[i] ?? []).map(({ value }) => value);
      const value = values[i] ?? 0;
      const wrong: string[] = [];
      if (new Set(answers).size !== answers.length) wrong.push(`${key}: two writes have the same answer`);
      if (value < Math.max(0, ...answers)) wrong.push(`${key}: ${value} lacks a write that was acknowledged`);
      const most = answers.length + (this.#unknown[i] ?? 0);
      if (value > most) wrong.push(`${key}: ${value} of at most ${most} writes: one was done twice`);
      return wrong;
    });
  }

  async #repeat(work: (turn: number) => Promise<unknown>): Promise<void> {
    for (let turn = 0; this.#running; turn += 1) {
      await work(turn);
      await new Promise((resolve) => setTimeout(resolve, THINK_MS));
    }
  }

  async #write(index: number): Promise<void> {
    const call = this.#cluster.call('add', this.#keys[index] as string, 1, CALL_MS_MAX);
    const { answer, code, message } = await call.catch(({ message }: Error): Reply => ({ message }));
    if (typeof answer === 'number') {
      this.#acknowledged[index]?.push({ atMs: performance.now(), value: answer });
      this.written += 1;
    } else {
      this.lastFailure = `${code}: ${message}`;
      this.#unknown[index] = (this.#unknown[index] ?? 0) + 1;
    }
  }

  #check({ who, lagMs: said, values }: Read, beganAtMs: number): void {
    const lagMs = this.#boundMs ?? said;
    if (lagMs === null) {
      this.wrong.push(`${who} serves and has no entries`);
      return;
    }
    const seen = this.#seen.get(who) ?? this.#keys.map(() => ({ value: 0, atMs: Number.NEGATIVE_INFINITY }));
    this.#seen.set(who, seen);
    for (const [i, last] of seen.entries()) {
      const [key, value] = [this.#keys[i], values[i] ?? 0];
      const least = this.#leastAt(i, beganAtMs - lagMs);
      if (value < least) this.wrong.push(`${who} has ${key} = ${value} with a lag of ${lagMs} ms, and not ${least}`);
      // What was asked for earlier may be answered later.
      if (value < last.value && beganAtMs > last.atMs && this.#boundMs === null)
        this.wrong.push(`${who} went back from ${key} = ${last.value} to ${value}`);
      if (value > last.value) seen[i] = { value, atMs: performance.now() };
    }
  }

  /** What a key was at least at that time. */
  #leastAt(index: number, atMs: number): number {
    const answered = (this.#acknowledged[index] ?? []).filter((each) => each.atMs <= atMs);
    return answered.reduce((most, { value }) => Math.max(most, value), 0);
  }
}
