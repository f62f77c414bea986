/**
 * The part of the benchmark `state-rack` that runs in h1, where the coordinator and the caller are: state-rack-peer PLAN, a
 * RackPlan in JSON. Prints a RackMeasured.
 */
import { fileURLToPath } from 'node:url';
import { RACK_API, RACK_RUN } from '../lab/shoal.js';
import { StateApp } from '../state/state-app.js';
import { CopyTraffic } from './copy-traffic.js';
import type { HandoverPlan, HandoversMeasured } from './handover-rows.js';
import { measureHandovers } from './handovers.js';

export interface RackPlan extends HandoverPlan {
  hosts: number;
  /** What a step may take, from the coordinator's start on. */
  stepMs: number;
}

export interface RackMeasured extends HandoversMeasured {
  looks: number;
  byRdma: number;
}

const DIST = fileURLToPath(new URL('../../..', import.meta.url));
/** Instances ask the caller this often what time it is there. */
const CLOCK_EVERY_MS = 1_000;
const LOOK_MS = 1_000;

function said(step: string): void {
  console.error(`${(performance.now() / 1_000).toFixed(0)} s: ${step}`);
}

const { hosts, stepMs, ...plan } = JSON.parse(process.argv[2] ?? '') as RackPlan;
const { shards, replicas, counts } = plan;
const sizes = { shards, replicas, countMax: Math.max(...counts), cores: 1 };
const app = new StateApp(
  { dist: DIST, ...sizes, load: true, clockEveryMs: CLOCK_EVERY_MS },
  { api: RACK_API, folder: RACK_RUN, caller: 'h1', answerMs: stepMs, lookMs: LOOK_MS },
);
said('hosts connect');
await app.connected(hosts, stepMs);
said('instances start');
await app.apply(counts[0] ?? 1, stepMs);
const traffic = new CopyTraffic(app);
const measured = await measureHandovers(app, plan, traffic, stepMs, said);
const { looks, byRdma, reason } = traffic;
if (byRdma < looks) said(`not by RDMA at times: ${reason}`);
app.hangUp();
console.log(JSON.stringify({ ...measured, looks, byRdma } satisfies RackMeasured));
