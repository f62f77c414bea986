import type { Random } from '../../../protocol/balancer.js';
import { areAsFromOneCopy, type KeyAnswer, type KeyCall } from './key-calls.js';
import type { RecordedCall } from './linearizable.js';
import type { Reply, StateApp } from './state-app.js';

type Recorded = RecordedCall<KeyCall, KeyAnswer>;

/** `thinkMs`: between two calls of a client. */
export interface Pace {
  clients: number;
  thinkMs: number;
}

const PACE: Pace = { clients: 6, thinkMs: 4 };
const CALL_MS_MAX = 4_000;

/**
 * Clients that read and write all the time, and a record of what they asked and were answered. A call that failed may have been
 * done, or be done yet, since nobody knows better.
 */
export class History {
  readonly #cluster: StateApp;
  readonly #random: Random;
  readonly #pace: Pace;
  readonly #calls = new Map<string, Recorded[]>();
  #keys: readonly string[] = [];
  #running = false;
  #clients: Promise<void>[] = [];
  #value = 0;
  answered = 0;
  failed = 0;
  /** Of all calls that were answered. */
  longestMs = 0;

  constructor(cluster: StateApp, random: Random, pace = PACE) {
    this.#cluster = cluster;
    this.#random = random;
    this.#pace = pace;
  }

  /** From now on calls are on these keys. */
  use(keys: readonly string[]): void {
    this.#keys = keys;
  }

  start(): void {
    this.#running = true;
    this.#clients = Array.from({ length: this.#pace.clients }, () => this.#client());
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#clients);
  }

  /** Reads each key that was ever used, which has to be answered now. */
  async readAll(): Promise<void> {
    for (const key of this.#calls.keys()) {
      await this.#cluster.until(`${key} can be read`, async () => {
        const { code, message } = await this.#call(key, { do: 'get' });
        if (code !== undefined) throw new Error(`${code}: ${message}`);
        return true;
      });
    }
  }

  /** Keys whose calls no single copy could have answered so. */
  broken(): string[] {
    return [...this.#calls].filter(([, calls]) => !areAsFromOneCopy(calls)).map(([key]) => key);
  }

  /** What was asked of a key and answered, for people. */
  of(key: string): string {
    const calls = [...(this.#calls.get(key) ?? [])].sort((a, b) => a.beganAt - b.beganAt);
    return calls.map((each) => JSON.stringify(each)).join('\n');
  }

  async #client(): Promise<void> {
    while (this.#running) {
      const key = this.#keys[Math.floor(this.#random() * this.#keys.length)];
      if (key !== undefined) await this.#call(key, this.#next());
      await new Promise((resolve) => setTimeout(resolve, this.#pace.thinkMs));
    }
  }

  #next(): KeyCall {
    this.#value += 1;
    const chance = this.#random();
    if (chance < 0.4) return { do: 'get' };
    return chance < 0.7 ? { do: 'set', value: this.#value } : { do: 'add', value: this.#value };
  }

  /** With a code when it has failed. */
  async #call(key: string, call: KeyCall): Promise<Reply> {
    const beganAt = performance.now();
    const value = 'value' in call ? call.value : 0;
    const reply = await this.#cluster.call(call.do, key, value, CALL_MS_MAX).catch((error: Error): Reply => {
      return { code: 'no answer', message: error.message };
    });
    const isAnswered = reply.code === undefined;
    const endedAt = isAnswered ? performance.now() : Number.POSITIVE_INFINITY;
    // What was not read says nothing.
    if (isAnswered || call.do !== 'get') {
      const calls = this.#calls.get(key) ?? [];
      calls.push({ beganAt, endedAt, input: call, output: (reply.answer ?? null) as KeyAnswer });
      this.#calls.set(key, calls);
    }
    if (isAnswered) this.longestMs = Math.max(this.longestMs, endedAt - beganAt);
    if (isAnswered) this.answered += 1;
    else this.failed += 1;
    return reply;
  }
}
