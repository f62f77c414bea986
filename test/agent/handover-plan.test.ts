import fc from 'fast-check';
import pino from 'pino';
import t from 'tap';
import { Handover } from '../../agent/handover.js';
import { type Holder, planHandover, planShard } from '../../agent/handover-plan.js';
import type { Instance } from '../../agent/instance.js';
import type { Segments } from '../../agent/segments.js';
import { until } from '../../scripts/lib/until.js';

function holder(id: string, more: Partial<Holder> = {}): Holder {
  return { id, connected: true, reachable: true, unknown: false, shards: [], frozen: [], ...more };
}

t.test('who has not dialled yet may have what this agent has found, and nothing that came since', async (t) => {
  const hung = holder('a-b-0', { connected: false, reachable: false, unknown: true });
  const ready = holder('a-b-1', { shards: [2] });
  const map = { epoch: 1, owners: ['a-b-1', 'a-b-1', 'a-b-1', 'a-b-0'] };
  const own = (shard: number) => ({ kind: 'own' as const, shard, to: 'a-b-1' });
  t.same(
    planHandover(map, [hung, ready], () => false),
    [],
  );
  t.same(
    planHandover(map, [hung, ready], (shard) => shard !== 0),
    [own(1)],
  );
  t.same(
    planHandover(map, [{ ...hung, unknown: false }, ready], () => false),
    [own(0), own(1)],
  );
});

t.test('a shard moves from who serves it, and who has it beside the owner drops it', async (t) => {
  const has = { shards: [0] };
  const frozen = { shards: [0], frozen: [0] };
  t.same(planShard(0, 'y', [holder('x', has), holder('y')], false), [{ kind: 'move', shard: 0, from: 'x', to: 'y' }]);
  t.same(planShard(0, 'y', [holder('x', frozen), holder('y', has)], false), [{ kind: 'drop', shard: 0, from: 'x' }]);
  t.same(planShard(0, 'y', [holder('y', frozen)], false), [{ kind: 'own', shard: 0, to: 'y' }], 'it serves on');
  t.same(planShard(0, 'y', [holder('x', { ...has, connected: false }), holder('y')], false), [], 'it is waited for');
  t.same(planShard(0, null, [holder('x', has)], false), []);
});

t.test('nobody is to own what another may write to', async () => {
  const some = fc.record({
    connected: fc.boolean(),
    reachable: fc.boolean(),
    unknown: fc.boolean(),
    shards: fc.constantFrom<number[]>([], [0]),
    frozen: fc.constantFrom<number[]>([], [0]),
  });
  fc.assert(
    fc.property(fc.array(some, { maxLength: 4 }), fc.boolean(), (list, isNew) => {
      const holders = list.map((each, i) => ({
        ...each,
        id: `i-${i}`,
        frozen: each.shards.length === 0 ? [] : each.frozen,
      }));
      const steps = planShard(0, 'i-0', holders, isNew);
      const others = holders.filter(
        ({ id, shards, frozen }) => id !== 'i-0' && shards.includes(0) && !frozen.includes(0),
      );
      const hides =
        !isNew && !holders.some(({ shards }) => shards.includes(0)) && holders.some(({ unknown }) => unknown);
      return !steps.some(({ kind }) => kind === 'own') || (others.length === 0 && !hides);
    }),
  );
});

t.test('a shard that came from another host is served beside an instance that hangs', async (t) => {
  const commands: string[] = [];
  const instance = (id: string, connected: boolean) => {
    const command = async ({ type, shard }: { type: string; shard: number }) =>
      void commands.push(`${id} ${type} ${shard}`);
    const control = { connected, shards: connected ? [] : null, frozen: [], command };
    const channels = { connected, send: () => true };
    const status = () => ({ id, restarts: 0 });
    const made = { state: 'partitioned' };
    return { id, running: true, phase: 'ready', made, control, channels, status } as unknown as Instance;
  };
  const segments = { grant: () => ({ fd: 0, epoch: 1 }) } as unknown as Segments;
  const handover = new Handover(pino({ level: 'silent' }), 'a/b', segments, {
    changed: () => undefined,
    note: () => undefined,
    fileOf: (shard) => (shard === 7 ? 1 : 0),
    heldOf: () => null,
  });
  t.teardown(() => handover.stop());
  const all = [instance('a-b-0', false), instance('a-b-1', true)];
  for (const shard of [6, 7]) handover.look(shard, 'a-b-1', all);
  await until(() => commands.length > 0);
  t.same(commands, ['a-b-1 shard-own 7']);
});
