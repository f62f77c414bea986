import type { ShardStore } from '../shard-store.js';
import { ownStateName, type StateName, stateName } from '../state/key-bytes.js';
import type { ShardLog } from '../state/shard-log.js';
import type { Source } from './feed.js';
import { type Change, type Position, REPLICATED_SHARD, type WriteRequest, type Written } from './messages.js';

/** Who has owned the entries is counted in an entry of its own: it goes along to every host, which the epoch of a segment does not. */
const REIGN = ownStateName('reign');
const REIGN_KEY = 'reign';

/** The entries as they lie in the segment of the shard that holds them all, while this instance owns it. */
export class OwnedEntries {
  readonly #store: Pick<ShardStore, 'log'>;
  /** Written as the first thing that an owner does. */
  #reign: { log: ShardLog; number: number } | undefined;

  constructor(store: Pick<ShardStore, 'log'>) {
    this.#store = store;
  }

  /** Throws SHOAL_E_SHARD_MOVED when they are not here; so do the others. */
  get position(): Position {
    const epoch = this.#reignIn(this.#log);
    return { epoch, index: this.#log.index };
  }

  get source(): Source {
    return { ...this.position, entries: () => changesFrom(this.#log) };
  }

  /** Somebody has seen this epoch, which is not before ours: what there was then is lost, and this is another log. */
  reignAfter(epoch: number): void {
    this.#beginReign(this.#log, epoch);
  }

  /** Does what is asked, with nothing in between. `change`: what that changed, if anything. */
  write(request: WriteRequest): Written & { change?: Change } {
    const log = this.#log;
    this.#reignIn(log);
    const before = log.index;
    const name = stateName(request.state);
    const outcome = this.#write(log, name, request);
    const { position } = this;
    if (position.index === before) return { ...outcome, position };
    const at = log.find(name, request.key);
    const value = at < 0 ? null : log.value(at).slice();
    const expiresAtMs = at < 0 ? 0 : orNever(log.expiresAtMs(at));
    return { ...outcome, position, change: [request.state, request.key, value, expiresAtMs] };
  }

  #write(log: ShardLog, name: StateName, request: WriteRequest): Omit<Written, 'position'> {
    const { key } = request;
    if (request.type === 'delete') return { did: log.delete(name, key), value: null };
    if (request.type === 'set') {
      log.put(name, key, request.value, true, expiry(request.ttlMs));
      return { did: true, value: null };
    }
    const { before, after, ttlMs } = request;
    const at = log.find(name, key);
    const found = at < 0 ? null : log.value(at).slice();
    if (!isSame(found, before)) return { did: false, value: found };
    const kept = at < 0 ? Number.POSITIVE_INFINITY : log.expiresAtMs(at);
    if (after === null) log.delete(name, key);
    else log.put(name, key, after, true, ttlMs === undefined ? kept : expiry(ttlMs));
    return { did: true, value: null };
  }

  #reignIn(log: ShardLog): number {
    if (this.#reign?.log === log) return this.#reign.number;
    return this.#beginReign(log, readReign(log));
  }

  /** Later than that one, and than those of a log which is lost, as far as clocks agree. */
  #beginReign(log: ShardLog, last: number): number {
    const number = Math.max(last + 1, Date.now());
    log.put(REIGN, REIGN_KEY, Buffer.from(String(number)), true, Number.POSITIVE_INFINITY);
    this.#reign = { log, number };
    return number;
  }

  get #log(): ShardLog {
    return this.#store.log(REPLICATED_SHARD);
  }
}

/** Of the owner before; 0 when there was none. */
function readReign(log: ShardLog): number {
  const at = log.find(REIGN, REIGN_KEY);
  const number = at < 0 ? 0 : Number(Buffer.from(log.value(at)).toString());
  return Number.isSafeInteger(number) && number > 0 ? number : 0;
}

function* changesFrom(log: ShardLog): Generator<Change> {
  for (const { state, key, value, expiresAtMs } of log.scan(null)) {
    yield [state, key, value.slice(), orNever(expiresAtMs)];
  }
}

/** As a change says it. */
function orNever(expiresAtMs: number): number {
  return expiresAtMs === Number.POSITIVE_INFINITY ? 0 : expiresAtMs;
}

function expiry(ttlMs: number | undefined): number {
  return ttlMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttlMs;
}

function isSame(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return Buffer.compare(a, b) === 0;
}
