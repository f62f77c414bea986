import t from 'tap';
import { ShoalError } from '../../protocol/errors.js';
import { App, identityFrom } from '../../sdk/app.js';
import { makeCarrier } from '../../sdk/best-carrier.js';
import { overBoth } from './rig.js';

overBoth('a call reaches a handler and its answer comes back', async (t, rig) => {
  await rig.start('upper', 'a-upper-0', (app) => app.handle('run', (text) => String(text).toUpperCase()));
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  t.equal(await app.call('upper', 'run', 'abc'), 'ABC');
  const many = await Promise.all(Array.from({ length: 500 }, (_, i) => app.call('upper', 'run', `x${i}`)));
  t.same(
    many,
    Array.from({ length: 500 }, (_, i) => `X${i}`),
  );
});

overBoth('what goes wrong has a code', async (t, rig) => {
  let aborted = false;
  await rig.start('back', 'a-back-0', (app) => {
    app.handle('throw', () => {
      throw new Error('on purpose');
    });
    app.handle('never', (_body, { signal }) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return new Promise(() => {});
    });
    app.handle('unsendable', () => 'x'.repeat(17 * 1024 * 1024));
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  await t.rejects(app.call('back', 'throw', 1), { code: 'SHOAL_E_HANDLER', message: 'on purpose' });
  await t.rejects(app.call('back', 'nope', 1), { code: 'SHOAL_E_NO_HANDLER', message: /throw, never/ });
  await t.rejects(app.call('secret', 'x', 1), { code: 'SHOAL_E_NOT_GRANTED' });
  await t.rejects(app.call('back', 'never', 1, { deadlineMs: 30 }), { code: 'SHOAL_E_DEADLINE' });
  await t.rejects(app.call('back', 'never', 1, { deadlineMs: -1 }), { code: 'SHOAL_E_USAGE' });
  await t.rejects(app.call('back', 'unsendable', 1), { code: 'SHOAL_E_FRAME' });
  const controller = new AbortController();
  const cancelled = app.call('back', 'never', 1, { signal: controller.signal });
  setImmediate(() => controller.abort());
  await t.rejects(cancelled, { code: 'SHOAL_E_CANCELLED' });
  t.equal(await app.call('back', 'throw', 1).catch((error: ShoalError) => error instanceof ShoalError), true);
  t.equal(aborted, true, 'the callee is told of the deadline');
});

overBoth('a dead instance fails the calls it had begun and gets no new ones', async (t, rig) => {
  let begin = () => {};
  const atWork = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const dying = await rig.start('back', 'a-back-0', (app) => {
    app.handle('run', () => {
      begin();
      return new Promise(() => {});
    });
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  const begun = app.call('back', 'run', 1);
  begun.catch(() => undefined);
  await atWork;
  await dying.app.close();
  await t.rejects(begun, { code: 'SHOAL_E_PEER_DIED' });
  await rig.start('back', 'a-back-1', (app) => app.handle('run', () => 'alive'));
  rig.publish();
  for (let i = 0; i < 20; i += 1) t.equal(await app.call('back', 'run', 1), 'alive');
});

overBoth('a component without instances is waited for, and the agent hears of it', async (t, rig) => {
  await rig.start('back', 'a-back-0', (app) => app.handle('run', () => 'late'));
  const { app, control } = await rig.start('front', 'a-front-0');
  control.sendRoutes(1, { back: { instances: [] } });
  const answer = app.call('back', 'run', 1);
  while (rig.wanted.length === 0) await new Promise(setImmediate);
  rig.publish();
  t.equal(await answer, 'late');

  const alone = await rig.start('front', 'a-front-1');
  alone.control.sendRoutes(1, { back: { instances: [] } });
  await t.rejects(alone.app.call('back', 'run', 1, { deadlineMs: 60 }), { code: 'SHOAL_E_NO_INSTANCE' });
});

t.test('outside of an instance connect says what is missing', (t) => {
  t.throws(() => identityFrom({}), { code: 'SHOAL_E_USAGE', message: /SHOAL_INSTANCE/ });
  t.end();
});

t.test('a component without state is told of no state shards, and is told so', async (t) => {
  const identity = identityFrom({ SHOAL_APP: 'a', SHOAL_COMPONENT: 'c', SHOAL_INSTANCE: 'a-c-0' });
  const app = new App(identity, await makeCarrier(identity, { SHOAL_CARRIER: 'unix' }), null);
  const refusal = { code: 'SHOAL_E_STATE_MODE', message: /state: partitioned/ };
  t.throws(() => app.onShardArrive(() => undefined), refusal);
  t.throws(() => app.onShardLeave(() => undefined), refusal);
});
