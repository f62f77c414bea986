import type { Logger } from 'pino';
import { LIMITS } from '../protocol/limits.js';
import {
  type AnnouncedEvent,
  type Decision,
  type Fate,
  judgedAtMs,
  type Outcome,
  outcomeOf,
} from './brain/decision.js';
import type { Explanation } from './brain/explanation.js';
import { atMsOf, demandCpuOf, isChange, newRow, readRow } from './brain/explanation-row.js';
import { explain } from './brain/explanation-words.js';
import { clamp } from './brain/need.js';
import { RecentDecisions } from './recent-decisions.js';
import type { Store, StoreOperation } from './store/store.js';

/** A decision that changed something; `serial` counts the changes of its component, and says where it is stored. */
interface Entry extends Decision {
  serial: number;
}

interface Kept {
  /** Oldest first. */
  changes: Entry[];
  /** Of those that changed nothing. */
  recent: RecentDecisions;
  /** Changes not judged yet. */
  pending: { entry: Entry; trial: Trial }[];
  /** The last decision, as a row. */
  last: Float64Array;
  serialNext: number;
  counts: DecisionCounts;
}

/** Since this coordinator started. */
export interface DecisionCounts {
  decisions: number;
  changes: number;
}

/** What the planner said of a component in this tick. */
export interface Told {
  key: string;
  /** The last decision, as a row of brain/explanation-row.ts that stays as it is until the tick is committed. */
  row: Float64Array;
  fate: Fate;
  announced: readonly AnnouncedEvent[];
}

const PREFIX = 'decision/';
const FORMAT = 1;

/**
 * The last decisions of each component: all that changed something, up to a bound, and those of the last seconds. Changes
 * are stored in the same batch as the state that they changed, so that a later coordinator still knows why.
 * `stage` what a tick decided, commit `operations`, then `committed`, or `discard` when it could not be committed.
 */
export class DecisionLog {
  readonly #kept = new Map<string, Kept>();
  readonly #listeners = new Map<string, Set<(decision: Decision) => void>>();
  /** The decisions of a tick that is not committed yet, and by component key those that change something. */
  #staged: Told[] = [];
  readonly #stagedChanges = new Map<string, Entry>();
  #gone: string[] = [];
  /** Changes whose outcome came after they were stored, and those of them that a batch under way holds. */
  readonly #unsaved = new Map<Entry, string>();
  #offered: Entry[] = [];

  /** Takes the decisions of a tick. */
  stage(told: readonly Told[]): void {
    this.discard();
    for (const each of told) {
      const { key, row, fate, announced } = each;
      const kept = this.#kept.get(key);
      // The same one again, or none: nothing was decided, since no samples came.
      if (Number.isNaN(atMsOf(row)) || (kept !== undefined && atMsOf(row) === atMsOf(kept.last))) continue;
      this.#staged.push(each);
      if (!isChange(row, fate === 'done' ? null : (kept?.last ?? null))) continue;
      const serial = kept?.serialNext ?? 0;
      const entry: Entry = { explanation: read(row), fate, announced, changed: true, outcome: null, serial };
      this.#stagedChanges.set(key, entry);
    }
    if (this.#kept.size <= told.length) return;
    const alive = new Set(told.map(({ key }) => key));
    this.#gone = [...this.#kept.keys()].filter((key) => !alive.has(key));
  }

  /** What is to be stored along with the state. */
  operations(): StoreOperation[] {
    const batch: StoreOperation[] = [];
    for (const [key, entry] of this.#stagedChanges) batch.push(put(key, entry));
    if (batch.length > 0) batch.push(...this.outcomes());
    for (const key of this.#gone) {
      for (let slot = 0; slot < LIMITS.decisionsStoredMax; slot += 1)
        batch.push({ kind: 'delete', key: keyOf(key, slot) });
    }
    return batch;
  }

  /** Outcomes that are not stored yet: they can wait, and go with what is written anyway. `outcomesStored` follows. */
  outcomes(): StoreOperation[] {
    this.#offered = [...this.#unsaved.keys()];
    return [...this.#unsaved].map(([entry, key]) => put(key, entry));
  }

  outcomesStored(): void {
    for (const entry of this.#offered) this.#unsaved.delete(entry);
    this.#offered = [];
  }

  /** What was staged is in force, and `operations` are stored. */
  committed(): void {
    this.outcomesStored();
    for (const key of this.#gone) this.#kept.delete(key);
    const most = clamp(
      Math.floor(LIMITS.decisionsKeptMax / Math.max(1, this.#kept.size)),
      4,
      LIMITS.decisionsPerComponentMax,
    );
    for (const each of this.#staged) this.#add(each, this.#stagedChanges.get(each.key), most);
    this.discard();
  }

  /** What was staged never was. */
  discard(): void {
    this.#staged = [];
    this.#stagedChanges.clear();
    this.#gone = [];
  }

  /** Oldest first. */
  of(key: string): Decision[] {
    const kept = this.#kept.get(key);
    if (kept === undefined) return [];
    const recent = kept.recent.list().map((each): Decision => ({ ...each, changed: false, outcome: null }));
    const all = [...kept.changes, ...recent].sort((a, b) => a.explanation.atMs - b.explanation.atMs);
    return all.map((each, i) => (each.changed ? each : { ...each, outcome: judged(each, all.slice(i + 1)) }));
  }

  /** The decisions of the tick that are changes and not carried out; to be asked between `stage` and `committed`. */
  get stagedUndone(): { key: string; explanation: Explanation }[] {
    const undone = [...this.#stagedChanges].filter(([, { fate }]) => fate !== 'done');
    return undone.map(([key, { explanation }]) => ({ key, explanation }));
  }

  counts(key: string): DecisionCounts {
    return this.#kept.get(key)?.counts ?? { decisions: 0, changes: 0 };
  }

  /** Called for every decision of the component that changes something. Returns a function that unsubscribes. */
  subscribe(key: string, listener: (decision: Decision) => void): () => void {
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(key);
    };
  }

  /** What was stored of the components; what cannot be read is left out, with a line in the log. */
  async load(store: Store, keys: readonly string[], log: Logger): Promise<void> {
    // At once: one after the other they would hold up a new leader.
    const loaded = await Promise.all(keys.map((key) => store.load(`${PREFIX}${key}/`)));
    for (const [index, key] of keys.entries()) {
      const entries: Entry[] = [];
      for (const [at, value] of loaded[index] ?? []) {
        const entry = readEntry(value);
        if (entry === null) log.warn({ key: at }, 'a stored decision cannot be read and is left out');
        else entries.push(entry);
      }
      if (entries.length === 0) continue;
      const kept = newKept();
      kept.changes = entries.sort((a, b) => a.serial - b.serial);
      kept.serialNext = (kept.changes.at(-1)?.serial ?? -1) + 1;
      this.#kept.set(key, kept);
    }
  }

  #add({ key, row, fate, announced }: Told, entry: Entry | undefined, most: number): void {
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      kept = newKept();
      this.#kept.set(key, kept);
    }
    kept.last.set(row);
    kept.counts.decisions += 1;
    this.#judge(key, kept, row);
    if (entry === undefined) {
      kept.recent.add(row, fate, announced, Math.min(most, LIMITS.decisionsRecentMax));
      return;
    }
    kept.pending.push({ entry, trial: new Trial(entry) });
    kept.changes.push(entry);
    if (kept.changes.length > most) kept.changes.splice(0, kept.changes.length - most);
    kept.serialNext = entry.serial + 1;
    kept.counts.changes += 1;
    for (const listener of [...(this.#listeners.get(key) ?? [])]) listener(entry);
  }

  /** Another decision has seen the demand: changes whose time has come get their outcome. */
  #judge(key: string, kept: Kept, row: Float64Array): void {
    if (kept.pending.length === 0) return;
    for (const { entry, trial } of kept.pending) {
      trial.see(atMsOf(row), demandCpuOf(row));
      if (trial.outcome === null) continue;
      entry.outcome = trial.outcome;
      this.#unsaved.set(entry, key);
    }
    kept.pending = kept.pending.filter(({ trial }) => !trial.isOver);
  }
}

/** Judges a decision by those that come after it, up to the time to which it looked ahead. */
class Trial {
  /** Null as long as its time has not come, and where nothing was seen until then. */
  outcome: Outcome | null = null;
  isOver = false;
  readonly #decision: Decision;
  readonly #untilMs: number;
  #peakCpu = 0;
  #seen = false;

  constructor(decision: Decision) {
    this.#decision = decision;
    this.#untilMs = judgedAtMs(decision.explanation);
  }

  /** A later decision has seen this demand. */
  see(atMs: number, demandCpu: number): void {
    if (this.isOver) return;
    if (atMs <= this.#untilMs) {
      this.#peakCpu = Math.max(this.#peakCpu, demandCpu);
      this.#seen = true;
    }
    if (atMs < this.#untilMs) return;
    this.isOver = true;
    const { explanation, fate } = this.#decision;
    if (this.#seen) this.outcome = outcomeOf(explanation, fate, this.#peakCpu);
  }
}

function judged(decision: Decision, later: readonly Decision[]): Outcome | null {
  const trial = new Trial(decision);
  for (const { explanation } of later) trial.see(explanation.atMs, explanation.demand.cpu);
  return trial.outcome;
}

function read(row: Float64Array): Explanation {
  const explanation = readRow(row);
  if (explanation === null) throw new Error('an empty row holds no decision');
  return explanation;
}

function newKept(): Kept {
  const counts = { decisions: 0, changes: 0 };
  return { changes: [], recent: new RecentDecisions(), pending: [], last: newRow(), serialNext: 0, counts };
}

function keyOf(key: string, serial: number): string {
  return `${PREFIX}${key}/${serial % LIMITS.decisionsStoredMax}`;
}

function put(key: string, { serial, explanation, fate, announced, outcome }: Entry): StoreOperation {
  return {
    kind: 'put',
    key: keyOf(key, serial),
    value: { format: FORMAT, serial, explanation, fate, announced, outcome },
  };
}

/** The entry, if it can be told in words; it may come from another version. */
function readEntry(value: unknown): Entry | null {
  if (typeof value !== 'object' || value === null) return null;
  const { format, ...entry } = { ...value, changed: true } as unknown as Entry & { format: unknown };
  if (format !== FORMAT || !Number.isSafeInteger(entry.serial) || entry.serial < 0) return null;
  try {
    if (!Number.isFinite(entry.explanation.atMs)) return null;
    explain(entry);
  } catch {
    return null;
  }
  return entry;
}
