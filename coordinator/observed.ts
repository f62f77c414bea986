import { LIMITS } from '../protocol/limits.js';
import type { HostInfo, InstanceStatus } from '../protocol/link.js';

/**
 * What the agents last said: plain data, rebuilt from their reports after a restart and never stored. Times are ms.
 */
export interface Observed {
  /** When this coordinator began to look; a host never seen since counts as silent since then. */
  sinceMs: number;
  hosts: Readonly<Record<string, HostState>>;
  /** By instance id. */
  statuses: Readonly<Record<string, Seen>>;
  /** Instance id → since when its host's reports no longer name it. */
  absentSinceMs: Readonly<Record<string, number>>;
}

export interface HostState {
  info: HostInfo;
  connected: boolean;
  /** Of the last change between connected and not. */
  changedAtMs: number;
  lastHeardMs: number;
  /** Revision that the agent had applied at its last report of this connection; null before the first. */
  appliedRevision: number | null;
}

export interface Seen {
  host: string;
  status: InstanceStatus;
  atMs: number;
  /** Since when the instance has been in this phase. */
  phaseSinceMs: number;
}

/** How long the absence of an instance is remembered; longer than anybody waits for it. */
const ABSENCE_KEPT_MS = 60_000;

export function startObserving(nowMs: number): Observed {
  return { sinceMs: nowMs, hosts: {}, statuses: {}, absentSinceMs: {} };
}

export function hostConnected(observed: Observed, info: HostInfo, nowMs: number): Observed {
  const host: HostState = { info, connected: true, changedAtMs: nowMs, lastHeardMs: nowMs, appliedRevision: null };
  return { ...observed, hosts: { ...observed.hosts, [info.name]: host } };
}

export function hostDisconnected(observed: Observed, name: string, nowMs: number): Observed {
  const host = observed.hosts[name];
  if (host === undefined || !host.connected) return observed;
  const next: HostState = { ...host, connected: false, changedAtMs: nowMs, appliedRevision: null };
  return { ...observed, hosts: { ...observed.hosts, [name]: next } };
}

/** Takes a report, which is the whole truth about its host: instances it does not name are not there. */
export function takeReport(
  observed: Observed,
  name: string,
  revision: number,
  instances: readonly InstanceStatus[],
  nowMs: number,
): Observed {
  const host = observed.hosts[name];
  if (host === undefined || !host.connected) return observed;
  const statuses: Record<string, Seen> = {};
  const absentSinceMs: Record<string, number> = {};
  for (const [id, since] of Object.entries(observed.absentSinceMs)) {
    if (nowMs - since < ABSENCE_KEPT_MS) absentSinceMs[id] = since;
  }
  for (const [id, seen] of Object.entries(observed.statuses)) {
    if (seen.host === name) absentSinceMs[id] ??= nowMs;
    else statuses[id] = seen;
  }
  for (const status of instances) {
    const before = observed.statuses[status.id];
    const same = before !== undefined && before.host === name && before.status.phase === status.phase;
    statuses[status.id] = { host: name, status, atMs: nowMs, phaseSinceMs: same ? before.phaseSinceMs : nowMs };
    delete absentSinceMs[status.id];
  }
  const heard: HostState = { ...host, lastHeardMs: nowMs, appliedRevision: revision };
  return { ...observed, hosts: { ...observed.hosts, [name]: heard }, statuses, absentSinceMs };
}

/** Whether new instances may go to the host: it is connected and has said what runs on it. */
export function isUsable(host: HostState | undefined): boolean {
  return host?.connected === true && host.appliedRevision !== null;
}

/** How long a host has been silent; 0 while connected. */
export function silentMs(observed: Observed, name: string, nowMs: number): number {
  const host = observed.hosts[name];
  if (host?.connected === true) return 0;
  return nowMs - (host?.changedAtMs ?? observed.sinceMs);
}

/** Hosts whose connection is open but has carried nothing for too long. */
export function silentHosts(observed: Observed, nowMs: number): string[] {
  return Object.entries(observed.hosts)
    .filter(([, host]) => host.connected && nowMs - host.lastHeardMs > LIMITS.peerSilenceMsMax)
    .map(([name]) => name);
}
