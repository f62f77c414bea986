import t from 'tap';
import { nextRecord, type SeenHosts, type WantedShard } from '../../../coordinator/state/shard-record.js';
import type { CopyRecord, CopyReport } from '../../../protocol/state-copies.js';

const TIMING = { fenceMsMax: 1_000, passMsMax: 2_000, returnMsMax: 60_000 };

/** Hosts a to d that are all there; reports by host. */
class Rack implements SeenHosts {
  readonly away = new Set<string>();
  readonly gone = new Set<string>();
  readonly reports = new Map<string, CopyReport>();

  isThere = (host: string) => !this.away.has(host) && !this.gone.has(host);
  /** Has just gone silent. */
  readonly silent = new Set<string>();
  speaks = (host: string) => this.isThere(host) && !this.silent.has(host);
  isGone = (host: string) => this.gone.has(host);
  readonly drained = new Set<string>();
  isGivenUp = (host: string) => this.drained.has(host);
  bootOf = (host: string) => `boot-${host}`;
  reporting = () => [...this.reports.keys()];
  reportOf = (host: string) => this.reports.get(host) ?? null;
  instanceOn = (host: string) => `i-${host}`;

  says(host: string, report: Partial<CopyReport>): this {
    this.reports.set(host, { epoch: 1, role: 'replica', last: 0, synced: [], failing: [], ...report });
    return this;
  }
}

const seat = (host: string) => ({ host, instance: `i-${host}` });
const want = (owner: string, ...replicas: string[]): WantedShard => ({
  owner: seat(owner),
  replicas,
  mayGoTo: () => true,
});
const serving = (owner: string, ...others: string[]): CopyRecord => {
  return { epoch: 5, phase: 'serving', owner: seat(owner), inSync: [owner, ...others].sort(), joining: [] };
};
const next = (record: CopyRecord | null, wanted: WantedShard, rack: Rack, sinceMs = 0) => {
  return nextRecord(record, wanted, rack, TIMING, sinceMs);
};

t.test('a new shard begins empty on all its hosts, in the boots that are known', async (t) => {
  const record = next(null, want('a', 'b'), new Rack());
  t.same(record, { ...serving('a', 'b'), epoch: 1, create: { a: 'boot-a', b: 'boot-b' } });
  t.equal(next(record, want('a', 'b'), new Rack()), record, 'and that is all');
});

t.test('a hand-over: join, in sync, pass, settle, and the former owner leaves', async (t) => {
  const rack = new Rack();
  const wanted = want('b');
  const joining = next(serving('a'), wanted, rack) as CopyRecord;
  t.same(joining, { ...serving('a'), epoch: 6, joining: [{ host: 'b', since: 6 }] });
  t.equal(next(joining, wanted, rack.says('a', { epoch: 6, role: 'owner' })), joining, 'until it is filled');
  rack.says('a', { epoch: 6, role: 'owner', synced: [{ host: 'b', since: 6 }] });
  const inSync = next(joining, wanted, rack) as CopyRecord;
  t.same(inSync, { ...serving('a', 'b'), epoch: 7 });
  const passing = next(inSync, wanted, rack) as CopyRecord;
  t.same(passing, { ...serving('a', 'b'), epoch: 8, phase: 'passing', passTo: seat('b') });
  t.equal(next(passing, wanted, rack), passing, 'until it was taken');
  const taken = next(passing, wanted, rack.says('b', { epoch: 9, role: 'owner' })) as CopyRecord;
  t.same(taken, { ...serving('b', 'a'), epoch: 10 });
  t.same(next(taken, wanted, rack.says('b', { epoch: 10, role: 'owner' })), { ...serving('b'), epoch: 11 });
});

t.test('what was said of an earlier fill of the same host does not count', async (t) => {
  const joining = { ...serving('a'), epoch: 9, joining: [{ host: 'b', since: 9 }] };
  const rack = new Rack().says('a', { epoch: 9, role: 'owner', synced: [{ host: 'b', since: 6 }] });
  t.equal(next(joining, want('b'), rack), joining);
});

t.test('nothing goes where it may not go yet, and a copy that has failed leaves', async (t) => {
  const rack = new Rack();
  const still = (wanted: WantedShard) => ({ ...wanted, mayGoTo: () => false });
  const record = serving('a', 'b');
  t.equal(next(record, still(want('c', 'b')), rack), record);
  rack.away.add('b');
  t.equal(next(record, still(want('a', 'c')), rack), record, 'until the owner says that it has failed');
  rack.says('a', { epoch: 5, role: 'owner', failing: ['b'] });
  rack.silent.add('a');
  t.equal(next(record, still(want('a', 'c')), rack), record, 'and still speaks: b may be all that is left');
  rack.silent.clear();
  const less = next(record, still(want('a', 'c')), rack) as CopyRecord;
  t.same(less, { ...serving('a'), epoch: 6 });
  t.equal(next(less, still(want('a', 'c')), rack), less);
  const only = { ...want('d', 'c'), mayGoTo: (host: string) => host === 'c' };
  t.same(next(less, only, rack), { ...less, epoch: 7, joining: [{ host: 'c', since: 7 }] }, 'who may is filled');
});

t.test('the owner is lost: the longest copy that answers owns the shard, the others are in sync', async (t) => {
  const rack = new Rack();
  rack.away.add('a');
  const wanted = want('a', 'b', 'c');
  const fencing = next(serving('a', 'b', 'c'), wanted, rack) as CopyRecord;
  t.same(fencing, { ...serving('a', 'b', 'c'), epoch: 6, phase: 'fencing', owner: null });
  rack.says('b', { epoch: 6, last: 10 }).says('c', { epoch: 5, last: 12 });
  t.equal(next(fencing, wanted, rack), fencing, 'c has not answered yet');
  rack.says('c', { epoch: 6, last: 12 });
  t.same(next(fencing, wanted, rack), { ...serving('c', 'b'), epoch: 7 });
  rack.says('c', { epoch: 5, last: 12 });
  t.same(next(fencing, wanted, rack, 1_000), { ...serving('b'), epoch: 7 }, 'after a while without c');
});

t.test('a pass that does not end is fenced, with an epoch after that of the pass', async (t) => {
  const passing: CopyRecord = { ...serving('a', 'b'), phase: 'passing', passTo: seat('b') };
  const fencing = { ...serving('a', 'b'), epoch: 7, phase: 'fencing', owner: null };
  t.same(next(passing, want('b', 'a'), new Rack(), 2_000), fencing);
  const rack = new Rack();
  rack.away.add('b');
  t.same(next(passing, want('b', 'a'), rack), fencing, 'at once when the target is away');
});

t.test('an unwanted copy stays until all that are wanted are in sync', async (t) => {
  const rack = new Rack();
  rack.away.add('c');
  const record = serving('a', 'b');
  t.equal(next(record, want('a', 'c'), rack), record, 'c is wanted and away');
  t.same(next(serving('a', 'b', 'c'), want('a', 'b'), new Rack()), { ...serving('a', 'b'), epoch: 6 });
  const silent = new Rack();
  silent.silent.add('b');
  t.equal(next(record, want('a'), silent), record, 'b is asked for no more since its agent is away for a moment');
});

t.test('the only copy is away: the shard waits; it begins empty when the host is gone or has lost it', async (t) => {
  const fencing: CopyRecord = { ...serving('a'), phase: 'fencing', owner: null };
  const rack = new Rack();
  rack.away.add('a');
  t.equal(next(fencing, want('b'), rack, 60_000), fencing);
  rack.gone.add('a');
  const lost = next(fencing, want('b'), rack) as CopyRecord;
  t.match(lost, { epoch: 6, phase: 'lost', inSync: [] });
  t.match(next(lost, want('b'), rack), { epoch: 7, owner: seat('b'), create: { b: 'boot-b' } });
  const back = new Rack().says('a', { epoch: 5, role: 'none' });
  t.match(next(fencing, want('b'), back), { phase: 'lost' });
});

t.test('an instance ends: its host keeps the shard for the next one', async (t) => {
  const rack = new Rack();
  const wanted = { ...want('a', 'b'), owner: { host: 'a', instance: 'i-2' } };
  t.match(next(serving('a', 'b'), wanted, rack), { epoch: 6, phase: 'serving', owner: { host: 'a', instance: 'i-2' } });
});

t.test(
  'a shard that is lost begins with the newest snapshot there is, alone, and nothing else is done before it has',
  async (t) => {
    const rack = new Rack();
    const wanted = { ...want('a', 'b'), restores: true };
    const lost: CopyRecord = { epoch: 9, phase: 'lost', owner: null, inSync: [], joining: [] };
    for (const host of ['a', 'b', 'c', 'd']) rack.says(host, { epoch: 9, role: 'none' });
    t.same(next(lost, wanted, rack)?.restore, undefined, 'there is none: it begins empty');
    rack.says('a', { epoch: 9, role: 'none', snapshot: { epoch: 6, last: 80 } });
    rack.says('b', { epoch: 9, role: 'none', snapshot: { epoch: 7, last: 70 } });
    rack.says('c', { epoch: 9, role: 'none', snapshot: { epoch: 7, last: 71 } });
    rack.says('d', { epoch: 9, role: 'none', snapshot: { epoch: 10, last: 99 } });
    const begun = { ...serving('c'), epoch: 10, create: { c: 'boot-c' }, restore: { epoch: 7, last: 71 } };
    const record = next(lost, wanted, rack);
    t.same(record, begun, 'by epoch, then by index; one of a later epoch is of another life');
    t.equal(next(record, wanted, rack), record, 'until it has');
    rack.says('c', { epoch: 10, role: 'owner', last: 71 });
    t.match(next(record, wanted, rack), { epoch: 11, inSync: ['c'], joining: [{ host: 'a' }, { host: 'b' }] });
    rack.gone.add('c');
    t.match(next(record, wanted, rack), { phase: 'fencing', epoch: 11 }, 'whoever was to begin is gone');
    t.same(next(lost, wanted, rack)?.owner, seat('b'));
    t.equal(next(lost, want('a', 'b'), rack)?.restore, undefined, 'nobody asked for snapshots');
  },
);

t.test(
  'whose snapshot is damaged has no copy: the next one of all hosts is taken, and none is left in the end',
  async (t) => {
    const rack = new Rack();
    const wanted = { ...want('a', 'b'), restores: true };
    const lost: CopyRecord = { epoch: 9, phase: 'lost', owner: null, inSync: [], joining: [] };
    rack.says('b', { epoch: 9, role: 'none', snapshot: { epoch: 7, last: 70 } });
    rack.says('c', { epoch: 9, role: 'none', snapshot: { epoch: 7, last: 71 } });
    let record = next(lost, wanted, rack) as CopyRecord;
    t.match(record, { epoch: 10, owner: { host: 'c' }, restore: { last: 71 } });
    const inVain = (host: string, snapshot?: { epoch: number; last: number }) => {
      const has = snapshot === undefined ? {} : { snapshot };
      rack.says(host, { epoch: record.epoch, role: 'none', ...has });
      record = next(record, wanted, rack) as CopyRecord;
      t.match(record, { phase: 'fencing', inSync: [host] });
      rack.says(host, { epoch: record.epoch, role: 'none', ...has });
      record = next(record, wanted, rack) as CopyRecord;
      t.match(record, { phase: 'lost' });
      record = next(record, wanted, rack) as CopyRecord;
    };
    inVain('c', { epoch: 7, last: 60 });
    t.match(record, { phase: 'serving', owner: { host: 'b' }, restore: { epoch: 7, last: 70 } });
    inVain('b');
    t.match(record, { phase: 'serving', owner: { host: 'c' }, restore: { epoch: 7, last: 60 } });
    inVain('c');
    t.match(record, { phase: 'serving', owner: seat('a'), create: { a: 'boot-a' } });
    t.equal(record.restore, undefined);
  },
);

t.test('a host that is gone is waited for where it may come back with a snapshot that nobody else has', async (t) => {
  const rack = new Rack();
  const wanted = { ...want('b'), restores: true };
  const fencing: CopyRecord = { epoch: 9, phase: 'fencing', owner: null, inSync: ['a', 'b'], joining: [] };
  rack.says('b', { epoch: 9, role: 'none', snapshot: { epoch: 7, last: 70 } });
  rack.gone.add('a');
  t.equal(next(fencing, wanted, rack, 59_999), fencing);
  t.match(next(fencing, { ...wanted, restores: false }, rack, 2_000), { phase: 'lost' }, 'not for what is nowhere');
  t.match(next(fencing, wanted, rack, 60_000), { phase: 'lost' }, 'nor for ever');
  rack.drained.add('a');
  t.match(next(fencing, wanted, rack, 2_000), { phase: 'lost' }, 'nor when the operator does not');
  rack.drained.clear();
  rack.gone.clear();
  rack.says('a', { epoch: 9, role: 'none', snapshot: { epoch: 7, last: 90 } });
  const lost = next(fencing, wanted, rack, 30_000) as CopyRecord;
  t.match(lost, { phase: 'lost' });
  t.match(next(lost, wanted, rack), { owner: { host: 'a' }, restore: { last: 90 } }, 'it has come back');
});

t.test('a later life of a component knows to the end which epochs are not its own', async (t) => {
  const rack = new Rack();
  const wanted = { ...want('a'), restores: true, epochsBefore: 8 };
  const record = next(null, wanted, rack) as CopyRecord;
  t.same(record, { ...serving('a'), epoch: 9, create: { a: 'boot-a' }, bornAfter: 8 });
  rack.gone.add('a');
  const fencing = next(record, wanted, rack) as CopyRecord;
  const lost = next(fencing, { ...wanted, epochsBefore: 0 }, rack, TIMING.returnMsMax) as CopyRecord;
  t.match([fencing, lost], [{ bornAfter: 8 }, { phase: 'lost', epoch: 11, bornAfter: 8 }]);
  rack.says('b', { epoch: 11, role: 'none', snapshot: { epoch: 8, last: 80 } });
  rack.says('c', { epoch: 11, role: 'none', snapshot: { epoch: 9, last: 1 } });
  t.match(next(lost, wanted, rack), { restore: { epoch: 9, last: 1 }, owner: { host: 'c' }, bornAfter: 8 });
});
