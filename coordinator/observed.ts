import type { HostInfo, InstanceStatus, ListeningPort } from '../protocol/link.js';
import { ComponentSums } from './component-sums.js';
import { componentKey } from './instance-table.js';
import { nextReading, type Reading } from './reading.js';

/**
 * What the agents last said: plain data, rebuilt from their reports after a restart and never stored. Each host's word is
 * kept apart and takes its place in the map, so that a report costs what its own host has to say and nothing for the
 * others; the word itself, a HostState, never changes. Times are ms.
 */
export interface Observed {
  /** When this coordinator began to look; a host never seen since counts as silent since then. */
  sinceMs: number;
  hosts: Map<string, HostState>;
  /** What the instances of each component do in all, by component key. */
  components: Map<string, ComponentSums>;
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
  /** By instance id. */
  statuses: ReadonlyMap<string, Seen>;
  /** Instance id → since when the reports no longer name it. */
  absentSinceMs: ReadonlyMap<string, number>;
}

export interface Seen {
  status: InstanceStatus;
  atMs: number;
  /** Since when the instance has been in this phase. */
  phaseSinceMs: number;
  /** Null while the agent has no sample of it. */
  reading: Reading | null;
  /** Of its component: where the reading has been added up. */
  sums: ComponentSums;
}

/** How long the absence of an instance is remembered; longer than anybody waits for it. */
const ABSENCE_KEPT_MS = 60_000;

export function startObserving(nowMs: number): Observed {
  return { sinceMs: nowMs, hosts: new Map(), components: new Map() };
}

export function hostConnected(observed: Observed, info: HostInfo, nowMs: number): Observed {
  const before = observed.hosts.get(info.name);
  return withHost(observed, {
    info,
    connected: true,
    changedAtMs: nowMs,
    lastHeardMs: nowMs,
    appliedRevision: null,
    ports: [],
    statuses: before?.statuses ?? new Map(),
    absentSinceMs: before?.absentSinceMs ?? new Map(),
  });
}

export function hostDisconnected(observed: Observed, name: string, nowMs: number): Observed {
  const host = observed.hosts.get(name);
  if (host === undefined || !host.connected) return observed;
  return withHost(observed, { ...host, connected: false, changedAtMs: nowMs, appliedRevision: null });
}

/** Takes a report, which is the whole truth about its host: instances it does not name are not there. */
export function takeReport(
  observed: Observed,
  name: string,
  revision: number,
  instances: readonly InstanceStatus[],
  nowMs: number,
  ports: readonly ListeningPort[] = [],
): Observed {
  const host = observed.hosts.get(name);
  if (host === undefined || !host.connected) return observed;
  const statuses = new Map<string, Seen>();
  for (const status of instances) {
    const before = host.statuses.get(status.id);
    const phaseSinceMs = before !== undefined && before.status.phase === status.phase ? before.phaseSinceMs : nowMs;
    const sums = sumsFor(observed, status, before);
    const reading = nextReading(before?.reading ?? null, before !== undefined && serves(before.status), status, nowMs);
    sums.add(status, reading, before?.reading ?? null);
    if (hasStarted(status, before)) {
      const { id, startMs = null } = status;
      sums.noteStarted({ id, host: name, heardMs: nowMs, connectedMs: host.changedAtMs, startMs });
    }
    // What is named twice counts once.
    uncount(observed, statuses.get(status.id) ?? before);
    statuses.set(status.id, { status, atMs: nowMs, phaseSinceMs, reading, sums });
  }
  const absentSinceMs = new Map<string, number>();
  for (const [id, since] of host.absentSinceMs) {
    if (nowMs - since < ABSENCE_KEPT_MS && !statuses.has(id)) absentSinceMs.set(id, since);
  }
  for (const [id, seen] of host.statuses) {
    if (statuses.has(id)) continue;
    uncount(observed, seen);
    if (!absentSinceMs.has(id)) absentSinceMs.set(id, nowMs);
  }
  return withHost(observed, { ...host, lastHeardMs: nowMs, appliedRevision: revision, ports, statuses, absentSinceMs });
}

/** Of a host that has been away for so long that its instances are made elsewhere: what they did no longer counts. */
export function forgetReadings(observed: Observed, name: string): void {
  const host = observed.hosts.get(name);
  if (host === undefined || ![...host.statuses.values()].some(({ reading }) => reading !== null)) return;
  const statuses = new Map<string, Seen>();
  for (const [id, seen] of host.statuses) {
    seen.sums.add(seen.status, null, null);
    seen.sums.remove(seen.status, seen.reading);
    statuses.set(id, { ...seen, reading: null });
  }
  withHost(observed, { ...host, statuses });
}

function sumsFor(observed: Observed, { app, component }: InstanceStatus, before: Seen | undefined): ComponentSums {
  if (before !== undefined && before.status.app === app && before.status.component === component) return before.sums;
  const key = componentKey(app, component);
  let sums = observed.components.get(key);
  if (sums === undefined) {
    sums = new ComponentSums();
    observed.components.set(key, sums);
  }
  return sums;
}

function uncount(observed: Observed, seen: Seen | undefined): void {
  if (seen === undefined) return;
  const { status, reading, sums } = seen;
  sums.remove(status, reading);
  if (sums.instances === 0) observed.components.delete(componentKey(status.app, status.component));
}

function hasStarted({ phase, restarts }: InstanceStatus, before: Seen | undefined): boolean {
  return phase === 'ready' && restarts === 0 && (before === undefined || before.status.phase === 'starting');
}

function serves({ phase }: InstanceStatus): boolean {
  return phase === 'ready' || phase === 'draining';
}

/** What the host of an instance last said of it. */
export function seenOf(observed: Observed, instance: { id: string; host: string }): Seen | undefined {
  return observed.hosts.get(instance.host)?.statuses.get(instance.id);
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

/** Like all that is exported here: changes `observed`, and returns it. */
function withHost(observed: Observed, host: HostState): Observed {
  observed.hosts.set(host.info.name, host);
  return observed;
}
