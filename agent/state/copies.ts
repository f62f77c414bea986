import type { Logger } from 'pino';
import { toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { Desired, ShardMap } from '../../protocol/link.js';
import { monotonicMs } from '../../protocol/monotonic.js';
import type { CopyMessage, CopyRecord, CopyReport, Known } from '../../protocol/state-copies.js';
import { copyName, hostsOf, keyOfName, shardOfName } from '../../protocol/state-copies-parse.js';
import { TokenBucket } from '../../protocol/token-bucket.js';
import { HeldCopy, type Server } from './held-copy.js';
import { PassTurns } from './pass-turns.js';
import type { WholeCopy } from './snapshot-round.js';
import type { Snapshots } from './snapshots.js';

/** Copies with something under way, and those that only keep their leases, are looked at this often. */
const BUSY_TICK_MS = 20;
const IDLE_TICK_MS = 250;
/** A copy that cannot go on, as without memory, is tried again after this. */
const RETRY_MS = 1_000;
/** Messages to a host within this time go together, while there are many. */
const GATHER_MS = 1;
const GATHERED_BYTES_MAX = 1024 * 1024;

export type CopyEnvelope = [name: string, message: CopyMessage];

export interface CopiesTools {
  host: string;
  /** Of this boot of the host. */
  boot: string;
  log: Logger;
  /** Where the segment of a shard is. */
  path(key: string, shard: number): string;
  /** False when the other host cannot be reached now. */
  send(host: string, messages: CopyEnvelope[]): boolean;
  /** Who has the shard on this host and speaks with the agent. */
  server(key: string, shard: number): Server | undefined;
  /** Whether the shard may be served here has changed, or what is to be said of it. */
  changed(key: string, shard: number): void;
  /** This one may be served here from now on, and calls wait for it. */
  came(key: string, shard: number): void;
  /** There is something new to report. */
  tell(): void;
  /** More is known of up to where the copy may be read. */
  known(name: string): void;
  problem(key: string, message: string): void;
  snapshots: Snapshots;
  /** Shards began with a snapshot, or could not. */
  restored(key: string, message: string): void;
  /** A snapshot that was to be begun with cannot be read. */
  damaged(key: string, message: string): void;
}

/** All copies of state shards on this host, as the coordinator's records say. */
export class Copies {
  readonly #tools: CopiesTools;
  readonly #held = new Map<string, HeldCopy>();
  /** The same by component and shard. */
  readonly #byKey = new Map<string, Map<number, HeldCopy>>();
  /** As last made; and those that have done something since. */
  readonly #reports = new Map<string, CopyReport>();
  readonly #touched = new Set<string>();
  #records: Readonly<Record<string, CopyRecord>> = {};
  /** Components whose shards follow records. */
  #keys: ReadonlySet<string> = new Set();
  readonly #fills = new TokenBucket(LIMITS.stateFillBytesPerSecond, LIMITS.stateFillBurstBytes);
  readonly #gathered = new Map<string, { messages: CopyEnvelope[]; bytes: number }>();
  #gather: NodeJS.Timeout | NodeJS.Immediate | undefined;
  #gatheredMs = 0;
  #busyTick: NodeJS.Timeout | undefined;
  readonly #idleTick: NodeJS.Timeout;
  readonly #retries = new Map<string, NodeJS.Timeout>();
  readonly #turns = new PassTurns();
  #closed = false;
  #restoring: Promise<void> = Promise.resolve();
  /** To come; and by component, shards that were. */
  #restores = 0;
  readonly #restored = new Map<string, number[]>();

  constructor(tools: CopiesTools) {
    this.#tools = tools;
    this.#idleTick = setInterval(() => this.#tick((each) => each.isActive), IDLE_TICK_MS);
    this.#idleTick.unref();
  }

  /** What the coordinator has decided, as far as it has to do with this host. */
  apply({ copies = {} }: Pick<Desired, 'copies'>): void {
    const before = this.#records;
    this.#records = copies;
    this.#keys = new Set(Object.keys(copies).map(keyOfName));
    for (const name of this.#held.keys()) if (!Object.hasOwn(copies, name)) this.#remove(name);
    for (const [name, record] of Object.entries(copies)) if (before[name] !== record) this.#configure(name, record);
  }

  /**
   * Who of this host's instances is to own which shards of the component: nobody those that may not be served here now. Those
   * whose owner by the map is elsewhere, as when its host is lost, are owned by whom the record names.
   */
  owners(key: string, map: ShardMap, ids: ReadonlySet<string>): ShardMap {
    if (!this.#keys.has(key)) return map;
    return { ...map, owners: map.owners.map((_, shard) => this.ownerOf(key, shard, map, ids)) };
  }

  /** The same of one shard. */
  ownerOf(key: string, shard: number, map: ShardMap, ids: ReadonlySet<string>): string | null {
    const owner = map.owners[shard] ?? null;
    if (!this.#keys.has(key)) return owner;
    if (!this.serves(key, shard)) return null;
    return owner !== null && ids.has(owner) ? owner : this.#seatOf(key, shard);
  }

  #seatOf(key: string, shard: number): string | null {
    const { owner = null, passTo = null } = this.#records[copyName(key, shard)] ?? {};
    const seat = passTo?.host === this.#tools.host ? passTo : owner;
    return seat?.host === this.#tools.host ? seat.instance : null;
  }

  /** Whether an instance of this host may serve the shard: it may where no records are kept. */
  serves(key: string, shard: number): boolean {
    return !this.#keys.has(key) || this.#at(key, shard)?.serves === true;
  }

  /** Of the shards that an instance of this host has, those that it shall not have: others own them. */
  strays(key: string, shards: readonly number[]): number[] {
    return shards.filter((shard) => this.#at(key, shard)?.isElsewhere === true);
  }

  /** Shards of which there is a whole copy that is not served here, each with the number of the file that it is in. */
  waiting(key: string): Map<number, number> {
    const shards = [...(this.#byKey.get(key)?.keys() ?? [])];
    return new Map(shards.flatMap((shard) => this.waitingIn(key, shard).map((file) => [shard, file] as const)));
  }

  /** The same of one shard: its file, or none. */
  waitingIn(key: string, shard: number): number[] {
    const copy = this.#at(key, shard);
    return copy?.isWhole === true && !copy.serves ? [copy.file] : [];
  }

  /** Of a shard that is owned here: up to where other copies hold it, and until when nobody else serves it. */
  heldOf(key: string, shard: number): { index: number; untilMs: number } | null {
    return this.#at(key, shard)?.heldNow ?? null;
  }

  /** A number that rises when the shard's segment is another file than before; 0: the one that this agent has found. */
  fileOf(key: string, shard: number): number {
    return this.#at(key, shard)?.file ?? 0;
  }

  receive(from: string, messages: readonly CopyEnvelope[]): void {
    for (const [name, message] of messages) {
      const record = this.#held.get(name)?.record;
      // Said again until this host has heard of its sender, too.
      if (record === null || record === undefined || !hostsOf(record).has(from)) continue;
      this.#do(name, (copy) => copy.receive(from, message));
    }
  }

  /** Has the owner of the shard say up to where the copy here may be read. */
  ask(name: string): void {
    this.#do(name, (copy) => copy.ask());
  }

  /** Up to where the copy here may be read; null when that is not known, or there is none. */
  known(name: string): Known | null {
    return this.#held.get(name)?.known ?? null;
  }

  waits(key: string, shard: number, index: number): void {
    this.#do(copyName(key, shard), (copy) => copy.waits(index));
  }

  /** One of which nothing is new is the same object as before. */
  reports(): Record<string, CopyReport> {
    for (const [name, copy] of this.#held) {
      const before = this.#reports.get(name);
      if (before === undefined || this.#touched.has(name) || copy.hasOtherSnapshot(before))
        this.#reports.set(name, copy.report());
    }
    this.#touched.clear();
    return Object.fromEntries(this.#reports);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#idleTick);
    clearTimeout(this.#busyTick);
    for (const timer of this.#retries.values()) clearTimeout(timer);
    for (const copy of this.#held.values()) copy.close();
  }

  #at(key: string, shard: number): HeldCopy | undefined {
    return this.#byKey.get(key)?.get(shard);
  }

  /** A record that has to wait for its turn is as one that comes late. */
  #configure(name: string, record: CopyRecord): void {
    if (!this.#held.has(name) && !this.#open(name)) return;
    const isPass = record.phase === 'passing' && record.owner?.host === this.#tools.host;
    if (!isPass) this.#turns.done(name);
    else if (!this.#turns.take(name, monotonicMs())) {
      this.#tickSoon();
      return;
    }
    if (this.#held.get(name)?.begins(record) === true) {
      // One after the other: each takes memory.
      this.#restores += 1;
      this.#restoring = this.#restoring
        .then(() => this.#restore(name, record))
        .catch((error: unknown) => this.#failed(name, error))
        .finally(() => this.#tellRestored());
      return;
    }
    this.#do(name, (copy) => copy.configure(record));
    if (hostsOf(record).has(this.#tools.host)) this.#tools.tell();
  }

  async #restore(name: string, record: CopyRecord): Promise<void> {
    const { restore } = record;
    const isStill = () => this.#records[name] === record && this.#held.get(name)?.begins(record) === true;
    if (restore === undefined || this.#closed || !isStill()) return;
    const { snapshots, damaged, tell } = this.#tools;
    const [key, shard] = [keyOfName(name), shardOfName(name)];
    const told = (why: string) => damaged(key, `state shard ${shard}: a snapshot is damaged, it is not used: ${why}`);
    const content = await snapshots.read(name, restore, told);
    if (this.#closed || !isStill()) return;
    this.#do(name, (copy) => copy.configure(record, content));
    if (content !== null) this.#restored.set(key, [...(this.#restored.get(key) ?? []), shard]);
    tell();
  }

  /** Once for all that were restored together. */
  #tellRestored(): void {
    this.#restores -= 1;
    if (this.#restores > 0) return;
    for (const [key, shards] of this.#restored) {
      const what = `${shards.length} state shards begin with their last snapshots, what was written since is lost`;
      this.#tools.restored(key, `${what}: ${shards.join(', ')}`);
    }
    this.#restored.clear();
  }

  /** Those that have all that they should have. */
  whole(): string[] {
    return [...this.#held].filter(([, copy]) => copy.isWhole).map(([name]) => name);
  }

  /** With all that instances have written of it so far, of which nobody tells where no other copy is waited for. */
  wholeOf(name: string): WholeCopy | null {
    this.#do(name, (copy) => copy.tick());
    const copy = this.#held.get(name);
    if (copy?.isWhole !== true) return null;
    const { epoch, last } = copy.report();
    return { epoch, last };
  }

  /** Those whose turn has come are passed on. */
  #passNext(): void {
    for (const name of this.#turns.waiting) {
      const record = this.#records[name];
      if (record === undefined || this.#closed) this.#turns.done(name);
      else this.#configure(name, record);
    }
  }

  #open(name: string): boolean {
    const [key, shard] = [keyOfName(name), shardOfName(name)];
    const { host, boot, path, server, changed, came, tell } = this.#tools;
    try {
      const copy = new HeldCopy({
        host,
        boot,
        path: path(key, shard),
        now: monotonicMs,
        mayFill: (bytes) => this.#mayFill(bytes),
        send: (to, message) => this.#send(to, name, message),
        server: () => server(key, shard),
        changed: () => {
          changed(key, shard);
          tell();
        },
        came: () => came(key, shard),
        failed: (error) => this.#problem(name, error),
        snapshot: () => this.#tools.snapshots.newest(name),
        known: () => this.#tools.known(name),
      });
      this.#keep(name, copy);
      return true;
    } catch (error) {
      this.#failed(name, error);
      return false;
    }
  }

  #keep(name: string, copy: HeldCopy): void {
    const [key, shard] = [keyOfName(name), shardOfName(name)];
    const shards = this.#byKey.get(key) ?? new Map<number, HeldCopy>();
    this.#held.set(name, copy);
    this.#byKey.set(key, shards.set(shard, copy));
  }

  #letGo(name: string): void {
    const key = keyOfName(name);
    const shards = this.#byKey.get(key);
    this.#held.delete(name);
    this.#reports.delete(name);
    this.#turns.done(name);
    shards?.delete(shardOfName(name));
    if (shards?.size === 0) this.#byKey.delete(key);
  }

  /** A step that fails leaves what was written before it: the copy goes on from there. */
  #do(name: string, act: (copy: HeldCopy) => void): void {
    const copy = this.#held.get(name);
    if (copy === undefined || this.#closed) return;
    this.#touched.add(name);
    try {
      act(copy);
      if (copy.isBusy) this.#tickSoon();
      if (this.#turns.isUnder(name) && !copy.isLeaving) {
        this.#turns.done(name);
        this.#passNext();
      }
    } catch (error) {
      copy.close();
      this.#letGo(name);
      this.#failed(name, error);
      this.#tools.changed(keyOfName(name), shardOfName(name));
    }
  }

  #failed(name: string, error: unknown): void {
    this.#problem(name, error);
    clearTimeout(this.#retries.get(name));
    const again = () => {
      this.#retries.delete(name);
      const record = this.#records[name];
      if (record !== undefined && !this.#closed) this.#configure(name, record);
    };
    this.#retries.set(name, setTimeout(again, RETRY_MS));
  }

  #problem(name: string, error: unknown): void {
    const { message } = toShoalError(error);
    this.#tools.log.warn({ err: error, copy: name }, 'a copy of a state shard cannot go on; trying again');
    this.#tools.problem(keyOfName(name), `state shard ${shardOfName(name)}: ${message}`);
  }

  /** No record in the store names this host: nobody will ask it for the shard. */
  #remove(name: string): void {
    this.#do(name, (copy) => copy.remove());
    this.#letGo(name);
    this.#tools.tell();
  }

  #mayFill(bytes: number): boolean {
    // Parts that are not sent now are with one of the next ticks.
    if (this.#turns.isHurried(monotonicMs()) || this.#fills.debtMs() > 0) return false;
    this.#fills.take(bytes);
    return true;
  }

  #send(host: string, name: string, message: CopyMessage): void {
    let gathered = this.#gathered.get(host);
    if (gathered === undefined) {
      gathered = { messages: [], bytes: 0 };
      this.#gathered.set(host, gathered);
    }
    gathered.messages.push([name, message]);
    gathered.bytes += sizeOf(message);
    // While a shard is passed nobody serves it.
    if (gathered.bytes > GATHERED_BYTES_MAX || message.type === 'pass') {
      this.#gathered.delete(host);
      this.#tools.send(host, gathered.messages);
      return;
    }
    if (this.#gather !== undefined) return;
    const flush = () => this.#flush();
    const recent = monotonicMs() - this.#gatheredMs < GATHER_MS;
    this.#gather = recent ? setTimeout(flush, GATHER_MS) : setImmediate(flush);
  }

  #flush(): void {
    this.#gather = undefined;
    this.#gatheredMs = monotonicMs();
    const gathered = [...this.#gathered];
    this.#gathered.clear();
    for (const [host, { messages }] of gathered) this.#tools.send(host, messages);
  }

  #tickSoon(): void {
    this.#busyTick ??= setTimeout(() => {
      this.#busyTick = undefined;
      this.#tick((each) => each.isBusy);
      this.#passNext();
    }, BUSY_TICK_MS);
  }

  #tick(isDue: (copy: HeldCopy) => boolean): void {
    for (const [name, copy] of [...this.#held]) if (isDue(copy)) this.#do(name, (each) => each.tick());
  }
}

/** About. */
function sizeOf(message: CopyMessage): number {
  if (message.type !== 'append' && message.type !== 'fill') return 100;
  const records = message.records.flatMap(({ changes }) => changes);
  const entries = message.type === 'fill' ? message.entries : [];
  return [...records, ...entries].reduce((sum, [, value]) => sum + lengthOf(value), 100);
}

function lengthOf(value: unknown): number {
  return value instanceof Uint8Array ? value.length : 0;
}
