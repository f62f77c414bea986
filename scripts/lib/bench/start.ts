import { join } from 'node:path';
import { SseParser } from '../../../cli/sse.js';
import type { ComponentView, EventView } from '../../../protocol/http.js';
import { decisionToServing } from '../demo/recorder.js';
import { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { compare, type Row } from './rows.js';
import { crunPeer, type StartPeer, startOnce } from './start-peers.js';

const STARTS = 40;
export const START_MS_MAX = 60_000;
const LOOK_MS = 50;
const COMPONENT = '/v1/apps/bench/components/one';

/**
 * From the plan's decision to an instance that serves, against plain `crun run` of the very same bundle until its
 * process listens. The two take turns.
 */
export async function benchStart(dist: string): Promise<Row[]> {
  const host = await SoakHost.start(dist);
  try {
    const component = { rootfs: 'host', directory: join(dist, 'examples/search'), command: ['node', 'tokenizer.mjs'] };
    const manifest = { app: 'bench', components: { one: { ...component, count: { min: 1, max: 2 } } } };
    await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
    await host.ask('PUT', '/v1/apps/bench', 'application/json', JSON.stringify(manifest));
    await scaleTo(host, 1);
    return startRows('plan to serving', await startsInTurns(host, STARTS, [crunPeer(host.folder)]));
  } finally {
    await host.close();
  }
}

export interface Starts {
  ours: number[];
  peers: { name: string; theirs: number[] }[];
}

/** Starts a second instance so many times, in turns with the same by each of the peers; ms each. */
export async function startsInTurns(
  host: SoakHost,
  starts: number,
  peers: readonly StartPeer[],
  { root, untilItMay = async () => undefined }: { root?: string; untilItMay?: () => Promise<void> } = {},
): Promise<Starts> {
  const ours: number[] = [];
  const found = peers.map((peer) => ({ peer, name: peer.name, theirs: [] as number[] }));
  for (let i = 0; i < starts; i += 1) {
    await untilItMay();
    const last = await lastEvent(host);
    const untilReady = await follow(host, 'ready', last);
    await setCount(host, 2);
    await untilReady();
    await scaleTo(host, 2);
    const events = await host.ask<EventView[]>('GET', `/v1/events?after=${last}`);
    ours.push(...decisionToServing(events).slice(0, 1));
    await scaleTo(host, 1);
    for (const { peer, theirs } of found) theirs.push(await startOnce(host, peer, i, root));
  }
  return { ours, peers: found };
}

/** What was measured beside each peer. */
export function startRows(metric: string, { ours, peers }: Starts): Row[] {
  return peers.flatMap(({ name, theirs }) => {
    const peer = name.endsWith(' run') ? `${name}, until it listens` : name;
    return [
      compare(`${metric}, p50`, 'ms', 0.5, ours, peer, theirs),
      compare(`${metric}, p99`, 'ms', 0.99, ours, peer, theirs),
    ];
  });
}

function setCount(host: SoakHost, count: number): Promise<unknown> {
  return host.ask('PUT', `${COMPONENT}/scale`, 'application/json', JSON.stringify({ count }));
}

/**
 * Follows the events after that one. Answers what resolves with the first of the kind, as it happens: who asks again and again takes
 * a core from what is measured, and `crun run` has both.
 */
async function follow(host: SoakHost, kind: string, after: number): Promise<() => Promise<void>> {
  const init = { headers: { accept: 'text/event-stream' }, signal: AbortSignal.timeout(START_MS_MAX) };
  const { body } = await fetch(`${host.server}/v1/events?after=${after}`, init);
  return async () => {
    const parser = new SseParser();
    for await (const text of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      if (parser.push(text).some(({ type }) => type === kind)) return;
    }
    throw new Error(`no event ${kind} before the connection ended`);
  };
}

export async function scaleTo(host: SoakHost, count: number, msMax = START_MS_MAX): Promise<void> {
  await setCount(host, count);
  const areThere = async () => {
    const view = await host.ask<ComponentView>('GET', COMPONENT);
    const there = await host.ask<unknown[]>('GET', '/v1/instances');
    if (view.count.ready !== count || there.length !== count) throw new Error(`${view.count.ready} of ${there.length}`);
  };
  await retry(`${count} are ready and no more are there`, msMax, areThere, LOOK_MS);
}

/** The last event that there is; 0 before the first. */
export async function lastEvent(host: SoakHost): Promise<number> {
  const [last] = (await host.ask<EventView[]>('GET', '/v1/events')).slice(-1);
  return last?.id ?? 0;
}
