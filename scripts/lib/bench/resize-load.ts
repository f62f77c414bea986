import { request } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { Cgroup } from '../../../agent/cgroup.js';
import { Paths } from '../../../agent/paths.js';
import { resizeInPlace } from '../../../agent/resize.js';
import type { ComponentView } from '../../../protocol/http.js';
import type { Size } from '../../../protocol/link.js';
import { freePort } from '../demo/cluster.js';
import { quantile } from '../demo/recorder.js';
import { SoakHost } from '../soak/host.js';
import { retry } from '../until.js';
import { alone, compare, type Row } from './rows.js';

const RESIZES = 10_000;
/** More than these took, whatever is still missing, and it is said. */
const RESIZES_MS_MAX = 120_000;
const CLIENTS = 8;
const REQUEST_MS_MAX = 20_000;
const START_MS_MAX = 60_000;
const MIB = 2 ** 20;
export const PRESENT = { cpu: 0.5, memory: 128 * MIB };
/** What it runs that is resized: answers HTTP on its port `http`. */
export const SERVER = `
require('http').createServer((request, response) => response.end('x'.repeat(1000))).listen('/run/shoal/http.sock');`;

/**
 * Changes of the size of an instance that serves as many requests as it can, by the very function that the agent uses, one
 * after the other; the same load without them, before, is the peer. A request counts as lost when it is not answered 200.
 */
export async function benchResizeUnderLoad(dist: string): Promise<Row[]> {
  const host = await SoakHost.start(dist);
  try {
    const port = await freePort();
    const size = { cpu: PRESENT.cpu, memory: `${PRESENT.memory / MIB}Mi` };
    const ports = [{ name: 'http', host: port }];
    const one = { rootfs: 'host', command: ['node', '-e', SERVER], count: 1, size, ports };
    await retry('the coordinator answers', START_MS_MAX, () => host.ask('GET', '/healthz'));
    await host.ask('PUT', '/v1/apps/bench', 'application/json', JSON.stringify({ app: 'bench', components: { one } }));
    await retry('it is ready', START_MS_MAX, async () => {
      const { count } = await host.ask<ComponentView>('GET', '/v1/apps/bench/components/one');
      if (count.ready !== 1 || (await get(port)).problem !== null) throw new Error('it is not');
    });
    const calm = await underLoad(port, () => setTimeout(5_000));
    const cgroup = new Cgroup(new Paths(host.run).cgroup('bench-one-0'));
    const taken: number[] = [];
    const resized = await underLoad(port, () => resizeOften(cgroup, RESIZES, taken));
    return [
      alone('a change of size under load, p50', 'ms', quantile(taken, 0.5)),
      alone('a change of size under load, p99', 'ms', quantile(taken, 0.99)),
      alone('changes of size under load', '', taken.length),
      alone('requests meanwhile', '', resized.latencies.length),
      alone('requests lost meanwhile', '', resized.lost),
      compare('latency meanwhile, p50', 'ms', 0.5, resized.latencies, 'without changes', calm.latencies),
      compare('latency meanwhile, p99', 'ms', 0.99, resized.latencies, 'without changes', calm.latencies),
    ];
  } finally {
    await host.close();
  }
}

/** From PRESENT on, changes CPU and memory so often; ms that each took are added to `taken`. Answers the last size. */
export async function resizeOften(cgroup: Cgroup, resizes: number, taken: number[]): Promise<Size> {
  const deadline = performance.now() + RESIZES_MS_MAX;
  let present: Size = PRESENT;
  for (let i = 0; i < resizes && performance.now() < deadline; i += 1) {
    const wanted = { cpu: PRESENT.cpu + (i % 2) / 4, memory: PRESENT.memory + (i % 3) * 16 * MIB };
    const start = performance.now();
    present = (await resizeInPlace(cgroup, present, wanted)).size;
    taken.push(performance.now() - start);
  }
  return present;
}

export interface Loaded {
  /** Milliseconds of each request. */
  latencies: number[];
  /** Requests that were not answered 200, and why, once each. */
  lost: number;
  why: string[];
}

/** Asks the port of this host for as long as `during` takes, by so many clients, each of which rests between two requests. */
export async function underLoad(
  port: number,
  during: () => Promise<unknown>,
  { clients = CLIENTS, restMs = 0 } = {},
): Promise<Loaded> {
  const latencies: number[] = [];
  const why = new Set<string>();
  let lost = 0;
  let over = false;
  const asking = Array.from({ length: clients }, async () => {
    while (!over) {
      const { problem, ms } = await get(port);
      latencies.push(ms);
      if (problem !== null) {
        lost += 1;
        why.add(problem);
      }
      if (restMs > 0) await setTimeout(restMs);
    }
  });
  try {
    await during();
  } finally {
    over = true;
    await Promise.all(asking);
  }
  return { latencies, lost, why: [...why] };
}

function get(port: number): Promise<{ problem: string | null; ms: number }> {
  const start = performance.now();
  return new Promise((resolve) => {
    const end = (problem: string | null) => resolve({ problem, ms: performance.now() - start });
    const fail = (error: Error) => end(error.message);
    const asked = request({ host: '127.0.0.1', port, path: '/', agent: false, timeout: REQUEST_MS_MAX }, (response) => {
      const { statusCode } = response;
      response.on('end', () => end(statusCode === 200 ? null : `answered ${statusCode}`));
      response.on('error', fail);
      response.resume();
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', fail);
    asked.end();
  });
}
