import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { overBoth, type Rig } from './rig.js';

const EXAMPLE = new URL('../../examples/stream/', import.meta.url);
const INSTANCE = fileURLToPath(new URL('./stream-instance.js', import.meta.url));

async function all(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const item of items) list.push(item);
  return list;
}

overBoth('a call is answered beside many streams, and all of them go on', async (t, rig) => {
  const streams = 50;
  const made = Array.from({ length: streams }, () => 0);
  await rig.start('back', 'a-back-0', (app) => {
    app.handle('ping', () => made.reduce((sum, each) => sum + each));
    app.handle('write', function* (which) {
      const item = Buffer.alloc(10_000);
      for (let i = 0; i < 100; i += 1) {
        made[Number(which)] = i + 1;
        yield item;
      }
    });
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  const read = Array.from({ length: streams }, async (_, i) => (await all(app.stream('back', 'write', i))).length);
  const unfair: number[] = [];
  let during = 0;
  for (let total = 0; total < 100 * streams; ) {
    total = Number(await app.call('back', 'ping', null));
    if (total < 100 * streams) during += 1;
    unfair.push(Math.max(...made) - Math.min(...made));
  }
  t.ok(during > 10, `${during} calls were answered while streams were under way`);
  t.ok(Math.max(...unfair) < 60, `no stream was more than ${Math.max(...unfair)} of 100 items ahead of another`);
  t.same(
    await Promise.all(read),
    Array.from({ length: streams }, () => 100),
  );
});

async function startChild(t: Test, rig: Rig, component = 'child', script = INSTANCE): Promise<ChildProcess> {
  let child: ChildProcess | undefined;
  await rig.seat(component, `a-${component}-0`, async (env) => {
    child = fork(script, { env: { ...process.env, ...env } });
    t.teardown(() => child?.kill('SIGKILL'));
  });
  return child as ChildProcess;
}

overBoth('a peer that is killed in the middle of a stream is told by its code', async (t, rig) => {
  let [begun, died] = [() => {}, (_: unknown) => {}];
  const reading = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const inputError = new Promise<unknown>((resolve) => {
    died = resolve;
  });
  await rig.start('reader', 'a-reader-0', (app) =>
    app.handle('read', async (_body, { input }) => {
      try {
        for await (const each of input) if (each === 10) begun();
      } catch (error) {
        died(error);
      }
    }),
  );
  const { app } = await rig.start('front', 'a-front-0');
  const child = await startChild(t, rig);
  rig.publish();
  const feeding = app.call('child', 'feed', null, { deadlineMs: 60_000 });
  feeding.catch(() => undefined);
  await reading;
  const items: unknown[] = [];
  const reads = (async () => {
    for await (const each of app.stream('child', 'count', null)) {
      items.push(each);
      if (each === 10) child.kill('SIGKILL');
    }
  })();
  await t.rejects(reads, { code: 'SHOAL_E_PEER_DIED' });
  t.same(
    items,
    items.map((_, index) => index),
    'what came is in order',
  );
  t.match(await inputError, { code: 'SHOAL_E_PEER_DIED' }, 'who reads its input is told as well');
  await t.rejects(feeding, { code: 'SHOAL_E_PEER_DIED' });
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
});

overBoth('the example streams both ways', async (t, rig) => {
  for (const component of ['lines', 'front']) {
    await startChild(t, rig, component, fileURLToPath(new URL(`${component}.mjs`, EXAMPLE)));
  }
  rig.publish();
  const socketPath = join(rig.folder, 'a-front-0', 'http.sock');
  const ask = async (method: string, path: string, body: string) => {
    const outgoing = request({ socketPath, method, path, agent: false }).end(body);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return text(response);
  };
  const lines = await ask('GET', '/20000', '');
  t.equal(lines.split('\n').length, 20_001);
  t.ok(lines.endsWith('line 20000\n'));
  t.equal(await ask('PUT', '/', lines), '20000\n');
});
