import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { COPY_TIMING } from '../../../agent/state/copy-timing.js';
import { HeldCopy } from '../../../agent/state/held-copy.js';
import { withoutFuture } from '../../../agent/state/said-times.js';
import type { CopyMessage, Joining, LogRecord } from '../../../protocol/state-copies.js';

const time = fc.integer({ min: 0, max: 100 });
const message: fc.Arbitrary<CopyMessage> = fc.oneof(
  fc.record({ type: fc.constant('held' as const), epoch: time, last: time, askedAtMs: time, atMs: time }),
  fc.record({ type: fc.constant('known' as const), epoch: time, index: time, askedAtMs: time }),
  fc.record(
    {
      type: fc.constant('pass' as const),
      epoch: time,
      last: time,
      requires: fc.constant<Joining[]>([]),
      saidAtMs: time,
    },
    { requiredKeys: ['type', 'epoch', 'last', 'requires'] },
  ),
  fc.record({ type: fc.constant('ask' as const), epoch: time, askedAtMs: time }),
  fc.record({
    type: fc.constant('append' as const),
    epoch: time,
    after: time,
    records: fc.constant<LogRecord[]>([]),
    askedAtMs: time,
  }),
);

t.test('of what is said, times of the own clock alone change, and only those that are yet to come', async () => {
  fc.assert(
    fc.property(message, time, (said, nowMs) => {
      const taken = withoutFuture(said, nowMs);
      const field = { held: 'askedAtMs', known: 'askedAtMs', pass: 'saidAtMs' }[said.type as string];
      const before = said as unknown as Record<string, unknown>;
      const after = taken as unknown as Record<string, unknown>;
      for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
        const was = before[name];
        const isLate = name === field && typeof was === 'number' && was > nowMs;
        if (after[name] !== (isLate ? nowMs : was)) throw new Error(`${said.type}: ${name} is ${after[name]}`);
      }
    }),
  );
});

t.test(
  'a copy that says it was asked in a time to come gives its owner a lease as of now, and no longer one',
  async (t) => {
    const folder = mkdtempSync('/dev/shm/shoal-test-');
    t.teardown(() => rmSync(folder, { recursive: true }));
    let nowMs = 1_000;
    const sent: CopyMessage[] = [];
    const owner = new HeldCopy({
      host: 'h1',
      boot: 'b',
      path: join(folder, 'shard'),
      now: () => nowMs,
      mayFill: () => true,
      send: (_, said) => sent.push(said),
      server: () => undefined,
      changed: () => {},
      came: () => {},
      failed: (error) => {
        throw error;
      },
      snapshot: () => null,
      known: () => {},
    });
    t.teardown(() => owner.close());
    const seat = { host: 'h1', instance: null };
    const record = { phase: 'serving' as const, owner: seat, inSync: ['h1', 'h2'], joining: [] };
    owner.configure({ ...record, epoch: 1, create: { h1: 'b', h2: 'b' } });
    nowMs += 10;
    owner.tick();
    t.match(sent.at(-1), { type: 'append', epoch: 1 }, 'the other copy is asked');
    t.equal(owner.heldNow, null, 'and has given no lease yet');
    owner.receive('h2', { type: 'held', epoch: 1, last: 0, askedAtMs: 1e9, atMs: 5 });
    const leaseMs = COPY_TIMING.leaseMs * (1 - COPY_TIMING.clockDriftMax);
    t.equal(owner.heldNow?.untilMs, nowMs + leaseMs);
    nowMs += leaseMs;
    t.equal(owner.heldNow, null, 'it has ended');
  },
);
