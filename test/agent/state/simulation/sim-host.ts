import { type CopyMemory, emptyNote, MapStore } from '../../../../agent/state/copy-memory.js';
import type { CopyTiming } from '../../../../agent/state/copy-timing.js';
import { once } from '../../../../agent/state/once.js';
import { withoutFuture } from '../../../../agent/state/said-times.js';
import { type CopyEffect, ShardCopy } from '../../../../agent/state/shard-copy.js';
import type { CopyMessage, CopyRecord, CopyReport, Known, SnapshotMark } from '../../../../protocol/state-copies.js';
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

/** Tells when it is another log than before. */
class SimStore extends MapStore {
  begun = 0;

  override begin(last: number): void {
    super.begin(last);
    this.begun += 1;
  }
}

/** Snapshots go to the disk this often, and so many stay there. */
const SNAPSHOT_MS = 150;
const SNAPSHOTS_MAX = 2;

export interface SimSnapshot {
  mark: SnapshotMark;
  entries: [string, unknown][];
}

/** Copies that are read are asked for this often. */
const ASK_MS = 30;
/** And read while what is known of them is not older, by the host's clock. */
export const STALENESS_MS = 100;

/** Who reads the copy of its host, owner or not, up to where that is known to be good; outlives the agent. */
class SimReader {
  readonly #entries = new Map<string, unknown>();
  #index = -1;
  #begun = -1;
  known: Known | null = null;

  get(key: string): KeyAnswer {
    return (this.#entries.get(key) ?? null) as KeyAnswer;
  }

  learn(known: Known, store: SimStore): void {
    if (known.atMs <= (this.known?.atMs ?? Number.NEGATIVE_INFINITY)) return;
    const { index } = known;
    const kept = this.#begun === store.begun ? store.recordsAfter(this.#index, index - this.#index) : null;
    if (kept === null && index !== store.last) return; // Only all of it can be had.
    if (kept === null) this.#entries.clear();
    const changes = kept?.flatMap((each) => each.changes) ?? store.entriesFrom(undefined, 1e6).entries;
    for (const [key, value] of changes) {
      if (value === undefined) this.#entries.delete(key);
      else this.#entries.set(key, value);
    }
    this.#index = index;
    this.#begun = store.begun;
    this.known = known;
  }
}

/** A host: memory that outlives its agent, an agent that may be killed, a clock of its own. */
export class SimHost {
  readonly name: string;
  readonly #world: World;
  readonly #planted: Planted;
  readonly #out: Out;
  readonly #rate: number;
  #boots = 1;
  #memory: CopyMemory & { store: SimStore } = { note: emptyNote(), store: new SimStore(KEPT_MAX) };
  readonly #isRead: boolean;
  readonly #isSaved: boolean;
  /** The newest last; whatever happens to its memory. */
  readonly disk: SimSnapshot[] = [];
  #savedAtMs = 0;
  #reader = new SimReader();
  #askedAtMs = 0;
  #copy: ShardCopy<SimCall> | null = null;

  /** `isRead`: somebody reads its copy, whoever owns the shard. `isSaved`: its copy goes to a disk now and then. */
  constructor(
    name: string,
    world: World,
    planted: Planted,
    { isRead, isSaved }: { isRead: boolean; isSaved: boolean },
    out: Out,
  ) {
    this.name = name;
    this.#isRead = isRead;
    this.#isSaved = isSaved;
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
    this.#memory = { note: emptyNote(), store: new SimStore(KEPT_MAX) };
    this.#reader = new SimReader();
  }

  /** As the shell does it: a host begins once with what it is told to, and with a snapshot where the record says so. */
  configure(given: CopyRecord): void {
    const { note, store } = this.#memory;
    const { create: _, restore: __, ...without } = given;
    const isSpent = note.role === 'none' && (this.disk.at(-1)?.mark.epoch ?? -1) >= given.epoch;
    const record: CopyRecord = isSpent ? without : given;
    const isAsked = record.restore !== undefined && record.create?.[this.name] === this.boot;
    const begins = this.lives && isAsked && note.role === 'none' && record.epoch > note.epoch;
    if (begins && this.disk.length > 1 && this.#world.chance(0.3)) {
      // It turns out to be damaged.
      this.disk.pop();
      this.#copy?.configure(without, this.#nowMs());
      return;
    }
    this.#copy?.configure(record, this.#nowMs());
    if (!begins) return;
    const found = this.disk.find(({ mark }) => mark.epoch === given.restore?.epoch && mark.last === given.restore.last);
    if (found === undefined) throw new Error(`${this.name} is to begin with a snapshot that it does not have`);
    store.begin(found.mark.last);
    store.put(found.entries);
  }

  /** Of a whole copy, in the order of what was written when. */
  #save(nowMs: number): void {
    const { note, store } = this.#memory;
    const isDue = this.#isSaved && this.lives && nowMs - this.#savedAtMs >= SNAPSHOT_MS;
    if (!isDue || (note.role !== 'owner' && note.role !== 'replica')) return;
    this.#savedAtMs = nowMs;
    const mark = { epoch: note.epoch, last: store.last };
    const newest = this.disk.at(-1)?.mark;
    if (newest?.epoch === mark.epoch && newest.last === mark.last) return;
    this.disk.push({ mark, entries: store.entriesFrom(undefined, 1e6).entries });
    if (this.disk.length > SNAPSHOTS_MAX) this.disk.shift();
  }

  receive(from: string, message: CopyMessage): void {
    const nowMs = this.#nowMs();
    const taken = withoutFuture(message, nowMs);
    this.#copy?.receive(from, this.#planted.receive?.(taken, this.#memory) ?? taken, nowMs);
  }

  report(): CopyReport | null {
    const report = this.#copy?.report(this.#nowMs()) ?? null;
    const newest = this.disk.at(-1)?.mark;
    return report?.role === 'none' && newest !== undefined ? { ...report, snapshot: newest } : report;
  }

  call(call: SimCall): void {
    this.#copy?.submit({ call, run: () => this.#run(call) }, this.#nowMs());
  }

  /** What is in the copy here, good as of then; null while it may be too old. */
  readNear(key: string): { value: KeyAnswer; at: number } | null {
    const { known } = this.#reader;
    if (known === null || this.#nowMs() - known.atMs > STALENESS_MS) return null;
    return { value: this.#reader.get(key), at: known.atMs / this.#rate };
  }

  #run(call: SimCall) {
    const { store } = this.#memory;
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
      this.#ask(this.#nowMs());
      this.#save(this.#nowMs());
      const known = this.#copy?.known ?? null;
      if (known !== null) this.#reader.learn(known, this.#memory.store);
    });
  }

  #ask(nowMs: number): void {
    if (!this.#isRead || nowMs - this.#askedAtMs < ASK_MS) return;
    this.#askedAtMs = nowMs;
    this.#copy?.ask(nowMs);
  }

  #nowMs(): number {
    return this.#world.nowMs * this.#rate;
  }
}
