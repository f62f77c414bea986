import type { CachesFigures } from '../protocol/cache-figures.js';
import { ShoalError } from '../protocol/errors.js';
import {
  type InstanceFacts,
  type InstanceNews,
  newsOf,
  rowAfter,
  type SampleCounts,
  type SampleRows,
} from '../protocol/instance-news.js';
import type {
  BuildStatus,
  HostConnection,
  HostInfo,
  ImageFigures,
  InstanceStatus,
  ListeningPort,
  ProfilerFigures,
  WarmProcesses,
} from '../protocol/link.js';
import type { CopyReport } from '../protocol/state-copies.js';
import type { StateFigures } from '../protocol/state-figures.js';
import { CachesOnHost } from './caches-on-host.js';
import { ComponentSums } from './component-sums.js';
import { HostSamples } from './host-samples.js';
import { componentKey } from './instance-table.js';
import { interned } from './interned.js';
import { type KnownLeases, NO_LEASES } from './leases.js';
import { StateOnHost } from './state-on-host.js';

/**
 * What the agents last said, rebuilt from their reports after a restart and never stored. Each host's word is kept apart
 * and changed in place, so that a report costs what its own host has to say that is new. Times are ms.
 */
export interface Observed {
  /** When this coordinator began to look; a host never seen since counts as silent since then. */
  sinceMs: number;
  hosts: Map<string, HostState>;
  /** What the instances of each component do in all, by component key. */
  components: Map<string, ComponentSums>;
  leases: KnownLeases;
}

export interface HostState {
  info: HostInfo;
  connected: boolean;
  /** Of the last change between connected and not. */
  changedAtMs: number;
  lastHeardMs: number;
  /** Revision that the agent had applied at its last report of this connection; null before the first. */
  appliedRevision: number | null;
  /** Host ports that take connections. */
  ports: readonly ListeningPort[];
  /** Processes that wait to become instances. */
  warm: readonly WarmProcesses[];
  /** What it has built lately. */
  builds: readonly BuildStatus[];
  /** Where blobs of its images came from and went; null: it has said nothing of them. */
  images: ImageFigures | null;
  /** With other hosts. */
  connections: readonly HostConnection[];
  /** Null: it takes no profiles, or has not reported. */
  profiler: ProfilerFigures | null;
  /** What it has said of its copies of state shards on this connection, by `<app>/<component>/<shard>`. */
  copies: Map<string, CopyReport>;
  /** What its segments of state hold, by component key. */
  state: StateOnHost;
  /** What its instances do with the caches of their components. */
  caches: CachesOnHost;
  /** By id of instances with replicated state: ms that their entries lagged behind at most when it was last heard. */
  lags: Readonly<Record<string, number>>;
  /** By instance id. */
  statuses: Map<string, Seen>;
  /** The same in the order of `samples`. */
  rows: Seen[];
  samples: HostSamples;
  /** Instance id → since when the reports no longer name it. */
  absentSinceMs: Map<string, number>;
  /** Whether its agent asks for leases, without which it gets no singletons. */
  keepsLeases: boolean;
  /** What it was sent last and has not taken up, and since when it takes nothing up; null: it has all. */
  order: { revision: number; sinceMs: number } | null;
  /** When its connection ended unasked, the last few. */
  lossesMs: readonly number[];
  /** Processes that ended by themselves since one got ready, the last few, by component key. */
  failures: { key: string; atMs: number }[];
}

export interface Seen {
  /** Without its sample, which `samples` and `statusOf` tell. */
  status: InstanceFacts;
  /** Since when the instance has been in this phase. */
  phaseSinceMs: number;
  samples: HostSamples;
  row: number;
  /** Of its component: where its sample has been added up. */
  sums: ComponentSums;
}

/** A report, as far as the instances and the host are concerned. */
export interface HeardReport extends InstanceNews {
  revision: number;
  /** Absent: none. */
  ports?: readonly ListeningPort[];
  /** Absent: none. */
  warm?: readonly WarmProcesses[];
  /** Absent: none. */
  builds?: readonly BuildStatus[];
  /** Absent: as before. */
  images?: ImageFigures;
  /** Absent: none. */
  connections?: readonly HostConnection[];
  /** Absent: it takes no profiles. */
  profiler?: ProfilerFigures;
  /** Of those of which something is new; null: gone. */
  copies?: Readonly<Record<string, CopyReport | null>>;
  /** Of components of which something is new; empty: gone. */
  state?: Readonly<StateFigures>;
  /** Absent: as before. */
  caches?: Readonly<CachesFigures>;
  /** Absent: none. */
  lags?: Readonly<Record<string, number>>;
}

/** What a report brought. */
export interface Heard {
  /** Ids that the host has begun to name. */
  fresh: string[];
  /** It says something that reconcile acts upon, so that it need not wait for the next second. */
  isDue: boolean;
}

/** Whether an instance that a host names is to be there. What else a host names is of no account to its component. */
export type IsPlaced = (facts: InstanceFacts) => boolean;
const ALL_ARE: IsPlaced = () => true;

/** How long the absence of an instance is remembered; longer than anybody waits for it. */
const ABSENCE_KEPT_MS = 60_000;

/** So many losses and failures of a host are remembered. */
const REMEMBERED_MAX = 16;

export function startObserving(nowMs: number, leases: KnownLeases = NO_LEASES): Observed {
  return { sinceMs: nowMs, hosts: new Map(), components: new Map(), leases };
}

export function hostConnected(observed: Observed, info: HostInfo, nowMs: number, keepsLeases = true): Observed {
  const before = observed.hosts.get(info.name);
  observed.hosts.set(info.name, {
    info,
    connected: true,
    changedAtMs: nowMs,
    lastHeardMs: nowMs,
    appliedRevision: null,
    ports: [],
    warm: [],
    builds: [],
    images: null,
    connections: [],
    profiler: null,
    copies: new Map(),
    state: before?.state ?? new StateOnHost(),
    caches: before?.caches ?? new CachesOnHost(),
    lags: before?.lags ?? {},
    statuses: before?.statuses ?? new Map(),
    rows: before?.rows ?? [],
    samples: before?.samples ?? new HostSamples(0),
    absentSinceMs: before?.absentSinceMs ?? new Map(),
    keepsLeases,
    order: null,
    lossesMs: before?.lossesMs ?? [],
    failures: before?.failures ?? [],
  });
  return observed;
}

export function hostDisconnected(observed: Observed, name: string, nowMs: number): Observed {
  const host = observed.hosts.get(name);
  if (host === undefined || !host.connected) return observed;
  const lossesMs = [...host.lossesMs, nowMs].slice(-REMEMBERED_MAX);
  observed.hosts.set(name, {
    ...host,
    connected: false,
    changedAtMs: nowMs,
    appliedRevision: null,
    order: null,
    lossesMs,
  });
  return observed;
}

/** The host has been sent what it shall be under this revision. */
export function hostOrdered({ hosts }: Observed, name: string, revision: number, nowMs: number): void {
  const host = hosts.get(name);
  if (host !== undefined) host.order = { revision, sinceMs: host.order?.sinceMs ?? nowMs };
}

/** It takes up orders as they come: late is only who takes up none. */
function noteTakenUp(host: HostState, revision: number, nowMs: number): void {
  if (host.order === null) return;
  if (revision >= host.order.revision) host.order = null;
  else if (revision > (host.appliedRevision ?? -1)) host.order.sinceMs = nowMs;
}

function noteFate(host: HostState, { phase, app, component }: InstanceFacts, nowMs: number): void {
  if (phase === 'ready') host.failures = [];
  else if (phase === 'backoff' || phase === 'failed') {
    host.failures.push({ key: componentKey(app, component), atMs: nowMs });
    if (host.failures.length > REMEMBERED_MAX) host.failures.shift();
  }
}

/** Takes a report in which all is said anew: the statuses are the whole truth about their host. */
export function takeReport(
  observed: Observed,
  name: string,
  revision: number,
  instances: readonly InstanceStatus[],
  nowMs: number,
  ports: readonly ListeningPort[] = [],
): Observed {
  takeNews(observed, name, { ...newsOf(instances), revision, ports }, nowMs);
  return observed;
}

/**
 * Takes a report, which together with those before it on the same connection is the whole truth about its host: instances
 * that it does not name are not there. Throws SHOAL_E_FRAME, with nothing changed, where it does not fit them.
 */
export function takeNews(
  observed: Observed,
  name: string,
  report: HeardReport,
  nowMs: number,
  isPlaced: IsPlaced = ALL_ARE,
): Heard {
  const host = observed.hosts.get(name);
  const heard: Heard = { fresh: [], isDue: false };
  if (host === undefined || !host.connected) return heard;
  checkNews(host, report);
  heard.isDue = host.appliedRevision !== report.revision;
  const ids = report.ids ?? (host.appliedRevision === null ? [] : undefined);
  const changed = new Map(report.instances.map((facts) => [facts.id, facts]));
  for (const [id, sinceMs] of host.absentSinceMs) {
    if (nowMs - sinceMs >= ABSENCE_KEPT_MS) host.absentSinceMs.delete(id);
  }
  if (ids !== undefined) rearrange(observed, host, ids, changed, nowMs, heard, isPlaced);
  const counts = new Map(report.counts?.map((each) => [each.index, each]));
  const { rows } = host;
  // One for all: there are a hundred thousand each second.
  const sample: HeardSample = { rows: report.samples, from: 0, counts: undefined };
  for (let row = 0; row < rows.length; row += 1) {
    const seen = rows[row] as Seen;
    const facts = changed.size === 0 ? seen.status : (changed.get(seen.status.id) ?? seen.status);
    sample.counts = counts.size === 0 ? undefined : counts.get(row);
    takeOne(observed, host, seen, facts, sample, nowMs, heard, isPlaced);
    sample.from = rowAfter(report.samples, sample.from);
  }
  host.lastHeardMs = nowMs;
  noteTakenUp(host, report.revision, nowMs);
  host.appliedRevision = report.revision;
  host.ports = report.ports ?? [];
  host.warm = report.warm ?? [];
  host.builds = report.builds ?? [];
  if (report.images !== undefined) host.images = report.images;
  host.connections = report.connections ?? [];
  host.profiler = report.profiler ?? null;
  for (const [name, copy] of Object.entries(report.copies ?? {})) {
    heard.isDue = true;
    if (copy === null) host.copies.delete(name);
    else host.copies.set(name, copy);
  }
  host.state.take(report.state ?? {});
  if (report.caches !== undefined) host.caches.take(report.caches);
  host.lags = report.lags ?? {};
  return heard;
}

/** That facts and samples are there of just those that the report names. */
function checkNews(host: HostState, { ids, instances, samples }: HeardReport): void {
  let names = 0;
  if (ids === undefined && host.appliedRevision !== null) {
    // Those of the report before, which is nearly always so.
    names = host.rows.length;
    const absent = instances.find(({ id }) => !host.statuses.has(id));
    if (absent !== undefined) throw unfit(`says something of ${absent.id}, which it does not name`);
  } else {
    names = checkNames(host, ids ?? [], instances);
  }
  let count = 0;
  for (let at = 0; at < samples.length; at = rowAfter(samples, at)) count += 1;
  if (count !== names) throw unfit(`has ${count} samples for ${names} instances`);
}

/** Answers how many are named. */
function checkNames(host: HostState, named: readonly string[], instances: readonly InstanceFacts[]): number {
  const known = new Set(host.appliedRevision === null ? [] : host.statuses.keys());
  for (const { id } of instances) known.add(id);
  const unknown = named.find((id) => !known.has(id));
  if (unknown !== undefined) throw unfit(`names ${unknown}, of which nothing was said on this connection`);
  const present = new Set(named);
  const absent = instances.find(({ id }) => !present.has(id));
  if (absent !== undefined) throw unfit(`says something of ${absent.id}, which it does not name`);
  return named.length;
}

function unfit(what: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `a report that ${what}`);
}

/** The host names others than before, or in another order. */
function rearrange(
  observed: Observed,
  host: HostState,
  ids: readonly string[],
  changed: ReadonlyMap<string, InstanceFacts>,
  nowMs: number,
  heard: Heard,
  isPlaced: IsPlaced,
): void {
  const present = new Set(ids);
  for (const seen of host.rows) {
    const { id } = seen.status;
    if (present.has(id)) continue;
    seen.sums.remove(seen.status, seen.samples, seen.row);
    seen.sums.news += 1;
    forgetEmpty(observed, seen);
    host.statuses.delete(id);
    host.absentSinceMs.set(id, nowMs);
    heard.isDue = true;
  }
  host.samples = host.samples.rearranged(ids.map((id) => host.statuses.get(id)?.row ?? -1));
  host.rows = ids.map((id, row) => {
    host.absentSinceMs.delete(id);
    const known = host.statuses.get(id);
    if (known !== undefined) {
      known.samples = host.samples;
      known.row = row;
      return known;
    }
    const status = changed.get(id) as InstanceFacts;
    const sums = sumsFor(observed, status, isPlaced);
    const seen: Seen = { status, phaseSinceMs: nowMs, samples: host.samples, row, sums };
    seen.sums.add(status, host.samples, row);
    seen.sums.news += 1;
    if (hasStarted(status)) noteStarted(host, seen, nowMs);
    host.statuses.set(id, seen);
    heard.fresh.push(id);
    heard.isDue = true;
    return seen;
  });
}

/** Where in a report the sample of an instance stands. */
interface HeardSample {
  rows: SampleRows;
  from: number;
  counts: SampleCounts | undefined;
}

/** Takes what a report says of one instance. */
function takeOne(
  observed: Observed,
  host: HostState,
  seen: Seen,
  facts: InstanceFacts,
  sample: HeardSample,
  nowMs: number,
  heard: Heard,
  isPlaced: IsPlaced,
): void {
  const { samples, row } = seen;
  const before = seen.status;
  seen.sums.remove(before, samples, row);
  if (facts !== before) {
    if (facts.app !== before.app || facts.component !== before.component) {
      seen.sums.news += 1;
      forgetEmpty(observed, seen);
      seen.sums = sumsFor(observed, facts, isPlaced);
      seen.sums.news += 1;
    }
    seen.status = facts;
    // One that was started anew between two reports has left its phase and come back to it.
    if (facts.phase !== before.phase || facts.restarts !== before.restarts) seen.phaseSinceMs = nowMs;
    if (facts.phase !== before.phase) {
      seen.sums.news += 1;
      heard.isDue = true;
      noteFate(host, facts, nowMs);
      if (before.phase === 'starting' && hasStarted(facts)) noteStarted(host, seen, nowMs);
    }
    if (String(facts.shards) !== String(before.shards)) heard.isDue = true;
  }
  const isNew = samples.take(row, sample, serves(before), nowMs, seen.sums);
  seen.sums.add(facts, samples, row);
  if (samples.has(row)) seen.sums.note(facts, samples, row, isNew);
}

/** Of a host that has been away for so long that its instances are made elsewhere: what they did no longer counts. */
export function forgetReadings({ hosts }: Observed, name: string): void {
  for (const { status, samples, row, sums } of hosts.get(name)?.rows ?? []) {
    if (!samples.has(row)) continue;
    sums.remove(status, samples, row);
    samples.forget(row);
    sums.add(status, samples, row);
  }
}

/** Of those that are not to be there, sums that nobody looks at. */
function sumsFor(observed: Observed, facts: InstanceFacts, isPlaced: IsPlaced): ComponentSums {
  if (!isPlaced(facts)) return new ComponentSums();
  const key = componentKey(facts.app, facts.component);
  let sums = observed.components.get(key);
  if (sums === undefined) {
    sums = new ComponentSums();
    observed.components.set(interned(key), sums);
  }
  return sums;
}

/** Of a component of which no host names an instance any more nothing is kept. */
function forgetEmpty({ components }: Observed, { sums, status }: Seen): void {
  const key = componentKey(status.app, status.component);
  if (sums.instances === 0 && components.get(key) === sums) components.delete(key);
}

/** Whether it counts for its component: see IsPlaced. */
export function counts({ components }: Observed, { status, sums }: Seen): boolean {
  return components.get(componentKey(status.app, status.component)) === sums;
}

function noteStarted({ info, changedAtMs }: HostState, { status, sums }: Seen, nowMs: number): void {
  const { id, startMs = null } = status;
  sums.noteStarted({ id, host: info.name, heardMs: nowMs, connectedMs: changedAtMs, startMs });
}

/** At the first try. */
function hasStarted({ phase, restarts }: InstanceFacts): boolean {
  return phase === 'ready' && restarts === 0;
}

function serves({ phase }: InstanceFacts): boolean {
  return phase === 'ready' || phase === 'unready' || phase === 'paused' || phase === 'draining';
}

/** What the host of an instance last said of it. */
export function seenOf(observed: Observed, instance: { id: string; host: string }): Seen | undefined {
  return observed.hosts.get(instance.host)?.statuses.get(instance.id);
}

/** All that the host said of the instance, for people. */
export function statusOf({ status, samples, row }: Seen): InstanceStatus {
  const sample = samples.sample(row);
  return sample === undefined ? status : { ...status, sample };
}

/** Whether new instances may go to the host: it is connected and has said what runs on it. */
export function isUsable(host: HostState | undefined): boolean {
  return host?.connected === true && host.appliedRevision !== null;
}

/** Those that new instances may go to. */
export function usableHosts({ hosts }: Observed): HostState[] {
  return [...hosts.values()].filter(isUsable);
}

/** How long a host has been silent; 0 while connected. */
export function silentMs(observed: Observed, name: string, nowMs: number): number {
  const host = observed.hosts.get(name);
  if (host?.connected === true) return 0;
  return nowMs - (host?.changedAtMs ?? observed.sinceMs);
}
