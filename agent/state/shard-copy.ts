import assert from 'node:assert/strict';
import type { Change, CopyMessage, CopyRecord, CopyReport, Joining, Known } from '../../protocol/state-copies.js';
import type { CopyMemory } from './copy-memory.js';
import type { CopyTiming } from './copy-timing.js';
import { Follower } from './follower.js';
import { OutgoingFill } from './outgoing-fill.js';

type Of<Type extends CopyMessage['type']> = Extract<CopyMessage, { type: Type }>;

/** A call on the shard. `run` is called once, by an owner that serves; it does not change the store itself. */
export interface CopyCall<Call> {
  call: Call;
  run(): { result: unknown; changes: Change[] };
}

/** What a copy wants done, in this order. */
export type CopyEffect<Call> =
  | { type: 'send'; to: string; message: CopyMessage }
  | { type: 'answer'; call: Call; result: unknown }
  /** The call has not been run. `owner`: the host that may serve it, where that is known. */
  | { type: 'elsewhere'; call: Call; epoch: number; owner: string | null }
  /** The call has been run, and whether it counts is open: the shard has another owner since. */
  | { type: 'open'; call: Call };

interface Options<Call> {
  /** This host, and the boot in which it is. */
  host: string;
  boot: string;
  memory: CopyMemory;
  timing: CopyTiming;
  nowMs: number;
  /** Whether so many bytes of fills may be sent now; they are taken when they may. */
  mayFill(bytes: number): boolean;
  /** Whether nobody works on the shard but by `submit`; absent: nobody does. */
  isQuiet?(): boolean;
  out(effect: CopyEffect<Call>): void;
}

/**
 * One host's part in the life of a state shard: owner, replica, one that is being filled, or none. A pure state machine over
 * memory that outlives it: make it again over the same memory and it goes on. docs/state-protocol.md has the protocol.
 *
 *     copy.configure(record, nowMs);        // whenever the coordinator says a record
 *     copy.receive(host, message, nowMs);   // from other hosts
 *     copy.submit({ call, run }, nowMs);    // a call on the shard
 *     copy.ask(nowMs);                      // now and then, while somebody reads the copy without being the owner
 *     copy.tick(nowMs);                     // now and then, and soon after each of these
 *     copy.report(nowMs);                   // for the coordinator
 */
export class ShardCopy<Call> {
  readonly #host: string;
  readonly #boot: string;
  readonly #memory: CopyMemory;
  readonly #timing: CopyTiming;
  readonly #mayFill: (bytes: number) => boolean;
  readonly #isQuiet: () => boolean;
  readonly #out: (effect: CopyEffect<Call>) => void;
  readonly #followers = new Map<string, Follower>();
  readonly #fills = new Map<string, OutgoingFill>();
  #joining: Joining[] = [];
  /** Calls that have not been run. */
  #waiting: CopyCall<Call>[] = [];
  /** Calls that have been run, with the index that everybody has to hold first. */
  #running: { call: Call; result: unknown; index: number; wrote: boolean }[] = [];
  /** Of copies that are read: answered as a call that only reads. */
  #asks: { from: string; index: number; askedAtMs: number }[] = [];
  #known: Known | null = null;
  /** What was asked before this copy was whole is answered for another one. */
  #wholeSinceMs = Number.NEGATIVE_INFINITY;
  /** To whom the shard shall be passed. */
  #passTo: string | null = null;
  #passedAtMs = Number.NEGATIVE_INFINITY;
  /** The owner that was last heard of, and until when this copy follows nobody else. */
  #owner: string | null = null;
  #promisedUntilMs: number;

  constructor({ host, boot, memory, timing, nowMs, mayFill, isQuiet = () => true, out }: Options<Call>) {
    this.#host = host;
    this.#boot = boot;
    this.#memory = memory;
    this.#timing = timing;
    this.#mayFill = mayFill;
    this.#isQuiet = isQuiet;
    this.#out = out;
    const { role, unbound } = memory.note;
    // What a former agent promised is not known any more.
    this.#promisedUntilMs = role === 'none' || unbound ? Number.NEGATIVE_INFINITY : nowMs + timing.leaseMs;
    if (role === 'owner') this.#follow(nowMs);
  }

  /** Whether all that the owner requires hold everything: nothing would be lost if it stopped now. */
  get settled(): boolean {
    return this.#held() >= this.#memory.store.last;
  }

  /** Of an owner: up to where all that it requires hold the log. */
  get held(): number {
    return this.#held();
  }

  /** Of an owner: until then nobody else serves the shard. */
  leasedUntilMs(nowMs: number): number {
    const { leaseMs, clockDriftMax } = this.#timing;
    // Without any follower: who becomes one now promises at least this.
    const own = nowMs + leaseMs * (1 - clockDriftMax);
    return Math.min(own, ...[...this.#followers.values()].map(({ leaseUntilMs }) => leaseUntilMs));
  }

  /** Whether this host may serve calls on the shard. */
  serves(nowMs: number): boolean {
    return this.#memory.note.role === 'owner' && this.#passTo === null && nowMs >= this.#promisedUntilMs;
  }

  /** Whether this owner is to pass the shard on, and takes no more calls. */
  get isPassing(): boolean {
    return this.#memory.note.role === 'owner' && this.#passTo !== null;
  }

  /** Whether something is under way that asks for a tick before long. */
  get isBusy(): boolean {
    const { note } = this.#memory;
    if (note.passed !== null) return true;
    if (note.role !== 'owner') return false;
    return this.#joining.some(({ host }) => !named(note.requires, host)) || this.#passTo !== null || !this.settled;
  }

  /** Whether somebody is being filled, or asked whether it holds all. */
  get isWatched(): boolean {
    return this.#joining.length > 0 || this.#memory.note.requires.length > 0;
  }

  /** Up to where anybody may read this copy; null while that is not known. */
  get known(): Known | null {
    return this.#known;
  }

  report(nowMs: number): CopyReport {
    const { note, store } = this.#memory;
    const followers = [...this.#followers];
    const synced = note.requires.filter(
      ({ host, since }) => since > 0 && this.#followers.get(host)?.isSynced() === true,
    );
    const failing = followers.filter(([, each]) => each.isFailing(nowMs, this.#timing)).map(([host]) => host);
    return { epoch: note.epoch, role: note.role, last: store.last, synced, failing };
  }

  /** What the coordinator has decided. An older decision than what is known changes nothing, nor does the same again. */
  configure(record: CopyRecord, nowMs: number): void {
    const { note } = this.#memory;
    if (record.epoch < note.epoch) return;
    // From before there were notes it is of epoch 0, and of this life.
    if (note.epoch > 0 && note.epoch <= (record.bornAfter ?? 0)) this.#drop(note.epoch);
    const isMember = record.inSync.includes(this.#host) || record.joining.some(({ host }) => host === this.#host);
    if (!isMember) {
      this.#drop(record.epoch);
      return;
    }
    const mayCreate = record.create?.[this.#host] === this.#boot;
    if (note.role === 'none' && mayCreate && record.epoch > note.epoch) this.#create();
    const owns = record.phase !== 'fencing' && record.owner?.host === this.#host && note.role !== 'none';
    if (owns && note.role !== 'filling') this.#own(record, nowMs);
    else if (record.epoch > note.epoch) this.#stepDown(record.epoch, record.owner?.host ?? null);
    this.tick(nowMs);
  }

  receive(from: string, message: CopyMessage, nowMs: number): void {
    const { note } = this.#memory;
    if (message.epoch < note.epoch) return;
    if (message.type === 'append') this.#append(from, message, nowMs);
    else if (message.type === 'held') this.#heard(from, message, nowMs);
    else if (message.type === 'fill') this.#fill(from, message, nowMs);
    else if (message.type === 'filled') this.#filled(from, message, nowMs);
    else if (message.type === 'pass') this.#take(from, message, nowMs);
    else if (message.type === 'ask') this.#askedBy(from, message, nowMs);
    else if (message.type === 'known') this.#learn(message);
    else this.#lacks(from, message);
    this.tick(nowMs);
  }

  submit(call: CopyCall<Call>, nowMs: number): void {
    const mayWait = this.#memory.note.role === 'owner' && this.#waiting.length < this.#timing.waitingMax;
    if (mayWait) this.#waiting.push(call);
    else this.#refuse(call);
    this.tick(nowMs);
  }

  /** Has `known` be renewed, as of now: by the owner, which may be this host. */
  ask(nowMs: number): void {
    const { epoch, role } = this.#memory.note;
    const question = { type: 'ask' as const, epoch, askedAtMs: nowMs };
    if (role === 'owner') this.#askedBy(this.#host, question, nowMs);
    else if (role === 'replica' && this.#owner !== null) this.#send(this.#owner, question);
    this.tick(nowMs);
  }

  /** Does what is due. */
  tick(nowMs: number): void {
    const { note } = this.#memory;
    if (note.role === 'owner') {
      this.#run(nowMs);
      this.#sendFills(nowMs);
      this.#sendAppends(nowMs);
      this.#release(nowMs);
      this.#pass(nowMs);
    }
    if (note.passed !== null && nowMs - this.#passedAtMs >= this.#timing.retryMs) {
      this.#passedAtMs = nowMs;
      const { to, ...passed } = note.passed;
      this.#send(to, { type: 'pass', epoch: note.epoch, ...passed });
    }
  }

  // Of every role.

  #drop(epoch: number): void {
    const { note } = this.#memory;
    if (note.role !== 'none') this.#stepDown(epoch, null);
    // First no copy, then no content: what is cut off between the two must not pass for a copy.
    note.epoch = epoch;
    note.role = 'none';
    this.#begin(0);
  }

  #begin(last: number): void {
    this.#known = null;
    this.#memory.store.begin(last);
  }

  #create(): void {
    this.#begin(0);
    this.#memory.note.role = 'replica';
  }

  #stepDown(epoch: number, owner: string | null): void {
    const { note } = this.#memory;
    note.passed = null;
    note.unbound = false;
    if (note.role === 'owner') note.role = 'replica';
    note.epoch = epoch;
    note.requires = [];
    this.#owner = owner === this.#host ? null : owner;
    this.#passTo = null;
    this.#joining = [];
    this.#asks = [];
    this.#followers.clear();
    this.#fills.clear();
    for (const { call, result, wrote } of this.#running.splice(0)) {
      if (wrote) this.#out({ type: 'open', call });
      else this.#refuse({ call, run: () => ({ result, changes: [] }) });
    }
    for (const call of this.#waiting.splice(0)) this.#refuse(call);
  }

  #refuse({ call }: CopyCall<Call>): void {
    this.#out({ type: 'elsewhere', call, epoch: this.#memory.note.epoch, owner: this.#owner });
  }

  #send(to: string, message: CopyMessage): void {
    this.#out({ type: 'send', to, message });
  }

  // Of an owner.

  #own(record: CopyRecord, nowMs: number): void {
    const { note } = this.#memory;
    const isNew = record.epoch > note.epoch;
    if (note.role === 'owner' || isNew) {
      this.#joining = record.joining.filter(({ host }) => host !== this.#host);
      this.#passTo = record.phase === 'passing' ? (record.passTo?.host ?? null) : null;
    }
    if (!isNew) return;
    const inSync = record.inSync.filter((host) => host !== this.#host).map((host) => ({ host, since: 0 }));
    const kept = note.requires.filter(
      (each) => each.since > 0 && has(this.#joining, each) && !named(inSync, each.host),
    );
    // In this order: who is cut off in between requires too many, never too few.
    note.requires = [...inSync, ...kept];
    note.epoch = record.epoch;
    note.passed = null;
    note.role = 'owner';
    this.#owner = null;
    this.#follow(nowMs);
    for (const [host, fill] of this.#fills) {
      if (!has(this.#joining, { host, since: fill.since })) this.#fills.delete(host);
    }
  }

  /** Brings the followers in line with whom the owner requires. */
  #follow(nowMs: number): void {
    const { note, store } = this.#memory;
    for (const host of this.#followers.keys()) if (!named(note.requires, host)) this.#followers.delete(host);
    for (const { host } of note.requires) {
      if (!this.#followers.has(host)) this.#followers.set(host, new Follower(null, store.last, nowMs));
      this.#followers.get(host)?.askAnew();
    }
  }

  /** Up to where all that are required hold the log. */
  #held(): number {
    let held = this.#memory.store.last;
    for (const each of this.#followers.values()) held = Math.min(held, each.held ?? -1);
    return held;
  }

  /** Nobody whose word is needed can have promised itself to another owner. */
  #hasLeases(nowMs: number): boolean {
    return [...this.#followers.values()].every((each) => each.leaseUntilMs > nowMs);
  }

  #run(nowMs: number): void {
    if (nowMs < this.#promisedUntilMs) return;
    const { note, store } = this.#memory;
    note.unbound = true;
    if (this.#passTo !== null) return;
    while (this.#waiting.length > 0 && this.#running.length < this.#timing.pendingMax) {
      const { call, run } = this.#waiting.shift() as CopyCall<Call>;
      const { result, changes } = run();
      const wrote = changes.length > 0;
      if (wrote) store.apply({ index: store.last + 1, changes });
      this.#running.push({ call, result, index: store.last, wrote });
    }
  }

  #sendAppends(nowMs: number): void {
    const { note, store } = this.#memory;
    for (const [host, follower] of this.#followers) {
      const message = follower.next(store, note.epoch, nowMs, this.#timing);
      if (message !== null) this.#send(host, message);
    }
  }

  #release(nowMs: number): void {
    const held = this.#held();
    const hasLeases = this.#hasLeases(nowMs);
    this.#running = this.#running.filter(({ call, result, index, wrote }) => {
      if (index > held || (!wrote && !hasLeases)) return true;
      this.#out({ type: 'answer', call, result });
      return false;
    });
    if (!hasLeases) return;
    for (const { from, index, askedAtMs } of this.#asks.filter((each) => each.index <= held)) {
      const answer = { type: 'known' as const, epoch: this.#memory.note.epoch, index, askedAtMs };
      if (from === this.#host) this.#learn(answer);
      else this.#send(from, answer);
    }
    this.#asks = this.#asks.filter((each) => each.index > held);
  }

  /**
   * Whoever holds another beginning than the owner is not told how far it may be read. The former owner may still acknowledge
   * writes while a promise to it lasts.
   */
  #askedBy(from: string, { epoch, askedAtMs }: Of<'ask'>, nowMs: number): void {
    const { note, store } = this.#memory;
    if (note.role !== 'owner' || epoch !== note.epoch || nowMs < this.#promisedUntilMs) return;
    if (from !== this.#host && !named(note.requires, from)) return;
    if (!this.#asks.some((each) => each.from === from)) this.#asks.push({ from, index: store.last, askedAtMs });
  }

  #learn({ epoch, index, askedAtMs }: Of<'known'>): void {
    const { note, store } = this.#memory;
    const isWhole = note.role === 'replica' || note.role === 'owner';
    if (!isWhole || epoch !== note.epoch || index > store.last || askedAtMs < this.#wholeSinceMs) return;
    const before = this.#known ?? { index: 0, atMs: Number.NEGATIVE_INFINITY };
    // Answers may come in another order than they were asked for.
    if (askedAtMs > before.atMs) this.#known = { index: Math.max(index, before.index), atMs: askedAtMs };
  }

  #sendFills(nowMs: number): void {
    const { note, store } = this.#memory;
    for (const joining of this.#joining) {
      const { host, since } = joining;
      if (named(note.requires, host)) continue;
      let fill = this.#fills.get(host);
      if (fill === undefined) {
        note.attempts += 1;
        fill = new OutgoingFill(since, note.epoch, note.attempts, store);
        this.#fills.set(host, fill);
      }
      if (!fill.isDue(nowMs, this.#timing) || !this.#mayFill(this.#timing.partBytesMax)) continue;
      const part = fill.next(store, note.epoch, nowMs, this.#timing);
      if (part === null) this.#fills.delete(host);
      else this.#send(host, part);
    }
  }

  #heard(from: string, { epoch, last, askedAtMs, atMs }: Of<'held'>, nowMs: number): void {
    if (epoch !== this.#memory.note.epoch) return;
    const follower = this.#followers.get(from);
    if (follower === undefined) return;
    follower.heard(last, askedAtMs, nowMs, this.#timing);
    if (atMs !== undefined) follower.saidAtMs = Math.max(follower.saidAtMs ?? atMs, atMs);
  }

  #filled(from: string, { epoch, begun, attempt, part }: Of<'filled'>, nowMs: number): void {
    const { note, store } = this.#memory;
    const fill = this.#fills.get(from);
    if (epoch !== note.epoch || note.role !== 'owner' || fill?.answered(begun, attempt, part) !== true) return;
    this.#fills.delete(from);
    note.requires = [...note.requires, { host: from, since: fill.since }];
    // What was acknowledged up to now it may not hold yet.
    this.#followers.set(from, new Follower(fill.last, store.last, nowMs));
  }

  #lacks(from: string, { epoch }: Of<'no-copy'>): void {
    if (epoch < this.#memory.note.epoch) return;
    const follower = this.#followers.get(from);
    if (follower !== undefined) follower.broken = true;
    this.#fills.delete(from);
  }

  /** All hold everything, and nothing new has begun: the shard is the other's from now on. */
  #pass(nowMs: number): void {
    const { note, store } = this.#memory;
    const to = this.#passTo;
    if (to === null || !this.settled || this.#running.length > 0 || nowMs < this.#promisedUntilMs) return;
    if (!this.#isQuiet()) return;
    assert(named(note.requires, to), `state shard: ${to} is to own it and is not in sync`);
    const requires = note.requires.filter(({ host }) => host !== to);
    requires.push({ host: this.#host, since: 0 });
    const saidAtMs = this.#followers.get(to)?.saidAtMs;
    const passed = { to, last: store.last, requires, ...(saidAtMs === undefined ? {} : { saidAtMs }) };
    this.#stepDown(note.epoch + 1, to);
    note.passed = passed;
    // As if the next owner had asked for it just now.
    this.#promisedUntilMs = nowMs + this.#timing.leaseMs;
    this.#passedAtMs = Number.NEGATIVE_INFINITY;
  }

  // Of one that is not.

  #append(from: string, { epoch, after, records, askedAtMs }: Of<'append'>, nowMs: number): void {
    const { note, store } = this.#memory;
    if (note.role === 'none' || note.role === 'filling') {
      this.#send(from, { type: 'no-copy', epoch });
      return;
    }
    if (epoch > note.epoch) this.#stepDown(epoch, from);
    if (note.role === 'owner') return;
    note.passed = null;
    this.#owner = from;
    for (const record of after <= store.last ? records : []) {
      if (record.index === store.last + 1) store.apply(record);
    }
    this.#promisedUntilMs = nowMs + this.#timing.leaseMs;
    this.#send(from, { type: 'held', epoch, last: store.last, askedAtMs, atMs: nowMs });
  }

  #fill(from: string, message: Of<'fill'>, nowMs: number): void {
    const { note, store } = this.#memory;
    const { epoch, begun, attempt, part } = message;
    const order = note.fill === null ? 1 : begun - note.fill.begun || attempt - note.fill.attempt;
    if (order < 0 || note.role === 'owner') return;
    if (order > 0) {
      if (part !== 0) {
        this.#send(from, { type: 'no-copy', epoch });
        return;
      }
      note.role = 'filling';
      this.#stepDown(epoch, from);
      this.#begin(message.last);
      note.fill = { begun, attempt, part: 0 };
    }
    const fill = note.fill;
    if (fill === null || part > fill.part) return;
    if (part === fill.part) {
      for (const record of message.records) if (record.index === store.last + 1) store.apply(record);
      store.put(message.entries);
      assert.equal(store.last, message.last, 'state shard: a fill leaves out writes');
      fill.part += 1;
      if (message.done) {
        note.role = 'replica';
        this.#wholeSinceMs = nowMs;
      }
    }
    if (epoch > note.epoch) this.#stepDown(epoch, from);
    this.#send(from, { type: 'filled', epoch, begun, attempt, part });
  }

  #take(from: string, { epoch, last, requires, saidAtMs }: Of<'pass'>, nowMs: number): void {
    const { note, store } = this.#memory;
    if (note.role === 'none' || note.role === 'filling') {
      this.#send(from, { type: 'no-copy', epoch });
      return;
    }
    // Said again: the first append tells the former owner, and this one is on its way.
    if (note.role === 'owner' && note.epoch === epoch) return;
    assert.equal(store.last, last, 'state shard: passed to a copy that is not in sync');
    this.#stepDown(epoch, null);
    note.requires = requires;
    note.role = 'owner';
    // The former owner has ended by itself, and nobody before it serves.
    this.#promisedUntilMs = Number.NEGATIVE_INFINITY;
    this.#follow(nowMs);
    this.#followers.get(from)?.hasPassed(last, saidAtMs, this.#timing);
  }
}

function named(list: readonly Joining[], host: string): boolean {
  return list.some((each) => each.host === host);
}

function has(list: readonly Joining[], joining: Joining): boolean {
  return list.some(({ host, since }) => host === joining.host && since === joining.since);
}
