import t from 'tap';
import type { CopiesView, ShardView } from '../../protocol/http.js';
import { lossOf, RecoveryWatch, servedAfter } from '../../scripts/lib/bench/shard-recovery.js';

function shard(number: number, inSync: string[], joining: string[] = [], owner = inSync[0] ?? null): ShardView {
  const copies: CopiesView = { epoch: 1, phase: 'serving', owner, inSync, joining };
  return { shard: number, owner: null, cpu: 0, callsPerSecond: 0, copies, holds: null, move: null };
}

t.test('a host is lost: each shard that it had is whole once as many others have it', async (t) => {
  const loss = lossOf('h1', [shard(0, ['h1', 'h2']), shard(1, ['h2', 'h1']), shard(2, ['h2', 'h3'])]);
  t.same(loss, { host: 'h1', owned: [0], held: [0, 1] });
  const watch = new RecoveryWatch(loss, 1);
  const other = shard(2, ['h2', 'h3']);
  t.notOk(watch.look([shard(0, ['h1', 'h2']), shard(1, ['h2', 'h1']), other], 10), 'nobody has noticed yet');
  t.notOk(watch.look([shard(0, ['h2'], ['h1']), shard(1, ['h2'], []), other], 15), 'nor does the lost one count');
  t.notOk(watch.look([shard(0, ['h2'], ['h3']), shard(1, ['h2'], []), other], 20), 'one is filled');
  t.notOk(watch.look([shard(0, ['h2', 'h3']), shard(1, ['h2'], ['h3']), other], 30));
  const whole = [shard(1, ['h2', 'h3']), other];
  t.notOk(watch.look([shard(0, ['h2', 'h3'], [], null), ...whole], 40), 'nobody serves it yet');
  t.ok(watch.look([shard(0, ['h2', 'h3']), ...whole], 50));
  t.same(
    [...watch.wholeAtMs],
    [
      [0, 30],
      [1, 40],
    ],
  );
});

t.test('what it owned is served again from the first arrival after the loss on', async (t) => {
  const change = (number: number, atMs: number) => ({ shard: number, kind: 'arrive' as const, atMs, errorMs: 0 });
  const changes = [change(0, 50), change(0, 180), change(0, 150), change(1, 120), change(2, 130)];
  t.same(servedAfter({ host: 'h1', owned: [0, 2, 3], held: [] }, changes, 100), [50, 30]);
});
