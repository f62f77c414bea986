import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Cluster, freePort } from '../../scripts/lib/demo/cluster.js';
import { AgentRig, COMPONENTS, component, instance } from './rig.js';

const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

interface Reply {
  answer?: unknown;
  code?: string;
}

type Ask = (path: string) => Promise<Reply>;

const BOARDS = ['t-board-0', 't-board-1', 't-board-2'];

/** Three instances with replicated state, the first of which owns the entries, and a way to call them. */
async function start(): Promise<{ rig: AgentRig; ask: Ask }> {
  const rig = await AgentRig.make();
  const port = await freePort();
  rig.desire(() => ({
    apps: {
      t: {
        board: component('board', { state: 'replicated' }),
        front: component('front', { calls: ['board'], ports: [{ name: 'http', host: port }] }),
      },
    },
    instances: [...BOARDS.map((_, number) => instance('board', number)), instance('front', 0)],
    shards: { 't/board': { epoch: 1, owners: ['t-board-0'] } },
  }));
  const isUp = () => rig.statuses.filter(({ phase }) => phase === 'ready').length === 4;
  await rig.until('all are ready', isUp, 60_000);
  await rig.until('the host port listens', () => rig.ports.some(({ host }) => host === port));
  const ask = async (path: string) => {
    const signal = AbortSignal.timeout(20_000);
    return (await (await fetch(`http://127.0.0.1:${port}${path}`, { signal })).json()) as Reply;
  };
  return { rig, ask };
}

/** What each instance reads: asks until all of them have answered. */
async function readByAll(rig: AgentRig, ask: Ask, key: string): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  const isComplete = async () => {
    // At once, so that the calls go to all of them.
    const replies = await Promise.all(Array.from({ length: 12 }, () => ask(`/board/get?key=${key}`)));
    for (const { answer } of replies) {
      const { who, read } = (answer ?? {}) as { who?: string; read?: unknown };
      if (who !== undefined) seen[who] = read;
    }
    return BOARDS.every((id) => id in seen);
  };
  await rig.until('each instance has answered', isComplete, 40_000);
  return seen;
}

t.test('every instance reads what any has written, whichever of them is killed', async (t) => {
  const { rig, ask } = await start();
  const killed = async (id: string) => {
    const before = rig.status(id)?.restarts ?? 0;
    process.kill(rig.status(id)?.pid ?? 0, 'SIGKILL');
    const isBack = () => rig.status(id)?.phase === 'ready' && (rig.status(id)?.restarts ?? 0) > before;
    await rig.until(`${id} is ready again`, isBack, 40_000);
  };
  const all = (value: unknown) => Object.fromEntries(BOARDS.map((id) => [id, value]));

  const replies = await Promise.all(Array.from({ length: 30 }, () => ask('/board/add-and-read?key=a')));
  const writes = replies.map(({ answer }) => answer as { written: number; read: number; who: string });
  const counts = writes.map(({ written }) => written).sort((a, b) => a - b);
  t.same(
    counts,
    Array.from({ length: 30 }, (_, i) => i + 1),
    'no update is lost or done twice',
  );
  t.ok(
    writes.every(({ written, read }) => read >= written),
    'who wrote reads it at once',
  );
  t.ok(new Set(writes.map(({ who }) => who)).size > 1, 'written by others than the owner');
  const agree = async () => Object.values(await readByAll(rig, ask, 'a')).every((read) => read === 30);
  await rig.until('all read it', agree);

  await killed('t-board-0');
  t.same(await readByAll(rig, ask, 'a'), all(30), 'after the SIGKILL of the owner');
  await killed('t-board-2');
  t.same(await readByAll(rig, ask, 'a'), all(30), 'one that joins serves only with all entries');

  rig.desire(() => ({ shards: { 't/board': { epoch: 2, owners: ['t-board-1'] } } }));
  await rig.until('another owns them', () => rig.status('t-board-1')?.shards.length === 1);
  let last = 0;
  const isWritten = async () => {
    const { answer } = await ask('/board/add?key=a');
    if (typeof answer === 'number') last = answer;
    return last > 30;
  };
  await rig.until('a write succeeds', isWritten);
  const follow = async () => Object.values(await readByAll(rig, ask, 'a')).every((read) => read === last);
  await rig.until('all follow the new owner', follow);
  t.type((await ask('/board/lag')).answer, 'number', 'how old it may be');
  t.same(await rig.close(), [], 'nothing is left');
});

t.test(
  'who may call a component does not write its state: only its own instances do, over rings and Unix sockets',
  async (t) => {
    const rig = await AgentRig.make();
    const port = await freePort();
    const board = component('board', { state: 'replicated' });
    const calls = ['board', 'plain'];
    rig.desire(() => ({
      apps: {
        t: {
          board,
          plain: { ...board, calls: ['plain'], env: { SHOAL_CARRIER: 'unix' } },
          front: component('intruder', { calls, ports: [{ name: 'http', host: port }] }),
        },
      },
      instances: [...calls.flatMap((name) => [instance(name, 0), instance(name, 1)]), instance('front', 0)],
      shards: Object.fromEntries(calls.map((name) => [`t/${name}`, { epoch: 1, owners: [`t-${name}-0`] }])),
    }));
    // Those that do not own the entries are ready once they have got them: their own instances may ask.
    const isUp = () => rig.statuses.filter(({ phase }) => phase === 'ready').length === 5;
    await rig.until('all are ready', isUp, 60_000);
    await rig.until('the host port listens', () => rig.ports.some(({ host }) => host === port));
    for (const name of calls) {
      const signal = AbortSignal.timeout(20_000);
      const came = await (await fetch(`http://127.0.0.1:${port}/${name}`, { signal })).json();
      t.same([...new Set(came as string[])], ['SHOAL_E_NOT_GRANTED'], name);
    }
    t.same(await rig.close(), [], 'nothing is left');
  },
);

t.test('with a coordinator: instances join and leave, and all read on', async (t) => {
  const cluster = await Cluster.start(CLI);
  t.teardown(() => cluster.close());
  const port = await freePort();
  const apply = async (count: number) => {
    const board = {
      rootfs: 'host',
      directory: COMPONENTS,
      command: ['node', '/app/board.mjs'],
      count: { min: count, max: count },
      state: 'replicated',
    };
    const front = {
      rootfs: 'host',
      directory: COMPONENTS,
      command: ['node', '/app/front.mjs'],
      count: { min: 1, max: 1 },
      calls: ['board'],
      ports: [{ name: 'http', host: port }],
    };
    await cluster.put('/v1/apps/t', 'application/json', JSON.stringify({ app: 't', components: { board, front } }));
    await cluster.until(`there are ${count}`, 60_000, async () => {
      const all = await cluster.get<{ component: string; phase: string }[]>('/v1/instances');
      const boards = all.filter((each) => each.component === 'board');
      return boards.length === count && boards.every(({ phase }) => phase === 'ready');
    });
  };
  const ask = async (path: string): Promise<Reply> => {
    const signal = AbortSignal.timeout(20_000);
    return (await (await fetch(`http://127.0.0.1:${port}${path}`, { signal })).json()) as Reply;
  };
  const reads = async (count: number) => {
    const seen = new Map<string, unknown>();
    await cluster.until(`${count} have answered`, 40_000, async () => {
      for (const { answer } of await Promise.all(Array.from({ length: 12 }, () => ask('/board/get?key=a')))) {
        const { who, read } = (answer ?? {}) as { who?: string; read?: unknown };
        if (who !== undefined) seen.set(who, read);
      }
      return seen.size >= count;
    });
    return [...seen.values()];
  };
  await apply(1);
  await cluster.until('a write succeeds', 40_000, async () => {
    const { answer } = await ask('/board/add?key=a').catch((): Reply => ({}));
    return answer === 5;
  });
  await apply(3);
  t.same(await reads(3), [5, 5, 5], 'who joins has all before it serves');
  await apply(1);
  t.same(await reads(1), [5]);
  t.equal((await ask('/board/add?key=a')).answer, 6);
});
