import t, { type Test } from 'tap';
import type { Desired, Elsewhere } from '../../protocol/link.js';
import type { Component } from '../../protocol/manifest.js';
import { freePort } from '../../scripts/lib/demo/cluster.js';
import { AgentRig, component, instance } from './rig.js';

const PATIENCE_MS = 60_000;

interface Reply {
  answer?: unknown;
  code?: string;
  message?: string;
}

interface Peers {
  component: string;
  instances: { id: string; carrier?: string }[];
}

/** Two hosts on one machine: what calls is on h1, what is called on h2 and, where a test says so, on h1 as well. */
class Pair {
  readonly front: AgentRig;
  readonly back: AgentRig;
  readonly #port: number;

  private constructor(front: AgentRig, back: AgentRig, port: number) {
    [this.front, this.back, this.#port] = [front, back, port];
  }

  /** Each host would listen on the port: here they share a machine, and one has it. */
  #apps(ports: Component['ports']): Desired['apps'] {
    return {
      t: {
        store: component('store'),
        secret: component('store'),
        front: component('front', { calls: ['store'], ports }),
      },
    };
  }

  static async make(): Promise<Pair> {
    const front = await AgentRig.make();
    const back = await AgentRig.make('--name', 'h2');
    const pair = new Pair(front, back, await freePort());
    await front.until('h1 is there', () => front.hello !== undefined);
    await back.until('h2 is there', () => back.hello !== undefined);
    pair.tell([0]);
    await back.until('the store is ready', () => back.status('t-store-0')?.phase === 'ready');
    await front.until('the front is ready', () => front.status('t-front-0')?.phase === 'ready');
    await front.until('its port listens', () => front.ports.length === 1);
    return pair;
  }

  /** As the coordinator would: the two hosts, where their agents are and what of them has to do with the other. */
  tell(stores: number[], near: number[] = []): void {
    const of = (host: string, address: string | undefined, names: [string, number][]): Elsewhere => ({
      host,
      address: address ?? null,
      instances: names.map(([name, number]) => ({ id: `t-${name}-${number}`, app: 't', component: name })),
    });
    const there = stores.map((number): [string, number] => ['store', number]);
    this.front.desire(() => ({
      apps: this.#apps([{ name: 'http', host: this.#port }]),
      instances: [instance('front', 0), ...near.map((number) => instance('store', number))],
      elsewhere: [of('h2', this.back.hello?.host.fabric, there)],
    }));
    this.back.desire(() => ({
      apps: this.#apps([]),
      instances: [...stores.map((number) => instance('store', number)), instance('secret', 0)],
      elsewhere: [of('h1', this.front.hello?.host.fabric, [['front', 0]])],
    }));
  }

  async ask(path: string): Promise<Reply> {
    return (await (await fetch(`http://127.0.0.1:${this.#port}${path}`)).json()) as Reply;
  }

  async peers(): Promise<Peers['instances']> {
    const peers = (await (await fetch(`http://127.0.0.1:${this.#port}/`)).json()) as Peers[];
    return peers.find((each) => each.component === 'store')?.instances ?? [];
  }

  /** Null while the agent has not opened the port again. */
  tryAsk(path: string): Promise<Reply | null> {
    return this.ask(path).catch(() => null);
  }

  /** Calls until one is answered; each that fails does so with a code. */
  async untilAnswered(t: Test): Promise<void> {
    const isAnswered = async () => (await this.tryAsk('/store/who'))?.answer !== undefined;
    await this.front.until('a call is answered again', isAnswered, PATIENCE_MS);
    t.pass('calls work again');
  }

  /** A call that never ends, under way at the callee: one after it on the same ring is answered. */
  async hang(): Promise<void> {
    await this.ask('/store/never?keep');
    await this.ask('/store/who');
  }

  /** What became of calls that hung. */
  async kept(count: number): Promise<Reply[]> {
    let replies: Reply[] = [];
    await this.front.until(
      'calls that hung have ended',
      async () => {
        replies = ((await this.tryAsk('/kept')) ?? []) as Reply[];
        return replies.length === count;
      },
      PATIENCE_MS,
    );
    return replies;
  }

  async close(): Promise<string[]> {
    return [...(await this.front.close()), ...(await this.back.close())];
  }
}

t.test('a component calls one on another host, over a ring, and nothing that is not granted', async (t) => {
  const pair = await Pair.make();
  await pair.untilAnswered(t);
  const answers = await Promise.all(Array.from({ length: 200 }, () => pair.ask('/store/who')));
  t.same([...new Set(answers.map(({ answer }) => answer))], ['t-store-0']);
  t.match(await pair.peers(), [{ id: 't-store-0', carrier: 'ring' }]);
  t.match(await pair.ask('/secret/who'), { code: 'SHOAL_E_NOT_GRANTED' });

  // One on the own host is nearer, and takes what there is while it has little to do.
  pair.tell([0], [1]);
  await pair.front.until('the near one is ready', () => pair.front.status('t-store-1')?.phase === 'ready');
  await pair.front.until(
    'calls go to the near one',
    async () => (await pair.tryAsk('/store/who'))?.answer === 't-store-1',
  );
  for (let i = 0; i < 20; i += 1) t.match(await pair.ask('/store/who'), { answer: 't-store-1' });
  t.same(await pair.close(), []);
});

t.test(
  'killed: the instance, the agent over there, the own agent; calls fail with a code and work again',
  async (t) => {
    const pair = await Pair.make();
    await pair.untilAnswered(t);

    await pair.hang();
    process.kill(pair.back.status('t-store-0')?.pid as number, 'SIGKILL');
    t.match(await pair.kept(1), [{ code: 'SHOAL_E_PEER_DIED' }]);
    await pair.back.until('it runs again', () => pair.back.status('t-store-0')?.restarts === 1);
    await pair.untilAnswered(t);

    await pair.hang();
    await pair.back.killAgent('SIGKILL');
    t.match((await pair.kept(2))[1], { code: 'SHOAL_E_PEER_DIED' });
    pair.back.hello = undefined;
    pair.back.startAgent('--name', 'h2');
    await pair.back.until('the agent is back', () => pair.back.hello !== undefined);
    pair.tell([0]);
    await pair.untilAnswered(t);

    await pair.hang();
    await pair.front.killAgent('SIGKILL');
    pair.front.hello = undefined;
    pair.front.startAgent();
    await pair.front.until('the agent is back', () => pair.front.hello !== undefined);
    pair.tell([0]);
    t.match((await pair.kept(3))[2], { code: 'SHOAL_E_PEER_DIED' });
    await pair.untilAnswered(t);
    t.same(await pair.close(), []);
  },
);
