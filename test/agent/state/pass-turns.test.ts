import t from 'tap';
import { PassTurns } from '../../../agent/state/pass-turns.js';

t.test('one state shard is passed on, and the others in the order in which they came', async (t) => {
  const turns = new PassTurns();
  const taken = (nowMs: number) => [...'abc'].filter((name) => turns.take(name, nowMs));
  t.same(taken(0), ['a']);
  t.same(turns.waiting, ['b', 'c']);
  turns.done('a');
  t.notOk(turns.take('c', 1), 'b has come before it');
  t.ok(turns.take('b', 1));
  t.notOk(turns.take('c', 1), 'another one is under way again');
  turns.done('b');
  t.ok(turns.take('c', 1));
  t.same(turns.waiting, []);
});

t.test('whoever was asked again while it is under way goes on', async (t) => {
  const turns = new PassTurns();
  for (const name of 'ab') turns.take(name, 0);
  t.ok(turns.take('a', 1));
  t.ok(turns.isUnder('a'));
  t.notOk(turns.isUnder('b'));
});

t.test('one that is not to be passed on any more holds up nobody', async (t) => {
  const turns = new PassTurns();
  for (const name of 'abc') turns.take(name, 0);
  turns.done('b');
  turns.done('a');
  t.ok(turns.take('c', 1));
});

t.test(
  'when passes get stuck, as with a host that is gone, those that wait go along with them after a while',
  async (t) => {
    const turns = new PassTurns();
    for (const name of 'abcd') turns.take(name, 0);
    t.notOk(turns.take('c', 1_999));
    t.ok(turns.take('d', 2_000), 'each by its own time');
    t.ok(turns.take('c', 2_000));
  },
);

t.test('what can wait does while a pass has begun just now, and no longer for one that is stuck', async (t) => {
  const turns = new PassTurns();
  t.notOk(turns.isHurried(0));
  for (const name of 'ab') turns.take(name, 0);
  t.ok(turns.isHurried(99));
  t.notOk(turns.isHurried(100), 'a is stuck');
  turns.done('a');
  turns.take('b', 200);
  t.ok(turns.isHurried(200));
  turns.done('b');
  t.notOk(turns.isHurried(200));
});
