import { connect } from 'node:net';
import t from 'tap';
import { encodeFrame, FrameReader } from '../../../protocol/frame.js';
import { LIMITS } from '../../../protocol/limits.js';
import { until, within } from '../../../scripts/lib/until.js';
import { NEAR, PASSWORD, rigWith, SETTINGS } from './cache-rig.js';

t.test('the calls of a state, against a real Redis', async (t) => {
  const { server, rig, target } = await rigWith(t);
  await rig.want(target, ['a', 'b']);
  await until(() => rig.trouble === null);
  const carts = rig.instance('a').state<{ items: string[] }>('carts');
  const other = rig.instance('b').state<{ items: string[] }>('carts');

  t.equal(await carts.get('ann'), undefined);
  await carts.set('ann', { items: ['tea'] });
  t.same(await other.get('ann'), { items: ['tea'] }, 'what one instance writes the next one reads');
  t.equal(await carts.has('ann'), true);
  t.equal(await carts.delete('ann'), true);
  t.equal(await carts.delete('ann'), false);
  t.equal(await carts.has('ann'), false);

  await carts.set('bob', { items: [] }, { ttlMs: 30 });
  await until(async () => !(await other.has('bob')), 10_000);
  await carts.set('cid', { items: [] }, { ttlMs: 60_000 });
  await carts.update('cid', (cart) => ({ items: [...(cart?.items ?? []), 'milk'] }));
  const ttl = Number(await server.cli('PTTL', 'shoal:app/shop:carts:cid'));
  t.ok(ttl > 0 && ttl <= 60_000, 'an update keeps the time at which the entry expires');
  t.equal(await carts.update('cid', () => undefined), undefined);
  t.equal(await carts.has('cid'), false, 'an update to undefined deletes');

  const raw = rig.instance('a').state<Uint8Array>('files', { raw: true });
  await raw.set('x', Buffer.from('bytes as they are'));
  t.equal(await server.cli('GET', 'shoal:app/shop:files:x'), 'bytes as they are');
  t.same(Buffer.from((await raw.get('x')) as Uint8Array).toString(), 'bytes as they are');
});

t.test('updates of one key by many at once are all there', async (t) => {
  const { rig, target } = await rigWith(t);
  await rig.want(target, ['a', 'b', 'c']);
  await until(() => rig.trouble === null);
  const counters = ['a', 'b', 'c'].map((id) => rig.instance(id).state<number>('counts'));
  await Promise.all(
    counters.map(async (counter) => {
      for (let i = 0; i < 50; i += 1) await counter.update('hits', (count = 0) => count + 1);
    }),
  );
  t.equal(await counters[0]?.get('hits'), 150);
});

t.test('what a cache cannot give, and what is beyond a limit', async (t) => {
  const { rig, target, server } = await rigWith(t);
  await rig.want(target, ['a']);
  await until(() => rig.trouble === null);
  const instance = rig.instance('a');
  t.throws(() => instance.state('words', { needs: ['scan'] }), { code: 'SHOAL_E_STATE_MODE' });
  const state = instance.state<unknown>('words');
  t.throws(() => state.scan(0), { code: 'SHOAL_E_STATE_MODE' });
  await t.rejects(state.get('k'.repeat(LIMITS.stateKeyBytesMax + 1)), { code: 'SHOAL_E_STATE_SIZE' });
  await t.rejects(state.set('k', 'v'.repeat(1024 * 1024)), { code: 'SHOAL_E_STATE_SIZE' });
  await t.rejects(state.set('k', undefined), { code: 'SHOAL_E_USAGE' });
  await t.rejects(
    state.update('k', async () => 1),
    { code: 'SHOAL_E_USAGE' },
  );
  await server.cli('RPUSH', 'shoal:app/shop:words:list', 'x');
  await t.rejects(state.get('list'), { code: 'SHOAL_E_STATE_DAMAGED' });
  await server.cli('CONFIG', 'SET', 'maxmemory', '1');
  await t.rejects(state.set('k', 'v'), { code: 'SHOAL_E_STATE_FULL' });
});

t.test('a wrong password, a missing one, and the right one at last', async (t) => {
  const { rig, target, server } = await rigWith(t);
  await rig.want({ ...target, password: 'wrong' }, ['a']);
  const state = rig.instance('a').state<string>('words');
  await until(() => rig.trouble?.includes('WRONGPASS') === true);
  await t.rejects(state.get('k'), { code: 'SHOAL_E_UNREACHABLE', message: /WRONGPASS/ });
  const missing = 'the secret cache-password was not set: `shoal secret set app/cache-password`';
  await rig.want(missing, ['a']);
  await t.rejects(state.get('k'), { code: 'SHOAL_E_UNREACHABLE', message: /shoal secret set/ });
  await rig.want(target, ['a']);
  await until(() => rig.trouble === null);
  t.equal(await state.get('k'), undefined);

  // As docs/state.md says.
  const rights = ['~shoal:app/*', '+@read', '+@write', '+@scripting', '+@connection', '+cluster'];
  await server.cli('ACL', 'SETUSER', 'shop', 'on', '>of shop', ...rights);
  await rig.want({ ...target, user: 'shop', password: 'of shop', near: true }, ['a']);
  await until(async () => (await state.set('k', 'v').catch(() => 'not yet')) === undefined);
  t.equal(await state.update('k', (word) => `${word}!`), 'v!');
  t.equal(await state.get('k'), 'v!');
  t.notOk(JSON.stringify(rig.news).includes(PASSWORD));
});

t.test('values that are kept near are told to be stale, by whoever they were written', async (t) => {
  const { rig, target, server } = await rigWith(t, [], true);
  await rig.want(target, ['a', 'b']);
  await until(() => rig.trouble === null);
  const near = rig.instance('a', NEAR);
  const mine = near.state<string>('words');
  const others = rig.instance('b').state<string>('words');
  await others.set('k', 'one');
  const hits = () => near.connection.near?.hits ?? 0;
  await until(async () => (await mine.get('k')) === 'one' && hits() > 0);
  const before = hits();
  for (let i = 0; i < 10; i += 1) t.equal(await mine.get('k'), 'one');
  t.equal(hits(), before + 10, 'nothing went to the cache');

  await others.set('k', 'two');
  await until(async () => (await mine.get('k')) === 'two');
  await mine.set('k', 'three');
  t.equal(await mine.get('k'), 'three', 'who writes reads what it wrote');
  t.equal(await mine.update('k', (word) => `${word}!`), 'three!');
  t.equal(await mine.get('k'), 'three!');
  await server.cli('DEL', 'shoal:app/shop:words:k');
  await until(async () => (await mine.get('k')) === undefined);
  await others.set('gone', 'soon', { ttlMs: 300 });
  t.equal(await mine.get('gone'), 'soon');
  await until(async () => (await mine.get('gone')) === undefined, 10_000);
  await server.cli('FLUSHALL');
  await until(async () => (await mine.get('k')) === undefined);
});

t.test('what was done with a cache is counted, near or not', async (t) => {
  const { rig, target } = await rigWith(t, [], true);
  await rig.want(target, ['a', 'b']);
  await until(() => rig.trouble === null);
  const near = rig.instance('a', NEAR);
  const mine = near.state<string>('words');
  const others = rig.instance('b').state<string>('words');
  await others.set('k', 'v');
  await others.get('k');
  await others.get('k');
  await others.get('none');
  await others.update('k', () => 'w');
  await others.delete('k');
  const large = 'x'.repeat(SETTINGS.valueBytesMax + 1);
  await t.rejects(
    rig
      .instance('b', { ...SETTINGS, valueBytesMax: 2 ** 24 })
      .state<string>('words')
      .set('k', large),
    {
      code: 'SHOAL_E_STATE_SIZE',
    },
  );
  const counted = rig.figuresOf();
  t.match(counted, { hits: 3, misses: 1, nearHits: 0, writes: 3, failed: 1, waiting: 0, connections: 1, clients: 3 });
  t.ok(counted !== undefined && counted.answerMs > 0 && counted.slowestMs > 0 && counted.slowestMs <= counted.answerMs);
  t.match(rig.figuresOf(), { slowestMs: 0, hits: 3 }, 'the longest of the time since it was said last');

  await until(async () => {
    await mine.get('k');
    return (near.connection.near?.hits ?? 0) >= 5;
  });
  await until(() => (rig.figuresOf()?.nearHits ?? 0) >= 5);
  t.equal(rig.figuresOf()?.nearHits, near.connection.near?.hits, 'as the instance counts them, once each');
});

t.test('no read is older than a write that was answered before, with another instance in between', async (t) => {
  const { rig, target } = await rigWith(t, [], true);
  await rig.want(target, ['a', 'b']);
  await until(() => rig.trouble === null);
  const writer = rig.instance('a', NEAR).state<number>('numbers');
  const reader = rig.instance('b', NEAR).state<number>('numbers');
  let last = -1;
  for (let i = 0; i < 300; i += 1) {
    await writer.set('n', i);
    t.equal(await writer.get('n'), i);
    const seen = (await reader.get('n')) ?? -1;
    t.ok(seen >= last, `it never goes back: ${seen} after ${last}`);
    last = seen;
  }
  await until(async () => (await reader.get('n')) === 299);
  t.equal(await reader.get('n'), 299);
});

t.test('a process that breaks the protocol is hung up on, and harms nobody', async (t) => {
  const { rig, target } = await rigWith(t);
  await rig.want(target, ['a', 'b']);
  await until(() => rig.trouble === null);
  const state = rig.instance('b').state<string>('words');
  for (const message of [
    { type: 'eval', id: 1, state: 'words', key: 'k' },
    { type: 'get', id: 1, state: '../other', key: 'k' },
    { type: 'get', id: 1, state: 'words', key: 'k'.repeat(5_000) },
    { type: 'set', id: 1, state: 'words', key: 'k', value: 'text' },
    { type: 'set', id: 1, state: 'words', key: 'k', value: Buffer.from('v'), ttlMs: -1 },
    'nonsense',
  ]) {
    const socket = connect(rig.path('a'));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.write(encodeFrame(message));
    await within('the connection to end', 10_000, closed);
  }
  await state.set('k', 'v');
  t.equal(await state.get('k'), 'v');
});

t.test('a process sends more than it may have under way: all is answered', async (t) => {
  const { rig, target } = await rigWith(t);
  await rig.want(target, ['a']);
  await until(() => rig.trouble === null);
  const socket = connect(rig.path('a'));
  t.teardown(() => socket.destroy());
  const reader = new FrameReader();
  let answers = 0;
  socket.on('data', (chunk: Buffer) => {
    answers += reader.push(chunk).length;
  });
  const count = 3 * LIMITS.cacheRequestsMax;
  for (let id = 0; id < count; id += 1) socket.write(encodeFrame({ type: 'get', id, state: 'words', key: `k${id}` }));
  await until(() => answers === count);
  t.equal(answers, count);
});
