import {
  type Condition,
  type Entry,
  type Etcd,
  EtcdError,
  type Operation,
  type Outcome,
  type Transaction,
} from '../../../coordinator/store/etcd/etcd.js';
import type { Process, World } from './world.js';

/** By which etcd prolongs leases beyond their time when it has elected a leader: its election timeout. */
const ELECTION_MS = 1_000;

interface Lease {
  id: bigint;
  seconds: number;
  untilMs: number;
}

/** What the network between a coordinator and etcd does to one question: probabilities and times. */
export interface Network {
  lost: number;
  twice: number;
  answerLost: number;
  /** Slow questions may arrive after who asked has given up. */
  slow: number;
  slowMsMax: number;
}

type Range = { key: string; end: string };

/** The history of every key is kept: reads may be of an earlier revision. */
type History = { revision: number; entry: Entry | null }[];

/** Etcd itself: one copy, since Raft makes its members one. `planted`: conditions that it does not look at. */
export class SimEtcd {
  readonly #world: World;
  readonly #planted: (condition: Condition) => boolean;
  readonly #keys = new Map<string, History>();
  readonly #leases = new Map<bigint, Lease>();
  readonly #watchers = new Set<{ range: Range; from: number; wake: () => void }>();
  #revision = 1;
  #leaseId = 0n;
  #awayUntilMs = 0;

  constructor(world: World, planted: (condition: Condition) => boolean = () => false) {
    this.#world = world;
    this.#planted = planted;
  }

  transact({ conditions, perform, otherwise }: Transaction): Outcome {
    const held = conditions.every((each) => this.#planted(each) || this.#holds(each));
    const operations = held ? perform : otherwise;
    for (const each of operations) {
      if (each.kind === 'put' && each.lease !== undefined && !this.#leases.has(each.lease)) {
        throw new EtcdError('refused', 'requested lease not found', 5);
      }
    }
    const next = this.#revision + 1;
    const results = operations.map((each) => {
      if (each.kind === 'read') return this.#read(each);
      this.#revision = next;
      if (each.kind === 'put') this.#put(each, next);
      else for (const key of this.#keysIn(each.key, each.end)) this.#set(key, null, next);
      return { entries: [], more: false };
    });
    return { held, revision: this.#revision, results };
  }

  get revision(): number {
    return this.#revision;
  }

  /** What the key held at some moment since the revision; null: it was not there. */
  heldSince(key: string, revision: number): (string | null)[] {
    const history = this.#keys.get(key) ?? [];
    const before = history.findLast((version) => version.revision <= revision)?.entry ?? null;
    const after = history.filter((version) => version.revision > revision).map(({ entry }) => entry);
    return [before, ...after].map((entry) => entry?.value.toString('utf8') ?? null);
  }

  /** It answers nobody for so long, and then under a leader of its own that prolongs all leases, as etcd does. */
  elect(ms: number): void {
    this.#awayUntilMs = this.#world.nowMs + ms;
    for (const lease of this.#leases.values()) this.#prolong(lease, ms + ELECTION_MS + lease.seconds * 1_000);
  }

  get isAway(): boolean {
    return this.#world.nowMs < this.#awayUntilMs;
  }

  /** Ends the lease that the key is bound to, as somebody does who is wrong about its holder. */
  endLeaseOf(key: string): void {
    const lease = this.#keys.get(key)?.at(-1)?.entry?.lease;
    if (lease !== undefined) this.end(lease);
  }

  grant(seconds: number): bigint {
    this.#leaseId += 1n;
    const id = this.#leaseId;
    this.#leases.set(id, { id, seconds, untilMs: 0 });
    this.keep(id);
    return id;
  }

  keep(id: bigint): number {
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    this.#prolong(lease, lease.seconds * 1_000);
    return lease.seconds;
  }

  #prolong(lease: Lease, ms: number): void {
    lease.untilMs = this.#world.nowMs + ms;
    this.#world.at(lease.untilMs, () => {
      if (this.#world.nowMs >= lease.untilMs) this.end(lease.id);
    });
  }

  end(id: bigint): void {
    if (!this.#leases.delete(id)) return;
    this.#revision += 1;
    for (const [key, history] of this.#keys) {
      if (history.at(-1)?.entry?.lease === id) this.#set(key, null, this.#revision);
    }
  }

  watch(range: Range, from: number, wake: () => void): () => void {
    const watcher = { range, from, wake };
    this.#watchers.add(watcher);
    const changed = (key: string) => (this.#keys.get(key)?.at(-1)?.revision ?? 0) >= from;
    if (this.#keysIn(range.key, range.end, true).some(changed)) wake();
    return () => this.#watchers.delete(watcher);
  }

  #holds(condition: Condition): boolean {
    const entry = this.#keys.get(condition.key)?.at(-1)?.entry ?? null;
    if ('created' in condition) return (entry?.created ?? 0) === condition.created;
    if ('modified' in condition) return (entry?.modified ?? 0) === condition.modified;
    return entry !== null && entry.value.toString('utf8') === condition.value;
  }

  #read({ key, end, limit = 0, revision = this.#revision }: Extract<Operation, { kind: 'read' }>) {
    const all = this.#keysIn(key, end, true).flatMap((each) => {
      const entry = this.#keys.get(each)?.findLast((version) => version.revision <= revision)?.entry ?? null;
      return entry === null ? [] : [entry];
    });
    const entries = limit > 0 ? all.slice(0, limit) : all;
    return { entries, more: entries.length < all.length };
  }

  #put({ key, value, lease = 0n }: Extract<Operation, { kind: 'put' }>, revision: number): void {
    const created = this.#keys.get(key)?.at(-1)?.entry?.created ?? revision;
    this.#set(key, { key, value: Buffer.from(value), created, modified: revision, lease }, revision);
  }

  #set(key: string, entry: Entry | null, revision: number): void {
    const history = this.#keys.get(key);
    if (history === undefined) this.#keys.set(key, [{ revision, entry }]);
    else history.push({ revision, entry });
    for (const { range, wake } of this.#watchers) if (key >= range.key && key < range.end) wake();
  }

  /** In order; also those that were removed, when asked for. */
  #keysIn(key: string, end: string | undefined, removedToo = false): string[] {
    if (end === undefined) return this.#keys.has(key) ? [key] : [];
    const found: string[] = [];
    for (const [each, history] of this.#keys) {
      if (each >= key && each < end && (removedToo || history.at(-1)?.entry != null)) found.push(each);
    }
    return found.sort();
  }
}

/** One process's way to etcd, over a network that loses, repeats, delays and reorders. */
export class SimClient implements Etcd {
  readonly address = 'simulated';
  /** Until then no question arrives, or no answer. */
  cutUntilMs = { questions: 0, answers: 0 };

  constructor(
    private readonly world: World,
    private readonly process: Process,
    private readonly etcd: SimEtcd,
    private readonly network: Network,
  ) {}

  transact(transaction: Transaction, timeoutMs: number): Promise<Outcome> {
    return this.#ask(timeoutMs, () => this.etcd.transact(transaction));
  }
  async grantLease(seconds: number, timeoutMs: number): Promise<{ id: bigint; seconds: number }> {
    return { id: await this.#ask(timeoutMs, () => this.etcd.grant(seconds)), seconds };
  }
  keepLease(id: bigint, timeoutMs: number): Promise<number> {
    return this.#ask(timeoutMs, () => this.etcd.keep(id));
  }
  endLease(id: bigint, timeoutMs: number): Promise<void> {
    return this.#ask(timeoutMs, () => this.etcd.end(id));
  }
  async compact(): Promise<void> {}
  close(): void {}

  untilChanged(range: Range, fromRevision: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      let stop = (): void => undefined;
      const done = () => {
        stop();
        resolve();
      };
      stop = this.etcd.watch(range, fromRevision, () => this.process.at(this.#arrivesMs(), done));
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #ask<T>(timeoutMs: number, question: () => T): Promise<T> {
    const { lost, twice, answerLost } = this.network;
    return new Promise((resolve, reject) => {
      this.process.after(timeoutMs, () => reject(new EtcdError('unknown', 'no answer in time')));
      const arrive = () => {
        if (this.etcd.isAway || this.world.nowMs < this.cutUntilMs.questions) return;
        try {
          const answer = question();
          if (this.world.nowMs >= this.cutUntilMs.answers && !this.world.chance(answerLost))
            this.process.at(this.#arrivesMs(), () => resolve(answer));
        } catch (error) {
          this.process.at(this.#arrivesMs(), () => reject(error as Error));
        }
      };
      if (!this.world.chance(lost)) this.world.at(this.#arrivesMs(), arrive);
      if (this.world.chance(twice)) this.world.at(this.#arrivesMs(), arrive);
    });
  }

  #arrivesMs(): number {
    const { slow, slowMsMax } = this.network;
    return this.world.nowMs + (this.world.chance(slow) ? this.world.between(1, slowMsMax) : this.world.between(0.2, 3));
  }
}
