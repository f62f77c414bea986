import t from 'tap';
import { type CopyMemory, emptyNote, MapStore } from '../../../agent/state/copy-memory.js';
import type { CopyTiming } from '../../../agent/state/copy-timing.js';
import { once } from '../../../agent/state/once.js';
import { type CopyEffect, ShardCopy } from '../../../agent/state/shard-copy.js';
import type { CopyRecord } from '../../../protocol/state-copies.js';

const TIMING: CopyTiming = {
  leaseMs: 1_000,
  clockDriftMax: 0.1,
  retryMs: 10,
  silentMs: 300,
  renewMs: 100,
  partBytesMax: 64,
  recordsMax: 4,
  pendingMax: 8,
  waitingMax: 4,
};

/** Hosts whose messages wait until they are carried. */
class Rack {
  nowMs = 0;
  readonly copies = new Map<string, ShardCopy<string>>();
  readonly memories = new Map<string, CopyMemory>();
  /** Who gets and sends nothing. */
  readonly cut = new Set<string>();
  readonly answers: string[] = [];
  #mail: { from: string; effect: CopyEffect<string> }[] = [];

  constructor(...hosts: string[]) {
    for (const host of hosts) this.start(host, { note: emptyNote(), store: new MapStore(16) });
  }

  start(host: string, memory = this.memories.get(host) as CopyMemory): void {
    this.memories.set(host, memory);
    const out = (effect: CopyEffect<string>) => this.#mail.push({ from: host, effect });
    const options = { host, boot: 'b1', memory, timing: TIMING, nowMs: this.nowMs, mayFill: () => true };
    this.copies.set(host, new ShardCopy<string>({ ...options, out }));
  }

  at(host: string): ShardCopy<string> {
    return this.copies.get(host) as ShardCopy<string>;
  }

  say(record: CopyRecord, ...hosts: string[]): void {
    for (const host of hosts) this.at(host).configure(record, this.nowMs);
  }

  write(host: string, value: number): void {
    const run = () => ({ result: value, changes: [['k', value] as [string, unknown]] });
    this.at(host).submit({ call: `write ${value}`, run }, this.nowMs);
  }

  read(host: string): void {
    const store = this.memories.get(host)?.store as MapStore;
    this.at(host).submit({ call: 'read', run: () => ({ result: store.get('k'), changes: [] }) }, this.nowMs);
  }

  /** Lets time pass, and carries all messages. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.nowMs < untilMs) {
      this.nowMs += 5;
      for (const copy of this.copies.values()) copy.tick(this.nowMs);
      for (let turn = 0; turn < 20; turn += 1) for (const each of this.#mail.splice(0)) this.#carry(each);
    }
  }

  /** Carries what has been said, and not what is said to that. */
  carryOnce(): void {
    for (const each of this.#mail.splice(0)) this.#carry(each);
  }

  /** The answers since the last time. */
  taken(): string[] {
    return this.answers.splice(0);
  }

  #carry({ from, effect }: { from: string; effect: CopyEffect<string> }): void {
    if (effect.type === 'answer') this.answers.push(`${effect.call}: ${String(effect.result)}`);
    else if (effect.type === 'open') this.answers.push(`${effect.call}: open`);
    else if (effect.type === 'elsewhere') this.answers.push(`${effect.call}: at ${effect.owner}`);
    else if (!this.cut.has(from) && !this.cut.has(effect.to)) {
      this.copies.get(effect.to)?.receive(from, effect.message, this.nowMs);
    }
  }
}

const seat = (host: string) => ({ host, instance: `i-${host}` });
const begun: CopyRecord = {
  epoch: 1,
  phase: 'serving',
  owner: seat('a'),
  inSync: ['a', 'b'],
  joining: [],
  create: { a: 'b1', b: 'b1' },
};

/** No record but the first lets hosts begin with empty copies. */
const later: CopyRecord = { epoch: 2, phase: 'serving', owner: seat('a'), inSync: ['a', 'b'], joining: [] };

function begin(...hosts: string[]): Rack {
  const rack = new Rack(...hosts);
  rack.say(begun, ...hosts);
  rack.pass(20);
  return rack;
}

t.test('a write is answered when the replica holds it, and not before', async (t) => {
  const rack = begin('a', 'b');
  rack.write('a', 1);
  rack.pass(5);
  t.same(rack.taken(), ['write 1: 1']);
  rack.cut.add('b');
  rack.write('a', 2);
  rack.pass(500);
  t.same(rack.taken(), []);
  t.same(rack.at('a').report(rack.nowMs).failing, ['b'], 'it is reported');
  rack.say({ ...later, inSync: ['a'] }, 'a');
  rack.pass(5);
  t.same(rack.taken(), ['write 2: 2'], 'a record without it lets writes go on');
});

t.test('who lacks a lease answers no reads', async (t) => {
  const rack = begin('a', 'b');
  rack.cut.add('b');
  rack.pass(800);
  rack.read('a');
  rack.pass(5);
  t.same(rack.taken(), ['read: undefined'], 'a lease is good for 900 ms');
  rack.pass(300);
  rack.read('a');
  rack.pass(500);
  t.same(rack.taken(), []);
});

t.test('whoever takes over waits for what it promised, also as a new agent', async (t) => {
  for (const restarts of [false, true]) {
    const rack = begin('a', 'b');
    rack.write('a', 1);
    rack.pass(5);
    rack.taken();
    rack.cut.add('a');
    rack.say({ epoch: 2, phase: 'fencing', owner: null, inSync: ['a', 'b'], joining: [] }, 'b');
    rack.say({ epoch: 3, phase: 'serving', owner: seat('b'), inSync: ['b'], joining: [] }, 'b');
    if (restarts) rack.start('b');
    rack.read('b');
    rack.pass(850);
    t.same(rack.taken(), [], 'the former owner may still answer reads');
    rack.pass(400);
    t.same(rack.taken(), ['read: 1']);
    rack.start('b');
    rack.read('b');
    rack.pass(5);
    t.same(rack.taken(), ['read: 1'], 'once it serves, a new agent serves at once');
  }
});

t.test('who is passed a shard reads at once, by a lease that the one before it has given along', async (t) => {
  const rack = begin('a', 'b');
  rack.write('a', 1);
  rack.pass(5);
  // b is told, and hears no more of a.
  rack.say({ ...later, phase: 'passing', passTo: seat('b') }, 'a');
  rack.carryOnce();
  rack.cut.add('a');
  const readsAtMs = rack.nowMs;
  rack.read('b');
  rack.pass(5);
  t.same(rack.taken(), ['write 1: 1', 'read: 1']);
  rack.write('b', 2);
  rack.pass(5);
  t.same(rack.taken(), [], 'a write waits for the one before, which is required until a record leaves it out');
  rack.say({ ...later, epoch: 4, owner: null, phase: 'fencing' }, 'a');
  rack.say({ ...later, epoch: 5, owner: seat('a'), inSync: ['a'] }, 'a');
  rack.read('a');
  while (rack.nowMs < readsAtMs + 880) {
    rack.pass(5);
    t.same(rack.taken(), [], 'a keeps its promise');
  }
  rack.pass(200);
  t.same(rack.taken(), ['read: 1'], 'and serves once it is over');
  rack.read('b');
  rack.pass(20);
  t.same(rack.taken(), [], 'when b does not any more');
});

t.test('a shard of many entries is filled while it is written, and passed without a loss', async (t) => {
  const rack = begin('a', 'b', 'c');
  for (let i = 0; i < 40; i += 1) {
    rack.at('a').submit({ call: `e${i}`, run: () => ({ result: i, changes: [[`e${i}`, i]] }) }, rack.nowMs);
    rack.pass(5);
  }
  const joining = [{ host: 'c', since: 2 }];
  rack.say({ ...later, joining }, 'a', 'b', 'c');
  for (let i = 0; i < 20; i += 1) {
    rack.write('a', i);
    rack.pass(5);
  }
  t.same(rack.at('a').report(rack.nowMs).synced, joining);
  rack.taken();
  const passing: CopyRecord = { ...later, epoch: 3, phase: 'passing', passTo: seat('c'), inSync: ['a', 'b', 'c'] };
  rack.say(passing, 'a', 'b', 'c');
  rack.write('a', 99);
  rack.pass(30);
  t.same(rack.taken(), ['write 99: at c'], 'who comes late is told where to go');
  rack.write('c', 100);
  rack.read('c');
  rack.pass(30);
  t.same(rack.taken(), ['write 100: 100', 'read: 100']);
  const contents = ['a', 'b', 'c'].map((host) => rack.memories.get(host)?.store.entriesFrom(undefined, 1e6).entries);
  t.equal(contents[0]?.length, 41);
  t.same(contents[0], contents[1]);
  t.same(contents[0], contents[2]);
  t.match(rack.at('c').report(rack.nowMs), { role: 'owner', epoch: 4 });
});

t.test('what was acknowledged before its fill ended a host must hold before it counts as in sync', async (t) => {
  const rack = begin('a', 'b', 'c');
  rack.say({ ...later, inSync: ['a'], joining: [{ host: 'c', since: 2 }] }, 'a');
  rack.at('a').receive('c', { type: 'filled', epoch: 2, begun: 2, attempt: 1, part: 0 }, rack.nowMs);
  // The last part of the fill is on its way; its answer comes after a write was acknowledged.
  rack.write('a', 1);
  rack.at('a').receive('c', { type: 'filled', epoch: 2, begun: 2, attempt: 1, part: 1 }, rack.nowMs);
  t.same(rack.memories.get('a')?.note.requires, [{ host: 'c', since: 2 }], 'it is required from now on');
  t.same(rack.at('a').report(rack.nowMs).synced, []);
});

t.test('a record without a joining host aborts its fill', async (t) => {
  const rack = begin('a', 'b', 'c');
  rack.say({ ...later, joining: [{ host: 'c', since: 2 }] }, 'a', 'b');
  rack.pass(50);
  rack.say({ ...later, epoch: 3 }, 'a', 'b', 'c');
  t.match(rack.at('c').report(rack.nowMs), { role: 'none' });
  rack.cut.add('c');
  rack.write('a', 5);
  rack.pass(10);
  t.same(rack.taken(), ['write 5: 5'], 'nobody waits for it');
});

t.test('a host that has lost its memory says so, and does not begin with an empty copy', async (t) => {
  const rack = begin('a', 'b');
  rack.write('a', 1);
  rack.pass(5);
  rack.start('b', { note: emptyNote(), store: new MapStore(16) });
  rack.say(later, 'a', 'b');
  rack.pass(200);
  t.match(rack.at('b').report(rack.nowMs), { role: 'none', epoch: 2 });
  t.same(rack.at('a').report(rack.nowMs).failing, ['b']);
});

t.test('more calls than may wait are told to come later', async (t) => {
  const rack = begin('a', 'b');
  rack.cut.add('b');
  for (let i = 0; i < 14; i += 1) rack.write('a', i);
  rack.pass(5);
  t.same(rack.taken(), ['write 12: at null', 'write 13: at null'], '8 are under way, 4 wait');
});

t.test('a call that comes again is answered and not done again', async (t) => {
  const store = new MapStore(16);
  let runs = 0;
  const call = (number: number) => {
    const { result, changes } = once(store, { caller: 'c', number }, () => {
      runs += 1;
      return { result: runs, changes: [['k', runs]] };
    });
    if (changes.length > 0) store.apply({ index: store.last + 1, changes });
    return result;
  };
  t.same([call(1), call(1), call(2), call(1), call(2)], [1, 1, 2, undefined, 2]);
  t.equal(runs, 2);
});
