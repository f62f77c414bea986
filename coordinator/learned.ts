import type { Logger } from 'pino';
import { LIMITS } from '../protocol/limits.js';
import { type ComponentModel, newModel } from './brain/component-model.js';
import { loadDemandForecaster, saveDemandForecaster, skipDemand } from './brain/forecast/index.js';
import { PACE } from './planner.js';
import { type ComponentMemory, newMemory, type PlannerMemory } from './planner-memory.js';
import type { Store, StoreOperation } from './store/store.js';

/** What has been learned of a component, as it is stored. */
interface LearnedRecord {
  format: typeof FORMAT;
  /** When the last demand was learned from, ms since the epoch. */
  atMs: number;
  seasonSeconds: number;
  stepSeconds: number;
  forecaster: string;
  model: unknown;
}

const PREFIX = 'learned/';
const FORMAT = 1;
/** What is older is forgotten: it is twice the past that a forecaster keeps. */
const DAY_MS = 86_400_000;
const AGE_MS_MAX = 32 * DAY_MS;

/**
 * Keeps what was learned in the store: each component about once a minute, spread over the minute, so many bytes a tick at
 * most. A coordinator that starts goes on with it.
 */
export class LearnedStore {
  /** Those whose turn has come, first come first served. */
  readonly #due = new Set<string>();
  readonly #stored = new Set<string>();
  #askedAtMs: number | null = null;

  /** What to store now: some of those that are due, and the removal of those that are gone. */
  operations(memory: PlannerMemory, nowMs: number, log: Logger): StoreOperation[] {
    const period = LIMITS.learnedPeriodMs;
    const before = this.#askedAtMs ?? nowMs;
    this.#askedAtMs = nowMs;
    for (const key of memory.keys()) {
      const phase = phaseOf(key, period);
      if (Math.floor((nowMs - phase) / period) !== Math.floor((before - phase) / period)) this.#due.add(key);
    }
    return this.#take(memory, nowMs, log, LIMITS.learnedBytesPerTickMax);
  }

  /** All of it, for a coordinator that stops. */
  all(memory: PlannerMemory, nowMs: number, log: Logger): StoreOperation[] {
    for (const key of memory.keys()) this.#due.add(key);
    return this.#take(memory, nowMs, log, Number.POSITIVE_INFINITY);
  }

  #take(memory: PlannerMemory, nowMs: number, log: Logger, bytesMax: number): StoreOperation[] {
    const batch: StoreOperation[] = [];
    let bytes = 0;
    for (const key of this.#due) {
      if (bytes >= bytesMax) break;
      this.#due.delete(key);
      const known = memory.get(key);
      if (known === undefined) continue;
      const value = recordOf(known, nowMs);
      const size = value.forecaster.length + JSON.stringify(value.model).length;
      if (size > LIMITS.learnedRecordBytesMax) {
        log.warn({ key, size }, 'what was learned of a component is too large to be stored');
        continue;
      }
      bytes += size;
      batch.push({ kind: 'put', key: keyOf(key), value });
      this.#stored.add(key);
    }
    for (const key of this.#stored) {
      if (memory.has(key)) continue;
      batch.push({ kind: 'delete', key: keyOf(key) });
      this.#stored.delete(key);
    }
    return batch;
  }

  /** What was stored of the components. What cannot be read is left out, with a line in the log. */
  async load(store: Store, keys: readonly string[], nowMs: number, log: Logger): Promise<PlannerMemory> {
    const memory: PlannerMemory = new Map();
    // At once: one after the other they would hold up a new leader.
    const read = async (key: string) => {
      try {
        const value = (await store.load(keyOf(key))).get(keyOf(key));
        if (value === undefined) return;
        this.#stored.add(key);
        memory.set(key, memoryOf(value, nowMs));
      } catch (error) {
        log.warn({ err: error, key }, 'what was learned of a component cannot be read and is left out');
      }
    };
    await Promise.all(keys.map(read));
    return memory;
  }
}

function recordOf(memory: ComponentMemory, atMs: number): LearnedRecord {
  const { seasonSeconds, stepSeconds, forecaster } = memory;
  // A copy, since the model goes on changing.
  const model = structuredClone(memory.model);
  return { format: FORMAT, atMs, seasonSeconds, stepSeconds, forecaster: saveDemandForecaster(forecaster), model };
}

function memoryOf(value: unknown, nowMs: number): ComponentMemory {
  const record: Partial<LearnedRecord> = typeof value === 'object' && value !== null ? value : {};
  const { format, atMs, seasonSeconds, stepSeconds, forecaster: text, model } = record;
  if (format !== FORMAT) throw new Error(`its format is ${String(format)}, not ${FORMAT}`);
  if (!isAmount(atMs) || !isAmount(seasonSeconds) || !isAmount(stepSeconds) || stepSeconds === 0) {
    throw new Error('its times are no times');
  }
  const loaded = loadDemandForecaster(String(text));
  if (loaded instanceof Error) throw loaded;
  if (loaded.seasonSeconds !== seasonSeconds || loaded.stepSeconds !== stepSeconds) {
    throw new Error('its forecaster is of another season or step');
  }
  const ageMs = Math.max(0, nowMs - atMs);
  if (ageMs > AGE_MS_MAX)
    throw new Error(`it is ${Math.floor(ageMs / DAY_MS)} days old, and at most ${AGE_MS_MAX / DAY_MS} are made up for`);
  // What was missed counts as steps of which nothing is known.
  const forecaster = skipDemand(loaded, Math.round(ageMs / 1000 / stepSeconds));
  if (!isLike(newModel(), model)) throw new Error('its model is of another shape or version');
  const memory = newMemory(seasonSeconds, { ...PACE, stepSeconds });
  return { ...memory, forecaster, model: model as ComponentModel };
}

/** Whether `value` has all that the model at first has, of the same kinds, and no number that is none. */
function isLike(first: unknown, value: unknown): boolean {
  // What is not known at first may become anything.
  if (first === null || first === undefined) return isSound(value);
  if (value === null || typeof first !== typeof value || !isSound(value)) return false;
  if (typeof first !== 'object' || typeof value !== 'object') return true;
  if (Array.isArray(first) || Array.isArray(value)) return Array.isArray(first) && Array.isArray(value);
  const parts: Partial<Record<string, unknown>> = { ...value };
  if ('version' in first && parts.version !== first.version) return false;
  return Object.entries(first).every(([key, each]) => isLike(each, parts[key]));
}

function isSound(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(isSound);
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** Ends with a slash, so that it is no beginning of another component's. */
function keyOf(key: string): string {
  return `${PREFIX}${key}/`;
}

/** Where in the period, in ms, a component's turn comes, by FNV-1a of its key. */
export function phaseOf(key: string, period: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i += 1) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % period;
}
