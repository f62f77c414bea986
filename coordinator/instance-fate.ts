import { LIMITS } from '../protocol/limits.js';
import type { InstancePhase } from '../protocol/link.js';
import { hasShards } from '../protocol/manifest.js';
import { type ClusterState, componentOf, type InstanceRecord, wantedCount } from './cluster.js';
import { HOST_LOST_MS, standingOf } from './host-standing.js';
import { type HostState, isUsable, type Observed, type Seen, silentMs, usableHosts } from './observed.js';
import { ownsNone } from './shard-maps.js';

/** An instance that its host, having taken the order, does not name for so long is replaced. */
export const MISSING_MS_MAX = 5_000;
/** An instance that its agent gave up is replaced after this. */
export const FAILED_MS_MAX = LIMITS.restartBackoffMsMax;

export interface Fate {
  /** `ending`: a singleton that is to end before another one may take its place; `ended`: it is known to have. */
  kind: 'replaced' | 'dropped' | 'ending' | 'ended';
  why: string;
}

/** Null for those that stay. */
export type FateOf = (instance: InstanceRecord) => Fate | null;

const DRAINED: Fate = { kind: 'dropped', why: 'has drained' };

/** What becomes of the instances of a host. */
export interface HostFate {
  of: FateOf;
  /** Instances that the host names, that have not failed and do not drain, stay: nothing is wrong with the host as a whole. */
  sparesRunning: boolean;
}

/**
 * Which instances of the host are no longer wanted there, as a function of the instance. What holds for the host as a whole is found once.
 */
export function fateOnHost(name: string, state: ClusterState, observed: Observed, nowMs: number): HostFate {
  const { of: usual, sparesRunning } = usualFate(name, state, observed, nowMs);
  const of: FateOf = (instance) =>
    instance.singleton === true ? fateOfSingleton(instance, usual(instance), observed) : usual(instance);
  return { of, sparesRunning };
}

/** What would let others go has singletons end first; they go when their host says so, or can run none any more. */
export function fateOfSingleton(instance: InstanceRecord, usual: Fate | null, observed: Observed): Fate | null {
  const { id, host: name, ending } = instance;
  if (ending === undefined) return usual === null ? null : { kind: 'ending', why: usual.why };
  const host = observed.hosts.get(name);
  const hasEnded = isUsable(host) && (host?.appliedRevision ?? -1) >= ending.revision && !host?.statuses.has(id);
  if (hasEnded) return { kind: 'ended', why: ending.why };
  return observed.leases.isOver(name) ? { kind: 'ended', why: `${ending.why}; its lease is over` } : null;
}

function usualFate(name: string, state: ClusterState, observed: Observed, nowMs: number): HostFate {
  const host = observed.hosts.get(name);
  const silent = silentMs(observed, name, nowMs);
  if (silent > HOST_LOST_MS) {
    const elsewhere = usableHosts(observed).length > 0;
    const why = `its host ${name} has been away for ${Math.round(silent / 1000)} s`;
    return { of: () => (elsewhere ? { kind: 'replaced', why } : null), sparesRunning: false };
  }
  if (host === undefined || !isUsable(host)) return { of: () => null, sparesRunning: true };
  const { statuses } = host;
  const stuck = whyStuck(host, observed, nowMs);
  const of: FateOf = (instance) => {
    if (stuck !== null && !hasComeUp(statuses.get(instance.id))) return { kind: 'replaced', why: stuck };
    const seen = statuses.get(instance.id);
    // So it is with nearly all.
    if (seen !== undefined && seen.status.phase !== 'failed' && instance.draining === undefined) return null;
    const why = whyLost(instance, host, nowMs);
    if (why !== null) return { kind: 'replaced', why };
    return mayGo(instance, seen, host, state, nowMs) ? DRAINED : null;
  };
  return { of, sparesRunning: stuck === null };
}

/** On a wedged host what runs goes on; what does not come up there is made elsewhere, if it can be. */
function whyStuck(host: HostState, observed: Observed, nowMs: number): string | null {
  const { state, why } = standingOf(host, observed, nowMs);
  if (state !== 'wedged') return null;
  const elsewhere = usableHosts(observed).some((each) => standingOf(each, observed, nowMs).state === 'well');
  return elsewhere ? `its host ${host.info.name} is wedged: ${why}` : null;
}

const COME_UP: ReadonlySet<InstancePhase> = new Set(['ready', 'unready', 'paused', 'draining', 'stopping']);

function hasComeUp(seen: Seen | undefined): boolean {
  const phase = seen?.status.phase;
  return phase !== undefined && COME_UP.has(phase);
}

function whyLost(instance: InstanceRecord, host: HostState, nowMs: number): string | null {
  const seen = host.statuses.get(instance.id);
  if (seen === undefined) {
    if ((host.appliedRevision ?? -1) < instance.createdRevision) return null;
    const since = Math.max(instance.createdAtMs, host.changedAtMs, host.absentSinceMs.get(instance.id) ?? 0);
    return nowMs - since > MISSING_MS_MAX ? `its host ${host.info.name} no longer reports it` : null;
  }
  const failed = seen.status.phase === 'failed' && nowMs - seen.phaseSinceMs > FAILED_MS_MAX;
  return failed ? `it failed: ${seen.status.exit?.reason ?? 'no reason reported'}` : null;
}

/**
 * Whether a draining instance on a usable host may leave the desired state. State shards have to be handed over first,
 * however long that takes, unless nobody is left to take them; calls are waited for up to a bound.
 */
function mayGo(
  instance: InstanceRecord,
  seen: Seen | undefined,
  host: HostState,
  state: ClusterState,
  nowMs: number,
): boolean {
  const { draining } = instance;
  if (draining === undefined || (host.appliedRevision ?? -1) < draining.revision) return false;
  // Without a running process there is neither state nor a call to wait for.
  if (seen === undefined) return true;
  const { status, samples, row } = seen;
  if (status.phase === 'failed' || status.phase === 'backoff') return true;
  const sharded = hasShards(componentOf(state, instance.app, instance.component));
  if (sharded && wantedCount(state, instance.app, instance.component) > 0) {
    if (!ownsNone(state, instance) || status.shards.length > 0) return false;
  }
  return samples.outstanding(row) === 0 || nowMs - draining.sinceMs >= LIMITS.drainMsMax;
}
