import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { ALL_SHARDS, overBoth, STATE } from './rig.js';

overBoth('calls go round an instance that is stuck', async (t, rig) => {
  const served = [0, 0, 0];
  for (const [i] of served.entries()) {
    await rig.start('back', `a-back-${i}`, (app) => {
      app.handle('run', (_body, { signal }) => {
        served[i] = (served[i] as number) + 1;
        return i > 0 ? i : new Promise((resolve) => signal.addEventListener('abort', () => resolve(null)));
      });
    });
  }
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  const controller = new AbortController();
  const stuck: Promise<unknown>[] = [];
  for (let i = 0; i < 300; i += 1) {
    const call = app.call('back', 'run', i, { signal: controller.signal });
    stuck.push(call.catch((error: ShoalError) => error.code));
    // Two are chosen at random: all but a few meet a free one.
    await Promise.race([call, new Promise(setImmediate)]);
  }
  t.ok((served[0] as number) < 30, `the stuck one got ${served[0]}`);
  t.ok((served[1] as number) > 50 && (served[2] as number) > 50, `the others got ${served[1]} and ${served[2]}`);
  controller.abort();
  await Promise.all(stuck);
});

overBoth('more calls than may be outstanding are refused at once, and served when there is room', async (t, rig) => {
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  await rig.start('back', 'a-back-0', (app) => app.handle('run', () => gate));
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  const calls = Array.from({ length: LIMITS.callsOutstandingPerPeerMax }, () => app.call('back', 'run', null));
  while (app.peers()[0]?.instances[0]?.outstanding !== calls.length) await new Promise(setImmediate);
  await t.rejects(app.call('back', 'run', null), { code: 'SHOAL_E_OVERLOADED' });
  // A second instance has room.
  await rig.start('back', 'a-back-1', (other) => other.handle('run', () => 'room'));
  rig.publish();
  while (app.peers()[0]?.instances.length !== 2) await new Promise(setImmediate);
  t.equal(await app.call('back', 'run', null), 'room');
  release();
  await Promise.all(calls);
  t.same(
    app.peers()[0]?.instances.map(({ outstanding }) => outstanding),
    [0, 0],
  );
});

overBoth('a call that a handler has begun is not run again, whatever the handler throws', async (t, rig) => {
  const runs: string[] = [];
  for (const id of ['a-back-0', 'a-back-1']) {
    await rig.start('back', id, (app) => {
      app.handle('run', (code) => {
        runs.push(id);
        throw new ShoalError(code as 'SHOAL_E_NO_INSTANCE', 'from deeper down');
      });
    });
  }
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  for (const code of ['SHOAL_E_NO_INSTANCE', 'SHOAL_E_SHARD_MOVED', 'SHOAL_E_OVERLOADED', 'SHOAL_E_NOT_FOUND']) {
    runs.length = 0;
    await t.rejects(app.call('back', 'run', code), { code, message: 'from deeper down' });
    t.equal(runs.length, 1, code);
  }
});

overBoth(
  'a keyed call whose owner dies at work fails, one whose owner is away waits for the new owner',
  async (t, rig) => {
    let begin = () => {};
    const atWork = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const dying = await rig.start('index', 'a-index-0', (app) => {
      app.handle('set', () => {
        begin();
        return new Promise(() => {});
      });
    });
    const { app } = await rig.start('front', 'a-front-0');
    await rig.own(dying, ALL_SHARDS);
    rig.publish();
    const begun = app.call('index', 'set', 1, { key: 'k' });
    begun.catch(() => undefined);
    await atWork;
    await dying.app.close();
    await t.rejects(begun, { code: 'SHOAL_E_PEER_DIED' });
    const waits = app.call('index', 'set', 1, { key: 'k' });
    const next = await rig.start('index', 'a-index-1', (other) => other.handle('set', () => 'set'));
    await rig.own(next, ALL_SHARDS);
    rig.publish(['a-index-0']);
    t.equal(await waits, 'set');
    t.same(app.peers().find(({ component }) => component === 'index')?.owners, Array(STATE.shards).fill(next.id));
  },
);
