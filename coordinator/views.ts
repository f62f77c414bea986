import type { AppView, ComponentView, DecisionView, HostView, InstanceView } from '../protocol/http.js';
import type { WarmProcesses } from '../protocol/link.js';
import type { Decision } from './brain/decision.js';
import { explain, summary } from './brain/explanation-words.js';
import { latencyOf } from './brain/latency.js';
import { NEW_STARTS, START_SECONDS, startAhead } from './brain/start-time.js';
import { type ClusterState, componentKey, componentOf, instancesOf, modeOf, own, wantedCount } from './cluster.js';
import { forecastView } from './forecast-view.js';
import { MICRO } from './host-samples.js';
import { standingOf } from './host-standing.js';
import { eachInstance, findInstance } from './instance-table.js';
import { isUsable, type Observed, seenOf, statusOf, usableHosts } from './observed.js';
import { explanationOf, type PlannerMemory, reasonOf } from './planner-memory.js';
import { cacheView, shardViews } from './state-view.js';
import type { Measured } from './traffic.js';

/** What the coordinator knows at this moment. */
export interface Knowledge {
  state: ClusterState;
  observed: Observed;
  memory: PlannerMemory;
  nowMs: number;
  /** Component key → what is said of its instances that found no host. */
  waiting: ReadonlyMap<string, string>;
  /** Component key → why it lately gave way to another one. */
  gaveWay: ReadonlyMap<string, { message: string; atMs: number }>;
  measured: Measured;
}

export function appView({ state }: Knowledge, app: string): AppView | null {
  const record = own(state.apps, app);
  if (record === undefined) return null;
  const { revision, manifest } = record;
  return { app, revision, manifest, components: Object.keys(manifest.components) };
}

export function componentView(known: Knowledge, app: string, name: string): ComponentView | null {
  const { state, observed, memory, nowMs } = known;
  const component = componentOf(state, app, name);
  if (component === undefined) return null;
  const key = componentKey(app, name);
  const target = own(state.targets, key);
  const seen = memory.get(key);
  const override = own(state.overrides, key);
  const phases = instancesOf(state, app, name).map((each) => ({
    size: each.size,
    ready: seenOf(observed, each)?.status.phase === 'ready' && each.draining === undefined,
  }));
  const allotted = phases.filter((each) => each.ready).reduce((sum, each) => sum + each.size.cpu, 0);
  const demandCpu = seen?.demand.cpu ?? 0;
  const planned = override === undefined ? reasonOf(seen) : `count set by hand: ${override}`;
  const waits = known.waiting.get(key);
  const mode = modeOf(state, app, name);
  const paused = Object.hasOwn(state.pauses, key);
  const acted = paused || (mode.mode === 'act' && override === undefined);
  return {
    app,
    component: name,
    count: {
      desired: wantedCount(state, app, name),
      ready: phases.filter((each) => each.ready).length,
      min: component.count.min,
      max: component.count.max,
    },
    size: target?.size ?? { cpu: component.size.cpu.min, memory: component.size.memory.min },
    override: override === undefined ? null : { count: override },
    mode,
    paused,
    wouldBe: acted ? null : (explanationOf(seen)?.after ?? null),
    demandCpu,
    requestsPerSecond: seen?.demand.requestsPerSecond ?? 0,
    utilisation: allotted > 0 ? demandCpu / allotted : 0,
    latencyMs: seen === undefined ? null : latencyOf(seen.latencies.sum),
    forecast: seen === undefined ? null : forecastView(seen, START_SECONDS, nowMs, own(state.knownEvents, key)),
    start: startAhead(seen?.model.starts ?? NEW_STARTS, usableHosts(observed).length),
    reason: [planned, waits, gaveWayText(known, key)].filter((part) => part !== undefined).join('; '),
    ports: component.ports.map(({ name: port, host }) => ({
      name: port,
      host,
      missingOn: without(observed, key, host),
    })),
    warm: warmView(observed, key),
    shards: shardViews(known, app, name),
    cache: cacheView(observed, key),
    stateLagMs: mostLagMs(known, app, name),
  };
}

export function decisionView(decision: Decision): DecisionView {
  const { explanation, fate, changed, outcome } = decision;
  const { atMs, before, after } = explanation;
  const words = explain(decision);
  return { atMs, fate, changed, before, after, summary: summary(explanation), words, outcome, explanation };
}

function gaveWayText({ gaveWay, nowMs }: Knowledge, key: string): string | undefined {
  const found = gaveWay.get(key);
  if (found === undefined) return undefined;
  return `${found.message} (${Math.max(0, Math.round((nowMs - found.atMs) / 1_000))} s ago)`;
}

/** What waits on connected hosts, and the memory that it takes. */
function warmView(observed: Observed, key: string): ComponentView['warm'] {
  const rows = [...observed.hosts.values()].flatMap(({ connected, warm }) => (connected ? warm : []));
  const mine = rows.filter(({ app, component }) => componentKey(app, component) === key);
  const sum = (of: (row: WarmProcesses) => number) => mine.reduce((total, row) => total + of(row), 0);
  return { waiting: sum((row) => row.waiting), memoryBytes: sum((row) => row.memoryBytes) };
}

/** Connected hosts on which the component's host port takes no connections. */
function without(observed: Observed, key: string, port: number): string[] {
  return [...observed.hosts.values()]
    .filter(({ connected, ports }) => {
      return (
        connected && !ports.some(({ app, component, host }) => host === port && componentKey(app, component) === key)
      );
    })
    .map(({ info }) => info.name)
    .sort(compare);
}

/** Instances that are wanted and those that a host still reports, sorted by app, component and number. */
export function instanceViews(known: Knowledge): InstanceView[] {
  const { state, observed } = known;
  const views: InstanceView[] = [];
  for (const instance of eachInstance(state.instances)) {
    const { id, app, component, size, host, draining, weight = 1 } = instance;
    const seen = seenOf(observed, instance);
    const base =
      seen !== undefined
        ? statusOf(seen)
        : { id, app, component, phase: 'starting' as const, size, restarts: 0, shards: [] };
    const cpuUsed = seen === undefined ? 0 : seen.samples.rate(seen.row, 0) / MICRO;
    views.push({ ...base, host, draining: draining !== undefined, weight, cpuUsed, ...lagOf(known, host, id) });
  }
  const wanted = new Set(views.map(({ id }) => id));
  for (const [host, { statuses }] of observed.hosts) {
    for (const [id, seen] of statuses) {
      if (!wanted.has(id)) views.push({ ...statusOf(seen), host, draining: true, weight: 1, cpuUsed: 0 });
    }
  }
  return views.sort((a, b) => compare(a.app, b.app) || compare(a.component, b.component) || numberOf(a) - numberOf(b));
}

/** The host of an instance that is wanted or still reported, if any: there its log is. */
export function hostsOfInstance({ state, observed }: Knowledge, id: string): string[] {
  const wanted = findInstance(state.instances, id);
  if (wanted !== undefined) return [wanted.host];
  return [...observed.hosts].flatMap(([host, { statuses }]) => (statuses.has(id) ? [host] : []));
}

/** The time that its host is silent comes on top of what it said. */
function lagOf({ observed, nowMs }: Knowledge, host: string, id: string): Pick<InstanceView, 'stateLagMs'> {
  const seen = observed.hosts.get(host);
  const said = seen === undefined ? undefined : own(seen.lags, id);
  if (seen === undefined || said === undefined) return {};
  return { stateLagMs: said + Math.max(0, nowMs - seen.lastHeardMs) };
}

function mostLagMs(known: Knowledge, app: string, component: string): number | null {
  const instances = instancesOf(known.state, app, component);
  const lags = instances.flatMap(({ id, host }) => lagOf(known, host, id).stateLagMs ?? []);
  return lags.length === 0 ? null : Math.max(...lags);
}

function useOf(state: ClusterState, host: string): HostView['use'] {
  const cordon = own(state.cordons, host);
  return cordon === undefined ? 'open' : cordon.drain ? 'drained' : 'cordoned';
}

export function hostViews({ state, observed, nowMs }: Knowledge): HostView[] {
  return [...observed.hosts.values()]
    .map((host) => ({
      ...host.info,
      connected: host.connected,
      reported: isUsable(host),
      standing: standingOf(host, observed, nowMs),
      use: useOf(state, host.info.name),
      instances: state.instances.byHost.get(host.info.name)?.length ?? 0,
      connections: host.connected ? [...host.connections] : [],
      ...(host.images === null ? {} : { images: host.images }),
      ...(host.connected && host.profiler !== null ? { profiler: host.profiler } : {}),
    }))
    .sort((a, b) => compare(a.name, b.name));
}

function numberOf({ id }: InstanceView): number {
  return Number(id.slice(id.lastIndexOf('-') + 1));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
