import type { Logger } from 'pino';
import { LIMITS } from '../protocol/limits.js';
import { type AnnouncedEvent, type Decision, type Fate, judgedAtMs, outcomeOf, sameShape } from './brain/decision.js';
import type { Explanation } from './brain/explanation.js';
import { explain } from './brain/explanation-words.js';
import { clamp } from './brain/need.js';
import type { Store, StoreOperation } from './store/store.js';

/** A decision in the log; `serial` counts the changes of its component, and says where it is stored. */
interface Entry extends Decision {
  serial: number;
}

interface Kept {
  /** Oldest first. */
  changes: Entry[];
  /** The newest of those that changed nothing, oldest first. */
  recent: Entry[];
  /** Not judged yet, with the highest demand since. */
  pending: Pending[];
  last: Explanation | null;
  serialNext: number;
  counts: DecisionCounts;
}

interface Pending {
  entry: Entry;
  peakCpu: number;
  seen: boolean;
}

/** Since this coordinator started. */
export interface DecisionCounts {
  decisions: number;
  changes: number;
}

/** What the planner said of a component in this tick. */
export interface Told {
  key: string;
  explanation: Explanation | null;
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
  #staged: { key: string; entry: Entry }[] = [];
  #gone: string[] = [];
  /** Changes whose outcome came after they were stored, and those of them that a batch under way holds. */
  readonly #unsaved = new Map<Entry, string>();
  #offered: Entry[] = [];

  /** Takes the decisions of a tick. */
  stage(told: readonly Told[]): void {
    const alive = new Set<string>();
    this.#staged = [];
    for (const { key, explanation, fate, announced } of told) {
      alive.add(key);
      const kept = this.#kept.get(key);
      // The same object again: nothing was decided, since no samples came.
      if (explanation === null || explanation === kept?.last) continue;
      const before = fate === 'done' ? explanation.before : (kept?.last?.after ?? explanation.before);
      const changed = !sameShape(before, explanation.after);
      const serial = changed ? (kept?.serialNext ?? 0) : -1;
      this.#staged.push({ key, entry: { explanation, fate, announced, changed, outcome: null, serial } });
    }
    this.#gone = [...this.#kept.keys()].filter((key) => !alive.has(key));
  }

  /** What is to be stored along with the state. */
  operations(): StoreOperation[] {
    const batch: StoreOperation[] = [];
    for (const { key, entry } of this.#staged) if (entry.changed) batch.push(put(key, entry));
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
    for (const { key, entry } of this.#staged) this.#add(key, entry, most);
    this.#staged = [];
    this.#gone = [];
  }

  /** What was staged never was. */
  discard(): void {
    this.#staged = [];
    this.#gone = [];
  }

  /** Oldest first. */
  of(key: string): Decision[] {
    const kept = this.#kept.get(key);
    if (kept === undefined) return [];
    return [...kept.changes, ...kept.recent].sort((a, b) => a.explanation.atMs - b.explanation.atMs);
  }

  /** The decisions of the tick that are changes and not carried out; to be asked between `stage` and `committed`. */
  get stagedUndone(): { key: string; explanation: Explanation }[] {
    return this.#staged
      .filter(({ entry }) => entry.changed && entry.fate !== 'done')
      .map(({ key, entry }) => ({ key, explanation: entry.explanation }));
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
    for (const key of keys) {
      const entries: Entry[] = [];
      for (const [at, value] of await store.load(`${PREFIX}${key}/`)) {
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

  #add(key: string, entry: Entry, most: number): void {
    const { explanation, changed } = entry;
    const kept = this.#kept.get(key) ?? newKept();
    this.#kept.set(key, kept);
    kept.last = explanation;
    kept.counts.decisions += 1;
    kept.pending = kept.pending.filter((each) => this.#isPending(key, each, explanation));
    kept.pending.push({ entry, peakCpu: 0, seen: false });
    const list = changed ? kept.changes : kept.recent;
    list.push(entry);
    const bound = changed ? most : Math.min(most, LIMITS.decisionsRecentMax);
    if (list.length > bound) list.splice(0, list.length - bound);
    if (!changed) return;
    kept.serialNext = entry.serial + 1;
    kept.counts.changes += 1;
    for (const listener of [...(this.#listeners.get(key) ?? [])]) listener(entry);
  }

  /** Whether it still waits for its outcome after another decision has seen the demand. */
  #isPending(key: string, waiting: Pending, { atMs, demand }: Explanation): boolean {
    const { entry } = waiting;
    const untilMs = judgedAtMs(entry.explanation);
    if (atMs <= untilMs) {
      waiting.peakCpu = Math.max(waiting.peakCpu, demand.cpu);
      waiting.seen = true;
    }
    if (atMs < untilMs) return true;
    if (!waiting.seen) return false;
    entry.outcome = outcomeOf(entry.explanation, entry.fate, waiting.peakCpu);
    if (entry.changed) this.#unsaved.set(entry, key);
    return false;
  }
}

function newKept(): Kept {
  const counts = { decisions: 0, changes: 0 };
  return { changes: [], recent: [], pending: [], last: null, serialNext: 0, counts };
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
