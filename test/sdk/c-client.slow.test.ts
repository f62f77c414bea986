import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { until } from '../../scripts/lib/until.js';
import { type Member, overBoth, type Rig, type Seat } from './rig.js';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));
/** Built by the C++ tests, with sanitizers. */
const SANITIZED = join(checkout, 'build/native-test/libshoal.a');
const PLAIN = join(checkout, 'build/Release/libshoal.a');

const folder = await mkdtemp(join(tmpdir(), 'shoal-c-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const program = join(folder, 'middle');
const sanitized = existsSync(SANITIZED);
const library = sanitized ? [SANITIZED, '-fsanitize=address,undefined'] : [PLAIN];
const source = join(checkout, 'test/sdk/c/middle.c');
const flags = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-g', `-I${join(checkout, 'sdk/c')}`];
execFileSync('cc', [...flags, source, ...library, '-lstdc++', '-lm', '-o', program], { stdio: 'inherit' });

interface Middle extends Seat {
  child: ChildProcess;
  ended: Promise<number | null>;
}

async function startMiddle(t: Test, rig: Rig, id = 'a-middle-0'): Promise<Middle> {
  let child: ChildProcess | undefined;
  let ended: Promise<number | null> | undefined;
  const seat = await rig.seat('middle', id, async (env) => {
    const started = spawn(program, { env, stdio: ['ignore', 'inherit', 'inherit'] });
    t.teardown(() => started.kill('SIGKILL'));
    ended = new Promise((resolve) => started.once('exit', resolve));
    child = started;
  });
  return Object.assign(seat, {
    child: child as unknown as ChildProcess,
    ended: ended as unknown as Promise<number | null>,
  });
}

/** A front, a component in C behind it, and one behind that. */
async function startAll(t: Test, rig: Rig) {
  const kept: (() => void)[] = [];
  const front = await rig.start('front', 'a-front-0');
  const far = await rig.start('far', 'a-far-0', (app) => {
    app.handle('echo', (body, { key, deadlineMs }) => ({ body, key, deadlineMs }));
    app.handle('silent', () => new Promise(() => undefined));
    app.handle('kept', () => new Promise((resolve) => kept.push(() => resolve('late'))));
  });
  const middle = await startMiddle(t, rig);
  rig.publish();
  return { front, far, middle, kept };
}

const ask = (front: Member, handler: string, body: unknown = null, options = {}) =>
  front.app.call('middle', handler, body, options);

overBoth('a component in C serves calls and makes calls', async (t, rig) => {
  const { front } = await startAll(t, rig);
  const value = {
    text: 'grüße',
    list: [1, -2, 3.5, null, true],
    bytes: Buffer.from([0, 1, 255]),
    deep: { a: { b: [] } },
  };
  t.same(await ask(front, 'echo', value), value);
  const large = Buffer.alloc(3_000_000, 'x');
  t.same(await ask(front, 'echo', large), large, 'in many records');
  const many = await Promise.all(
    Array.from({ length: 500 }, (_, i) => ask(front, 'echo', { i, fill: 'y'.repeat(i * 50) })),
  );
  t.same(
    many.map((each) => (each as { i: number }).i),
    Array.from({ length: 500 }, (_, i) => i),
  );
  t.match(await ask(front, 'pass', 'through', { key: 'k', deadlineMs: 3_000 }), { body: 'through', key: 'k' });
  const both = await Promise.all(Array.from({ length: 300 }, (_, i) => ask(front, 'pass', i)));
  t.same(
    both.map((each) => (each as { body: number }).body),
    Array.from({ length: 300 }, (_, i) => i),
  );
  await t.rejects(ask(front, 'fails', null, { key: 'the key' }), { code: 'SHOAL_E_HANDLER', message: 'the key' });
  await t.rejects(ask(front, 'nothing'), { code: 'SHOAL_E_NO_HANDLER' });
  await t.rejects(ask(front, 'echo', null, { input: [1] }), { code: 'SHOAL_E_NO_STREAM' });
  await t.rejects(front.app.stream('middle', 'echo', null).next(), { code: 'SHOAL_E_NO_STREAM' });
  await t.rejects(ask(front, 'strange'), { message: /SHOAL_E_NOT_GRANTED|SHOAL_E_NO_INSTANCE/ });
  await t.rejects(ask(front, 'silent', null, { deadlineMs: 50 }), { code: 'SHOAL_E_DEADLINE' });
  // Its own deadline and that of its caller pass at the same time: either may be told first.
  await t.rejects(ask(front, 'pass-silent', null, { deadlineMs: 100 }), { code: /^SHOAL_E_(DEADLINE|HANDLER)$/ });
});

overBoth('what it says of itself is what it did', async (t, rig) => {
  const { front, middle } = await startAll(t, rig);
  for (let i = 0; i < 5; i += 1) await ask(front, 'pass', i);
  await t.rejects(ask(front, 'fails'));
  const stats = () => middle.stats;
  await until(() => stats()?.finished === 6);
  t.match(stats(), { arrived: 6, finished: 6, failed: 1, outstanding: 0, shards: [], called: { far: 5 } });
  t.equal(stats()?.channels?.far?.[rig.carrier], 1, 'what its calls went over');
});

overBoth('its death fails the calls at work there, and another takes the next', async (t, rig) => {
  const { front, middle } = await startAll(t, rig);
  t.equal(await ask(front, 'echo', 1), 1);
  await t.rejects(ask(front, 'dies'), { code: 'SHOAL_E_PEER_DIED' });
  t.equal(await middle.ended, 7);
  rig.members.splice(
    rig.members.findIndex(({ id }) => id === middle.id),
    1,
  );
  middle.control.close();
  middle.channels.close();
  await startMiddle(t, rig, 'a-middle-1');
  rig.publish();
  t.equal(await ask(front, 'echo', 2), 2);
});

overBoth('it leaves in good order: what is at work is answered, and no call is lost', async (t, rig) => {
  const { front, middle, kept } = await startAll(t, rig);
  const late = ask(front, 'pass-kept');
  await until(() => kept.length === 1);
  await startMiddle(t, rig, 'a-middle-1');
  rig.publish();
  middle.child.kill('SIGTERM');
  const calls = Array.from({ length: 200 }, (_, i) => ask(front, 'echo', i));
  t.same(
    await Promise.all(calls),
    Array.from({ length: 200 }, (_, i) => i),
  );
  kept[0]?.();
  t.equal(await late, 'late');
  t.equal(await middle.ended, 0);
});

t.test('outside of an instance it says so', async (t) => {
  const { status, stderr } = await new Promise<{ status: number | null; stderr: string }>((resolve) => {
    const child = spawn(program, { env: {} });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += String(text);
    });
    child.once('close', (status) => resolve({ status, stderr }));
  });
  t.equal(status, 1);
  t.match(stderr, /SHOAL_INSTANCE is not set/);
});
