import t from 'tap';
import { KnownWrites } from '../../scripts/lib/soak/known-writes.js';

t.test('before anything is acknowledged the first value may still be there', async (t) => {
  const writes = new KnownWrites<number | null>(null);
  writes.begin(6);
  writes.assertPossible(null);
  writes.assertPossible(6);
  t.throws(() => writes.assertPossible(3), /it is 3; null it was at first, open are 6/);
});

t.test('what was acknowledged takes the place of what was there', async (t) => {
  const writes = new KnownWrites<number | null>(null);
  writes.begin(6);
  writes.acknowledge(6);
  writes.assertPossible(6);
  t.throws(() => writes.assertPossible(null), /it is null; 6 was acknowledged last, open are none/);
  t.throws(() => writes.acknowledge(6), /never written/);
  t.equal(writes.acknowledged, 1);
});

t.test('a write that was not answered may be done late, behind one that was', async (t) => {
  const writes = new KnownWrites(0);
  writes.begin(1);
  writes.begin(2);
  writes.acknowledge(2);
  writes.assertPossible(1);
  writes.assertPossible(2);
  t.throws(() => writes.assertPossible(0), /2 was acknowledged last, open are 1/);
});

t.test('once nothing is under way, only what was read is there', async (t) => {
  const writes = new KnownWrites(0);
  writes.begin(1);
  t.throws(() => writes.settle(2));
  writes.settle(1);
  writes.assertPossible(1);
  t.throws(() => writes.assertPossible(0));
});
