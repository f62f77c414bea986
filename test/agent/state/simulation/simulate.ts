import { isDeepStrictEqual } from 'node:util';
import type { MapStore } from '../../../../agent/state/copy-memory.js';
import { lastNumberOf, type NumberedCall } from '../../../../agent/state/once.js';
import type { WantedShard } from '../../../../coordinator/state/shard-record.js';
import type { CopyRecord } from '../../../../protocol/state-copies.js';
import { ShardRoute } from '../../../../protocol/state-route.js';
import { areAsFromOneCopy, type KeyAnswer, type KeyCall } from '../../../../scripts/lib/state/key-calls.js';
import type { RecordedCall } from '../../../../scripts/lib/state/linearizable.js';
import { World } from '../../../coordinator/simulation/world.js';
import type { Planted } from './planted.js';
import { SimCoordinator } from './sim-coordinator.js';
import { type SimAnswer, type SimCall, SimHost, type SimSnapshot } from './sim-host.js';
import { DELAY_MS_MAX, SimNetwork } from './sim-network.js';

const HOSTS = 4;
const CALLERS = 3;
const KEYS = ['a', 'b', 'c'];
const CHAOS_MS = 5_000;
/** Afterwards nothing fails any more, and everything has to come to what is wanted. */
const CALM_MS = 3_000;
const REPORT_MS = 15;
const ANSWER_MS = 60;
/** A caller gives a call up after so many tries. */
const TRIES_MAX = 12;
const PAUSE_MS_MAX = 60;

export interface History {
  /** What must not be, if anything. */
  broken: string | null;
  answered: number;
  open: number;
  owners: number;
  records: number;
  reboots: number;
  /** Shards that began with a snapshot, after all memory was lost at once. */
  restores: number;
  /** Reads of copies on a host that need not own the shard. */
  near: number;
}

interface Recorded extends RecordedCall<KeyCall, KeyAnswer> {
  /** Absent: a read of a copy. */
  who?: NumberedCall;
}

interface Waiting {
  call: SimCall;
  tries: number;
  answer(answer: SimAnswer): void;
}

/** One history of a state shard under faults, all decided by the seed. */
export function simulate(seed: number, planted: Planted = {}): History {
  const shard = new SimShard(seed, planted);
  try {
    return shard.run();
  } catch (error) {
    // An invariant that a machine asserts.
    return shard.history(error instanceof Error ? error.message : String(error));
  }
}

class SimShard {
  readonly #world: World;
  readonly #network: SimNetwork;
  readonly #hosts = new Map<string, SimHost>();
  readonly #coordinator: SimCoordinator;
  readonly #replicas: number;
  readonly #reads: number;
  readonly #calls = new Map<string, Recorded[]>(KEYS.map((key) => [key, []]));
  readonly #waiting = new Map<string, Waiting>();
  readonly #owners = new Set<string>();
  #chaos = true;
  /** A host has lost its memory, and not everybody knows: one thing at a time. */
  #rebooted: { host: string; epoch: number } | null = null;
  /** The latest record that hosts were told of. */
  #told = 0;
  #reboots = 0;
  #answered = 0;
  /** In every second history copies are read. */
  readonly #readsNear: boolean;
  /** In some all hosts lose their memory at once, and have snapshots. */
  readonly #burns: boolean;
  #burntAt = Number.POSITIVE_INFINITY;
  /** With what the shard begins again; null: with nothing. */
  #begun: SimSnapshot | null = null;
  #near = 0;
  #value = 0;

  constructor(seed: number, planted: Planted) {
    this.#world = new World(seed);
    this.#readsNear = seed % 2 === 0;
    this.#burns = seed % 4 === 0;
    this.#network = new SimNetwork(this.#world);
    this.#replicas = Math.floor(this.#world.random() * 3);
    this.#reads = this.#world.between(0.3, 0.97);
    for (let i = 0; i < HOSTS; i += 1) this.#addHost(`h${i}`, planted);
    const send = (record: CopyRecord) => this.#tell(record);
    this.#coordinator = new SimCoordinator(this.#world, planted, this.#someWanted(), send);
  }

  history(broken: string | null): History {
    const open = [...this.#calls.values()].flat().filter(({ endedAt }) => endedAt === Number.POSITIVE_INFINITY).length;
    const records = this.#coordinator.record?.epoch ?? 0;
    const counts = { answered: this.#answered, owners: this.#owners.size, reboots: this.#reboots, near: this.#near };
    const restores = this.#begun === null ? 0 : 1;
    return { broken, open, records, restores, ...counts };
  }

  run(): History {
    this.#report();
    this.#plague();
    this.#want();
    if (this.#readsNear) this.#readNear();
    if (this.#burns) this.#burn();
    for (let i = 0; i < CALLERS; i += 1) this.#begin(`c${i}`, 1, new ShardRoute());
    this.#world.play(CHAOS_MS);
    this.#chaos = false;
    this.#coordinator.wanted = { ...this.#coordinator.wanted, mayGoTo: () => true };
    this.#network.calm();
    for (const host of this.#hosts.values()) if (!host.lives) host.start();
    if (!this.#coordinator.lives) this.#coordinator.start();
    const before = this.#answered;
    this.#world.play(CHAOS_MS + CALM_MS);
    if (this.#answered - before < 10) return this.history(`${this.#answered - before} calls were answered in the calm`);
    return this.history(this.#restProblem() ?? this.#historyProblem());
  }

  #addHost(name: string, planted: Planted): void {
    const what = { isRead: this.#readsNear, isSaved: this.#burns };
    const host = new SimHost(name, this.#world, planted, what, {
      send: (to, message) => this.#network.send(name, to, () => this.#hosts.get(to)?.receive(name, message)),
      answer: (answer) => {
        if (answer.type === 'answer') this.#owners.add(`${name} ${host.memory.note.epoch}`);
        const { caller } = answer.call;
        this.#network.send(name, caller, () => {
          const waiting = this.#waiting.get(caller);
          if (waiting?.call.number === answer.call.number) waiting.answer(answer);
        });
      },
    });
    this.#hosts.set(name, host);
  }

  #tell(record: CopyRecord): void {
    if (this.#chaos && record.epoch > this.#told && this.#isMended()) {
      this.#told = record.epoch;
      if (this.#world.chance(0.2)) this.#strike(record);
    }
    this.#noteBegun(record);
    for (const [name, host] of this.#hosts) this.#network.send('coordinator', name, () => host.configure(record));
  }

  #report(): void {
    this.#world.at(this.#world.nowMs + REPORT_MS, () => {
      this.#report();
      for (const [name, host] of this.#hosts) {
        const report = host.report();
        const { boot } = host;
        if (report !== null) this.#network.send(name, 'coordinator', () => this.#coordinator.hear(name, boot, report));
      }
    });
  }

  // Callers: one call after the other, each tried until it is answered or given up.

  #begin(caller: string, number: number, route: ShardRoute): void {
    this.#world.at(this.#world.nowMs + this.#world.between(0, PAUSE_MS_MAX), () => {
      const key = KEYS[Math.floor(this.#world.random() * KEYS.length)] ?? 'a';
      const call: SimCall = { caller, number, key, do: this.#someCall() };
      const beganAt = this.#world.nowMs;
      const who = { caller, number };
      const record = { beganAt, endedAt: Number.POSITIVE_INFINITY, input: call.do, output: null as KeyAnswer, who };
      this.#calls.get(key)?.push(record);
      // Now and then as a caller that has just come and knows nothing.
      const known = this.#world.chance(0.15) ? new ShardRoute() : route;
      this.#try({ call, tries: 0, answer: () => undefined }, record, known);
    });
  }

  #try(waiting: Waiting, record: RecordedCall<KeyCall, KeyAnswer>, route: ShardRoute): void {
    const { call } = waiting;
    const { caller, number } = call;
    const host = route.host ?? this.#someHost();
    this.#waiting.set(caller, waiting);
    waiting.tries += 1;
    let over = false;
    const again = () => {
      if (waiting.tries < TRIES_MAX) this.#try(waiting, record, route);
      else this.#begin(caller, number + 1, route);
    };
    waiting.answer = (answer) => {
      if (over) return;
      over = true;
      if (answer.type === 'elsewhere') {
        route.doubt(host);
        if (answer.owner !== null) route.learn(answer.epoch, answer.owner);
        this.#world.at(this.#world.nowMs + 5, again);
        return;
      }
      this.#answered += 1;
      record.endedAt = this.#world.nowMs;
      record.output = answer.result;
      this.#begin(caller, number + 1, route);
    };
    this.#world.at(this.#world.nowMs + ANSWER_MS, () => {
      if (over) return;
      over = true;
      // Half of the time it is as stubborn as one who has heard nothing else.
      if (this.#world.chance(0.5)) route.doubt(host);
      again();
    });
    this.#network.send(caller, host, () => this.#hosts.get(host)?.call(call));
  }

  /** As a call that began when the copy was known to be good: it sees no older entries than those of then. */
  #readNear(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(0, PAUSE_MS_MAX), () => {
      this.#readNear();
      const key = KEYS[Math.floor(this.#world.random() * KEYS.length)] ?? 'a';
      const read = this.#hosts.get(this.#someHost())?.readNear(key) ?? null;
      if (read === null) return;
      this.#near += 1;
      const call = { beganAt: read.at, endedAt: this.#world.nowMs, input: { do: 'get' as const }, output: read.value };
      this.#calls.get(key)?.push(call);
    });
  }

  #someCall(): KeyCall {
    const what = this.#world.random();
    if (what < this.#reads) return { do: 'get' };
    if (this.#world.chance(0.5)) return { do: 'add', value: 1 };
    if (this.#world.chance(0.3)) return { do: 'delete' };
    this.#value += 1_000;
    return { do: 'set', value: this.#value };
  }

  // What goes wrong, and what is wanted.

  #someHost(): string {
    return `h${Math.floor(this.#world.random() * HOSTS)}`;
  }

  #someWanted(): WantedShard {
    const hosts = [...this.#hosts.keys()].map((host) => ({ host, at: this.#world.random() }));
    const [owner = '', ...others] = hosts.sort((a, b) => a.at - b.at).map(({ host }) => host);
    const replicas = others.slice(0, this.#replicas);
    // Often one of them has to wait for its turn.
    const waiting = this.#world.chance(0.3) ? this.#someHost() : null;
    const seat = { host: owner, instance: `instance-${owner}` };
    return { owner: seat, replicas, mayGoTo: (host) => host !== waiting, restores: this.#burns };
  }

  #want(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(100, 900), () => {
      if (!this.#chaos) return;
      this.#want();
      this.#coordinator.wanted = this.#someWanted();
    });
  }

  #plague(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(20, 500), () => {
      if (!this.#chaos) return;
      this.#plague();
      if (!this.#isMended()) return;
      const host = this.#hosts.get(this.#someHost()) as SimHost;
      const what = this.#world.random();
      const ms = this.#world.between(10, 700);
      if (what < 0.3) this.#end(host, ms);
      else if (what < 0.45) this.#network.cut(host.name, this.#someHost(), ms);
      else if (what < 0.55) this.#isolate(host.name, 2 * ms);
      else if (what < 0.65) this.#network.cut('*', host.name, ms);
      else if (what < 0.75) this.#network.cut('coordinator', host.name, ms);
      else if (what < 0.85) this.#endCoordinator(ms);
      else this.#reboot(host, ms);
    });
  }

  /** Whoever is concerned by a record fails just when it comes. */
  #strike({ owner, joining, inSync }: CopyRecord): void {
    const others = [...joining.map(({ host }) => host), ...inSync].filter((host) => host !== owner?.host);
    const other = others[Math.floor(this.#world.random() * others.length)] ?? 'h0';
    const ms = this.#world.between(1, 600);
    const host = this.#hosts.get(owner?.host ?? other) as SimHost;
    const what = this.#world.random();
    if (what < 0.3) this.#world.at(this.#world.nowMs + this.#world.between(0, 30), () => this.#end(host, ms / 4));
    else if (what < 0.5) this.#isolate(host.name, ms);
    else if (what < 0.6) this.#end(this.#hosts.get(other) as SimHost, ms / 10);
    else if (what < 0.7) this.#network.cut(host.name, other, ms);
    else {
      // One is left.
      this.#isolate(host.name, 3 * ms);
      for (const each of others) if (each !== other) this.#end(this.#hosts.get(each) as SimHost, ms);
    }
  }

  #end(host: SimHost, ms: number): void {
    if (!host.lives) return;
    host.kill();
    this.#world.at(this.#world.nowMs + ms, () => {
      if (!host.lives) host.start();
    });
  }

  #isolate(host: string, ms: number): void {
    for (const other of [...this.#hosts.keys(), 'coordinator']) {
      this.#network.cut(host, other, ms);
      this.#network.cut(other, host, ms);
    }
  }

  #endCoordinator(ms: number): void {
    if (!this.#coordinator.lives) return;
    this.#coordinator.kill();
    this.#world.at(this.#world.nowMs + ms, () => {
      if (!this.#coordinator.lives) this.#coordinator.start();
    });
  }

  /** All memory is gone at once, when nothing else is wrong with it. */
  #burn(): void {
    this.#world.at(this.#world.nowMs + this.#world.between(200, CHAOS_MS), () => {
      const { record, committing } = this.#coordinator;
      if (!this.#chaos) return;
      if (record?.phase !== 'serving' || committing !== null || !this.#isMended()) {
        this.#burn();
        return;
      }
      this.#burntAt = this.#world.nowMs;
      for (const host of this.#hosts.values()) {
        host.reboot();
        this.#world.at(this.#world.nowMs + this.#world.between(1, 300), () => {
          if (!host.lives) host.start();
        });
      }
    });
  }

  /** The last one counts: a host that is away before it has begun has another take its place, perhaps with a newer snapshot. */
  #noteBegun({ restore, owner }: CopyRecord): void {
    if (restore === undefined) return;
    const isIt = ({ mark }: SimSnapshot) => mark.epoch === restore.epoch && mark.last === restore.last;
    this.#begun = this.#hosts.get(owner?.host ?? '')?.disk.find(isIt) ?? this.#begun;
  }

  /**
   * Only as often as R promises: while another host in sync has everything, and is heard. Without replicas nothing is
   * promised: the copy that a shard has left may be given up just then, as it shall be.
   */
  #reboot(host: SimHost, ms: number): void {
    if (this.#replicas === 0) return;
    const record = this.#coordinator.record;
    if (record === null || !this.#coordinator.isQuiet || record.inSync.length < 2) return;
    const whole = record.inSync.every((name) => {
      const other = this.#hosts.get(name);
      return other?.lives === true && other.memory.note.epoch === record.epoch;
    });
    if (!whole) return;
    this.#reboots += 1;
    host.reboot();
    this.#rebooted = { host: host.name, epoch: record.epoch };
    this.#network.calmCuts();
    this.#world.at(this.#world.nowMs + ms, () => host.start());
  }

  #isMended(): boolean {
    if (this.#rebooted === null) return true;
    const { record } = this.#coordinator;
    const { host, epoch } = this.#rebooted;
    const known = record !== null && (!record.inSync.includes(host) || record.epoch > epoch + 2);
    if (known && this.#hosts.get(host)?.lives === true) this.#rebooted = null;
    return this.#rebooted === null;
  }

  // Judgement.

  #restProblem(): string | null {
    const { record, wanted } = this.#coordinator;
    const hosts = [wanted.owner.host, ...wanted.replicas].sort();
    const atRest = record?.phase === 'serving' && record.owner?.host === wanted.owner.host;
    if (!atRest || !isDeepStrictEqual(record.inSync, hosts)) {
      return `the calm ended with ${JSON.stringify(record)}, wanted is ${JSON.stringify(wanted)}`;
    }
    return null;
  }

  #historyProblem(): string | null {
    for (const [key, calls] of this.#calls) {
      for (const [part, life] of Object.entries(this.#livesOf(key, calls))) {
        if (!areAsFromOneCopy(life)) return `the history of key ${key} is not linearizable ${part}`;
      }
    }
    return this.#copiesProblem();
  }

  /**
   * What was done before all memory was lost, and what is done after it, to what was in the snapshot. Of a call that was under
   * way it is open whether it was done: it may be in the snapshot already, with an answer of then.
   */
  #livesOf(key: string, calls: readonly Recorded[]): Record<string, Recorded[]> {
    const at = this.#burntAt;
    if (at === Number.POSITIVE_INFINITY) return { 'at all': [...calls] };
    const opened = (call: Recorded) => ({ ...call, endedAt: Number.POSITIVE_INFINITY });
    const begun = calls.filter(({ beganAt }) => beganAt <= at);
    const open = begun.filter(({ endedAt }) => endedAt > at).map(opened);
    const before = begun.filter(({ endedAt }) => endedAt <= at);
    const again = before.filter((call) => this.#mayComeAgain(call)).map(opened);
    const after = calls.filter(({ beganAt }) => beganAt > at);
    const value = new Map(this.#begun?.entries ?? []).get(key) as KeyAnswer | undefined;
    const begin: Recorded[] =
      value === undefined || value === null
        ? []
        : [{ beganAt: at, endedAt: at, input: { do: 'set', value }, output: null }];
    return { 'before all burnt': [...before, ...open], 'after all burnt': [...begin, ...open, ...again, ...after] };
  }

  /** A write that was lost with its number: a repeated message that comes late may have it done after all. */
  #mayComeAgain({ who, endedAt, input }: Recorded): boolean {
    if (who === undefined || input.do === 'get' || endedAt + DELAY_MS_MAX < this.#burntAt) return false;
    return who.number > lastNumberOf(new Map(this.#begun?.entries ?? []), who.caller);
  }

  /** When nothing is under way all copies are the same. */
  #copiesProblem(): string | null {
    const { record } = this.#coordinator;
    const stores = (record?.inSync ?? []).map((host) => this.#hosts.get(host)?.memory.store as MapStore);
    const last = Math.min(...stores.map((store) => store.last));
    const settled = stores.filter((store) => store.last === last);
    const contents = settled.map((store) => store.entriesFrom(undefined, 1e6).entries);
    return contents.every((each) => isDeepStrictEqual(each, contents[0])) ? null : 'copies in sync differ';
  }
}
