import { LIMITS } from '../protocol/limits.js';
import type { Size } from '../protocol/link.js';
import type { PlaceGroup, PlaceHost, Placement } from './brain/placement.js';
import {
  bump,
  type ClusterState,
  componentKey,
  componentOf,
  type InstanceRecord,
  own,
  wantedCount,
} from './cluster.js';
import { fateOnHost, mayGo } from './instance-fate.js';
import { InstanceDraft } from './instance-table.js';
import { isUsable, type Observed, seenOf } from './observed.js';
import { type AssignShards, assignAllShards } from './shard-maps.js';

/** What reconcile needs of the brain. */
export interface ReconcileBrain {
  assignShards: AssignShards;
  place(groups: readonly PlaceGroup[], hosts: readonly PlaceHost[]): Placement;
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
 * input it changes nothing more, so that it can run on every change and every second. What all components want is
 * gathered first and placed together, so that no component gets a host because its name comes first.
 */
export function reconcile(
  state: ClusterState,
  observed: Observed,
  brain: ReconcileBrain,
  nowMs: number,
): { state: ClusterState; steps: Step[] } {
  const draft = new InstanceDraft(state.instances);
  const context: Context = { state, observed, brain, nowMs, draft, steps: [] };
  dropAll(context);
  const wishes: Wish[] = [];
  for (const [app, record] of Object.entries(state.apps)) {
    for (const component of Object.keys(record.manifest.components)) {
      const wish = wishOf(app, component, context);
      if (wish !== null) wishes.push(wish);
    }
  }
  const counters = fulfil(wishes, context);

  const instances = draft.finish();
  const next = instances === state.instances ? state : bump({ ...state, instances, counters });
  const assigned = assignAllShards(next, observed, brain.assignShards, nowMs);
  if (assigned !== next) noteShards(next, assigned, context.steps);
  return { state: assigned, steps: context.steps };
}

interface Context {
  state: ClusterState;
  observed: Observed;
  brain: ReconcileBrain;
  nowMs: number;
  draft: InstanceDraft;
  steps: Step[];
}

/** What a component wants changed. */
interface Wish {
  app: string;
  component: string;
  wanted: number;
  size: Size;
  generation: number;
  /** Instances that stay, of the present manifest and of earlier ones. */
  current: readonly InstanceRecord[];
  old: readonly InstanceRecord[];
  someDrain: boolean;
}

/** Instances of components that are gone, lost ones, and those that have finished draining. */
function dropAll({ state, observed, nowMs, draft, steps }: Context): void {
  for (const [key, group] of state.instances.byComponent) {
    const [first] = group;
    if (first === undefined || componentOf(state, first.app, first.component) !== undefined) continue;
    for (const instance of group) {
      draft.remove(instance);
      steps.push(stepOf(instance, 'dropped', 'its component is no longer wanted'));
    }
    if (draft.ofComponent(key).length > 0) throw new Error(`instances of ${key} remain`);
  }
  for (const [name] of state.instances.byHost) {
    const lossOf = fateOnHost(name, observed, nowMs);
    // A copy: the draft's group changes on the way.
    for (const instance of [...draft.onHost(name)]) {
      const lost = lossOf(instance);
      if (lost !== null) steps.push(stepOf(instance, 'replaced', lost));
      else if (mayGo(state, instance, observed, nowMs)) steps.push(stepOf(instance, 'dropped', 'has drained'));
      else continue;
      draft.remove(instance);
    }
  }
}

/** Null when the component has exactly the instances that it shall have. */
function wishOf(app: string, component: string, { state, draft }: Context): Wish | null {
  const key = componentKey(app, component);
  const target = own(state.targets, key);
  const generation = own(state.apps[app]?.generations ?? {}, component);
  if (target === undefined || generation === undefined) return null;
  const wanted = wantedCount(state, app, component);
  const { size } = target;
  const group = draft.ofComponent(key);
  const content = group.length === wanted && group.every((each) => isAsWanted(each, generation, size));
  if (content) return null;
  const staying = group.filter((each) => each.draining === undefined);
  const current = staying.filter((each) => each.generation === generation);
  const old = staying.filter((each) => each.generation !== generation);
  const someDrain = staying.length < group.length;
  return { app, component, wanted, size, generation, current, old, someDrain };
}

function isAsWanted(instance: InstanceRecord, generation: number, size: Size): boolean {
  return instance.draining === undefined && instance.generation === generation && sameSize(instance.size, size);
}

/** Creates, drains and resizes. Answers the counters of ids. */
function fulfil(wishes: readonly Wish[], context: Context): ClusterState['counters'] {
  const { counters, unplaced } = create(wishes, context);
  for (const wish of wishes) {
    const { wanted, current, old, someDrain } = wish;
    // Old ones leave as new ones get ready; when there is no room for both, one at a time makes way.
    const ready = current.filter((each) => isReady(each, context.observed)).length;
    let oldLeaving = Math.max(0, old.length - Math.max(0, wanted - ready));
    if (oldLeaving === 0 && old.length > 0 && unplaced.has(wish) && !someDrain) oldLeaving = 1;
    const surplus = Math.max(0, current.length - wanted);
    const oldFirst = leavingFirst(old, oldLeaving, context.observed);
    const currentFirst = leavingFirst(current, surplus, context.observed);
    drain(oldFirst, 'replaced by the new manifest', context);
    drain(currentFirst, `count falls to ${wanted}`, context);
    const leaving = new Set([...oldFirst, ...currentFirst]);
    for (const instance of [...current, ...old]) if (!leaving.has(instance)) resize(instance, wish.size, context);
  }
  return counters;
}

function create(
  wishes: readonly Wish[],
  { state, observed, brain, nowMs, draft, steps }: Context,
): { counters: ClusterState['counters']; unplaced: ReadonlySet<Wish> } {
  const unplaced = new Set<Wish>();
  const asked = wishes.filter(({ wanted, current }) => wanted > current.length);
  if (asked.length === 0) return { counters: state.counters, unplaced };
  const counters = { ...state.counters };
  // Two apps may share a prefix (a-b with c, a with b-c); then each gets numbers of its own.
  const reserved = { ...state.counters };
  const drafts = asked.map((wish) => ({ wish, ids: nextIds(reserved, wish) }));
  const groups = drafts.map(({ wish, ids }): PlaceGroup => {
    const key = componentKey(wish.app, wish.component);
    return { key, ids, size: wish.size, hosts: draft.ofComponent(key).map(({ host }) => host) };
  });
  const hosts = usableHosts(observed, draft);
  const placement = brain.place(groups, hosts);
  for (const { wish, ids } of drafts) {
    const { app, component, size, generation, current, wanted } = wish;
    let created = 0;
    for (const id of ids) {
      const host = placement.hosts.get(id);
      if (host === undefined) continue;
      const createdRevision = state.revision + 1;
      const instance: InstanceRecord = {
        id,
        app,
        component,
        host,
        size,
        generation,
        createdAtMs: nowMs,
        createdRevision,
      };
      draft.put(instance);
      const prefix = prefixOf(wish);
      counters[prefix] = Math.max(own(counters, prefix) ?? 0, numberOf(instance) + 1);
      created += 1;
      steps.push(stepOf(instance, 'created', `on ${host}, ${describeSize(size)}`));
    }
    const missing = wanted - current.length - created;
    if (missing === 0) continue;
    unplaced.add(wish);
    const why = hosts.length === 0 ? 'no host is connected' : 'no host has room';
    steps.push({ app, component, instance: '', kind: 'unplaced', message: `${missing} instances wait: ${why}` });
  }
  return { counters, unplaced };
}

function nextIds(reserved: Record<string, number>, wish: Wish): string[] {
  const prefix = prefixOf(wish);
  const first = own(reserved, prefix) ?? 0;
  const count = wish.wanted - wish.current.length;
  reserved[prefix] = first + count;
  return Array.from({ length: count }, (_, index) => `${prefix}-${first + index}`);
}

function prefixOf({ app, component }: Wish): string {
  return `${app}-${component}`;
}

function usableHosts(observed: Observed, draft: InstanceDraft): PlaceHost[] {
  return [...observed.hosts.values()].filter(isUsable).map(({ info: { name, cores, memoryBytes } }) => {
    return { name, cores, memoryBytes, running: draft.onHost(name) };
  });
}

function drain(leaving: readonly InstanceRecord[], why: string, { state, nowMs, draft, steps }: Context): void {
  for (const instance of leaving) {
    draft.put({ ...instance, draining: { sinceMs: nowMs, revision: state.revision + 1 } });
    steps.push(stepOf(instance, 'draining', why));
  }
}

function resize(instance: InstanceRecord, size: Size, { draft, steps }: Context): void {
  if (sameSize(instance.size, size)) return;
  draft.put({ ...instance, size });
  steps.push(stepOf(instance, 'resized', `from ${describeSize(instance.size)} to ${describeSize(size)}`));
}

/** So many of them: those that serve nobody yet first, then the newest. */
function leavingFirst(instances: readonly InstanceRecord[], count: number, observed: Observed): InstanceRecord[] {
  if (count === 0) return [];
  const rank = (each: InstanceRecord) => (isReady(each, observed) ? 1 : 0);
  return instances.toSorted((a, b) => rank(a) - rank(b) || numberOf(b) - numberOf(a)).slice(0, count);
}

function numberOf({ id }: { id: string }): number {
  return Number(id.slice(id.lastIndexOf('-') + 1));
}

function isReady(instance: InstanceRecord, observed: Observed): boolean {
  return seenOf(observed, instance)?.status.phase === 'ready';
}

function sameSize(a: Size, b: Size): boolean {
  return a.cpu === b.cpu && a.memory === b.memory;
}

function describeSize({ cpu, memory }: Size): string {
  return `${cpu.toFixed(2)} cores and ${Math.round(memory / 2 ** 20)} MiB`;
}

function stepOf({ app, component, id }: InstanceRecord, kind: Step['kind'], message: string): Step {
  return { app, component, instance: id, kind, message };
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
