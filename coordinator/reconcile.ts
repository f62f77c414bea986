import { LIMITS } from '../protocol/limits.js';
import type { Size } from '../protocol/link.js';
import {
  bump,
  type ClusterState,
  componentKey,
  componentOf,
  type InstanceRecord,
  instancesOf,
  own,
  type Target,
  wantedCount,
} from './cluster.js';
import { isLost, mayGo } from './instance-fate.js';
import { isUsable, type Observed } from './observed.js';
import { type AssignShards, assignAllShards } from './shard-maps.js';

/** What reconcile needs of the brain. */
export interface ReconcileBrain {
  assignShards: AssignShards;
  place(
    instances: { id: string; app: string; component: string; size: Size; host?: string }[],
    hosts: { name: string; cores: number; memoryBytes: number }[],
  ): { hosts: Record<string, string>; unplaced: string[] };
}

/** One step that reconcile took, for the event log. */
export interface Step {
  app: string;
  component: string;
  instance: string;
  kind: 'created' | 'draining' | 'dropped' | 'replaced' | 'resized' | 'unplaced' | 'shards-assigned';
  message: string;
}

/**
 * Brings the wanted instances in line with apps, targets and what the hosts reported. Called again with the same
 * input it changes nothing more, so that it can run on every change and every second.
 */
export function reconcile(
  state: ClusterState,
  observed: Observed,
  brain: ReconcileBrain,
  nowMs: number,
): { state: ClusterState; steps: Step[] } {
  const steps: Step[] = [];
  let next = dropAll(state, observed, nowMs, steps);
  for (const [app, record] of Object.entries(next.apps)) {
    for (const component of Object.keys(record.manifest.components)) {
      next = fitComponent(next, app, component, { observed, brain, nowMs, steps });
    }
  }
  const assigned = assignAllShards(next, observed, brain.assignShards, nowMs);
  if (assigned !== next) noteShards(next, assigned, steps);
  return { state: assigned, steps };
}

interface Context {
  observed: Observed;
  brain: ReconcileBrain;
  nowMs: number;
  steps: Step[];
}

/** Instances of components that are gone, lost ones, and those that have finished draining. */
function dropAll(state: ClusterState, observed: Observed, nowMs: number, steps: Step[]): ClusterState {
  const kept: Record<string, InstanceRecord> = {};
  let dropped = false;
  for (const instance of Object.values(state.instances)) {
    const { id, app, component } = instance;
    const lost = isLost(instance, observed, nowMs);
    if (componentOf(state, app, component) === undefined) {
      steps.push({ app, component, instance: id, kind: 'dropped', message: 'its component is no longer wanted' });
    } else if (lost !== null) {
      steps.push({ app, component, instance: id, kind: 'replaced', message: lost });
    } else if (mayGo(state, instance, observed, nowMs)) {
      steps.push({ app, component, instance: id, kind: 'dropped', message: 'has drained' });
    } else {
      kept[id] = instance;
      continue;
    }
    dropped = true;
  }
  return dropped ? bump({ ...state, instances: kept }) : state;
}

function fitComponent(state: ClusterState, app: string, component: string, context: Context): ClusterState {
  const target = own(state.targets, componentKey(app, component));
  const generation = own(state.apps[app]?.generations ?? {}, component);
  if (target === undefined || generation === undefined) return state;
  const wanted = wantedCount(state, app, component);
  const staying = instancesOf(state, app, component).filter((each) => each.draining === undefined);
  const current = leavingFirst(staying, context.observed).filter((each) => each.generation === generation);
  const old = leavingFirst(staying, context.observed).filter((each) => each.generation !== generation);

  const created = create(state, app, component, generation, target, wanted - current.length, context);
  let next = created.state;
  // Old ones leave as new ones get ready; when there is no room for both, one at a time makes way.
  const ready = current.filter((each) => isReady(each, context.observed)).length;
  let oldLeaving = Math.max(0, old.length - Math.max(0, wanted - ready));
  const nobodyDrains = instancesOf(state, app, component).every((each) => each.draining === undefined);
  if (oldLeaving === 0 && old.length > 0 && created.unplaced > 0 && nobodyDrains) oldLeaving = 1;
  next = drain(next, old.slice(0, oldLeaving), 'replaced by the new manifest', context);
  next = drain(next, current.slice(0, Math.max(0, current.length - wanted)), `count falls to ${wanted}`, context);
  return resize(next, app, component, target.size, context);
}

function create(
  state: ClusterState,
  app: string,
  component: string,
  generation: number,
  { size }: Target,
  count: number,
  { observed, brain, nowMs, steps }: Context,
): { state: ClusterState; unplaced: number } {
  if (count <= 0) return { state, unplaced: 0 };
  const hosts = Object.values(observed.hosts)
    .filter(isUsable)
    .map(({ info }) => ({ name: info.name, cores: info.cores, memoryBytes: info.memoryBytes }));
  const prefix = `${app}-${component}`;
  const first = state.counters[prefix] ?? 0;
  const ids = Array.from({ length: count }, (_, index) => `${prefix}-${first + index}`);
  const running = Object.values(state.instances).filter((each) => isUsable(own(observed.hosts, each.host)));
  const placement = brain.place([...running, ...ids.map((id) => ({ id, app, component, size }))], hosts);

  const instances = { ...state.instances };
  let next = first;
  let unplaced = 0;
  for (const [index, id] of ids.entries()) {
    const host = own(placement.hosts, id);
    if (host === undefined) {
      unplaced += 1;
      continue;
    }
    const createdRevision = state.revision + 1;
    instances[id] = { id, app, component, host, size, generation, createdAtMs: nowMs, createdRevision };
    next = first + index + 1;
    steps.push({ app, component, instance: id, kind: 'created', message: `on ${host}, ${describeSize(size)}` });
  }
  if (unplaced > 0) {
    const why = hosts.length === 0 ? 'no host is connected' : 'no host has room';
    steps.push({ app, component, instance: '', kind: 'unplaced', message: `${unplaced} instances wait: ${why}` });
  }
  if (next === first) return { state, unplaced };
  return { state: bump({ ...state, instances, counters: { ...state.counters, [prefix]: next } }), unplaced };
}

function drain(state: ClusterState, leaving: InstanceRecord[], why: string, context: Context): ClusterState {
  if (leaving.length === 0) return state;
  const instances = { ...state.instances };
  for (const instance of leaving) {
    instances[instance.id] = { ...instance, draining: { sinceMs: context.nowMs, revision: state.revision + 1 } };
    const { id, app, component } = instance;
    context.steps.push({ app, component, instance: id, kind: 'draining', message: why });
  }
  return bump({ ...state, instances });
}

function resize(state: ClusterState, app: string, component: string, size: Size, { steps }: Context): ClusterState {
  const other = instancesOf(state, app, component).filter(
    (each) => each.draining === undefined && (each.size.cpu !== size.cpu || each.size.memory !== size.memory),
  );
  if (other.length === 0) return state;
  const instances = { ...state.instances };
  for (const instance of other) {
    instances[instance.id] = { ...instance, size };
    const message = `from ${describeSize(instance.size)} to ${describeSize(size)}`;
    steps.push({ app, component, instance: instance.id, kind: 'resized', message });
  }
  return bump({ ...state, instances });
}

/** Those that serve nobody yet first, then the newest. */
function leavingFirst(instances: InstanceRecord[], observed: Observed): InstanceRecord[] {
  const rank = (each: InstanceRecord) => (isReady(each, observed) ? 1 : 0);
  return instances.toSorted((a, b) => rank(a) - rank(b) || numberOf(b) - numberOf(a));
}

function numberOf({ id }: InstanceRecord): number {
  return Number(id.slice(id.lastIndexOf('-') + 1));
}

function isReady({ id }: InstanceRecord, observed: Observed): boolean {
  return own(observed.statuses, id)?.status.phase === 'ready';
}

function describeSize({ cpu, memory }: Size): string {
  return `${cpu.toFixed(2)} cores and ${Math.round(memory / 2 ** 20)} MiB`;
}

function noteShards(before: ClusterState, after: ClusterState, steps: Step[]): void {
  for (const [key, record] of Object.entries(after.shards)) {
    const old = own(before.shards, key);
    if (old === record) continue;
    const moved = record.owners.filter((owner, shard) => owner !== (old?.owners[shard] ?? null)).length;
    const [app = '', component = ''] = key.split('/');
    const message = `${moved} of ${LIMITS.shardCount} state shards, epoch ${record.epoch}`;
    steps.push({ app, component, instance: '', kind: 'shards-assigned', message });
  }
}
