import { type CopyMemory, emptyNote, MapStore } from '../../../../agent/state/copy-memory.js';
import type { CopyTiming } from '../../../../agent/state/copy-timing.js';
import { once } from '../../../../agent/state/once.js';
import { type CopyEffect, ShardCopy } from '../../../../agent/state/shard-copy.js';
import type { CopyMessage, CopyRecord, CopyReport } from '../../../../protocol/state-copies.js';
import { apply, type KeyAnswer, type KeyCall } from '../../../../scripts/lib/state/key-calls.js';
import type { World } from '../../../coordinator/simulation/world.js';
import type { Planted } from './planted.js';

export const TIMING: CopyTiming = {
  leaseMs: 200,
  clockDriftMax: 0.1,
  retryMs: 15,
  silentMs: 150,
  renewMs: 50,
  partBytesMax: 128,
  recordsMax: 8,
  pendingMax: 16,
  waitingMax: 16,
};
/** So few writes are kept that copies fall behind. */
const KEPT_MAX = 24;
const TICK_MS = 5;

export interface SimCall {
  caller: string;
  number: number;
  key: string;
  do: KeyCall;
}

export type SimAnswer =
  | { type: 'answer'; call: SimCall; result: KeyAnswer }
  | { type: 'elsewhere'; call: SimCall; epoch: number; owner: string | null };

interface Out {
  send(to: string, message: CopyMessage): void;
  answer(answer: SimAnswer): void;
}

/** A host: memory that outlives its agent, an agent that may be killed, a clock of its own. */
export class SimHost {
  readonly name: string;
  readonly #world: World;
  readonly #planted: Planted;
  readonly #out: Out;
  readonly #rate: number;
  #boots = 1;
  #memory: CopyMemory = { note: emptyNote(), store: new MapStore(KEPT_MAX) };
  #copy: ShardCopy<SimCall> | null = null;

  constructor(name: string, world: World, planted: Planted, out: Out) {
    this.name = name;
    this.#world = world;
    this.#planted = planted;
    this.#out = out;
    // Half of what two clocks may differ, each way.
    this.#rate = 1 + world.between(-TIMING.clockDriftMax / 2, TIMING.clockDriftMax / 2) * 0.9;
    this.start();
    this.#tick();
  }

  get lives(): boolean {
    return this.#copy !== null;
  }
  get boot(): string {
    return `boot-${this.#boots}`;
  }
  get memory(): CopyMemory {
    return this.#memory;
  }

  start(): void {
    const memory = this.#memory;
    this.#planted.restart?.(memory.note);
    const out = (effect: CopyEffect<SimCall>) => this.#effect(effect);
    const options = { host: this.name, boot: this.boot, memory, timing: TIMING, nowMs: this.#nowMs() };
    this.#copy = new ShardCopy<SimCall>({ ...options, mayFill: () => this.#world.chance(0.7), out });
  }

  kill(): void {
    this.#copy = null;
  }

  /** All that was in memory is gone. */
  reboot(): void {
    this.kill();
    this.#boots += 1;
    this.#memory = { note: emptyNote(), store: new MapStore(KEPT_MAX) };
  }

  configure(record: CopyRecord): void {
    this.#copy?.configure(record, this.#nowMs());
  }

  receive(from: string, message: CopyMessage): void {
    const bent = this.#planted.receive?.(message, this.#memory) ?? message;
    this.#copy?.receive(from, bent, this.#nowMs());
  }

  report(): CopyReport | null {
    return this.#copy?.report(this.#nowMs()) ?? null;
  }

  call(call: SimCall): void {
    this.#copy?.submit({ call, run: () => this.#run(call) }, this.#nowMs());
  }

  #run(call: SimCall) {
    const store = this.#memory.store as MapStore;
    const run = () => {
      const value = (store.get(call.key) ?? null) as KeyAnswer;
      const done = apply(value, call.do);
      const changed = call.do.do !== 'get';
      const key: [string, unknown?] = done.value === null ? [call.key] : [call.key, done.value];
      return { result: done.answer, changes: changed ? [key] : [] };
    };
    const ran = this.#planted.twice === true ? run() : once(store, call, run);
    if (this.#planted.early === true) {
      this.#out.answer({ type: 'answer', call, result: (ran.result ?? null) as KeyAnswer });
    }
    return ran;
  }

  #effect(effect: CopyEffect<SimCall>): void {
    if (effect.type === 'send') this.#out.send(effect.to, effect.message);
    else if (effect.type === 'answer') {
      this.#out.answer({ ...effect, result: (effect.result ?? null) as KeyAnswer });
    } else if (effect.type === 'elsewhere') this.#out.answer(effect);
  }

  #tick(): void {
    this.#world.at(this.#world.nowMs + TICK_MS, () => {
      this.#tick();
      this.#copy?.tick(this.#nowMs());
    });
  }

  #nowMs(): number {
    return this.#world.nowMs * this.#rate;
  }
}
