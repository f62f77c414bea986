import type { Size } from '../protocol/link.js';
import { type Component, type PlaceRules, PRIORITY_DEFAULT } from '../protocol/manifest.js';
import { PLACE_DEFAULT } from '../protocol/manifest-build.js';
import { allottedBy, allottedOwnCores, ownCoresOf, takes } from './brain/allotted.js';
import {
  admits,
  isSteadyEnough,
  type PlaceGroup,
  type PlaceHost,
  type Placement,
  type PlaceRequest,
} from './brain/placement.js';
import { makeRoom, type RoomClaim, type RoomHost, type RoomInstance } from './brain/room.js';
import { talkShares } from './brain/talk.js';
import { withChanged } from './changed-keys.js';
import {
  awaitsBuild,
  bump,
  type ClusterState,
  type ComponentEntry,
  componentKey,
  componentOf,
  componentsOf,
  type InstanceRecord,
  isDrained,
  own,
} from './cluster.js';
import { HostRooms } from './host-rooms.js';
import { standingOf } from './host-standing.js';
import { type Fate, type FateOf, fateOfSingleton, fateOnHost, type HostFate } from './instance-fate.js';
import { InstanceDraft } from './instance-table.js';
import { isUsable, type Observed, seenOf, usableHosts } from './observed.js';
import type { SettledComponents } from './settled.js';
import { type AssignShards, assignAllShards } from './shard-maps.js';
import { type LostShards, placeCopies } from './state/place-copies.js';
import { type Measured, NOTHING_MEASURED } from './traffic.js';

/** What reconcile needs of the brain. */
export interface ReconcileBrain {
  assignShards: AssignShards;
  place(request: PlaceRequest): Placement;
}

/** One step that reconcile took, for the event log. */
export interface Step {
  app: string;
  component: string;
  instance: string;
  kind:
    | 'created'
    | 'draining'
    | 'dropped'
    | 'replaced'
    | 'ending'
    | 'ended'
    | 'resized'
    | 'gave-way'
    | 'unplaced'
    | 'shards-assigned'
    | 'state-lost'
    | 'weight-shifted';
  message: string;
  /** Instances that took it together, and `instance` is empty; absent: one. */
  count?: number;
}

/**
 * Brings the wanted instances in line with apps, targets and what the hosts reported. Called again with the same
 * input it changes nothing more, so that it can run on every change and every second. What all components want is
 * gathered first and placed together, so that no component gets a host because its name comes first. With `settled`,
 * which belongs to one series of states, components that need nothing are passed over.
 */
export function reconcile(
  state: ClusterState,
  observed: Observed,
  brain: ReconcileBrain,
  nowMs: number,
  measured: Measured = NOTHING_MEASURED,
  settled?: SettledComponents,
): { state: ClusterState; steps: Step[] } {
  const draft = new InstanceDraft(state.instances);
  const context: Context = { state, observed, brain, nowMs, measured, draft, steps: [] };
  const fates = dropAway(context);
  const fateOf: FateOf = (each) => fates.get(each.host)?.of(each) ?? null;
  dropForgotten(fateOf, context);
  const unsettled = unsettledOf(context, settled);
  const spareRunning = [...fates.values()].every(({ sparesRunning }) => sparesRunning);
  for (const entry of unsettled) {
    const group = draft.ofComponent(entry.key);
    if (!(spareRunning && settled?.allRun(entry, group, observed))) drop(group, fateOf, context);
  }
  const wishes: Wish[] = [];
  const wanting: ComponentEntry[] = [];
  const someDrained = Object.values(state.cordons).some(({ drain }) => drain);
  for (const entry of unsettled) {
    const wish = wishOf(entry, someDrained, context);
    if (wish === null) settled?.note(entry, draft.ofComponent(entry.key), state, observed);
    else {
      wishes.push(wish);
      wanting.push(entry);
      settled?.forget(entry);
    }
  }
  const counters = fulfil(wishes, context);
  if (settled !== undefined && !context.steps.some(({ kind }) => kind === 'gave-way')) {
    for (const [i, entry] of wanting.entries()) {
      if (isResizeOnly(wishes[i] as Wish))
        settled.resized(entry, state.instances.byComponent.get(entry.key), draft.ofComponent(entry.key));
    }
  }

  const instances = draft.finish();
  const next = instances === state.instances ? state : bump({ ...state, instances, counters: risen(state, counters) });
  const assigned = assignAllShards(next, observed, brain.assignShards, nowMs, measured);
  if (assigned !== next) noteShards(next, assigned, context.steps);
  const placed = placeCopies(assigned, observed, nowMs, measured);
  for (const each of placed.lost) noteLost(each, context.steps);
  return { state: placed.state, steps: context.steps };
}

function risen({ counters }: ClusterState, by: Counters): Counters {
  return Object.keys(by).length === 0 ? counters : withChanged(counters, by);
}

/** How much those that it may call draw a component to their hosts before anything has been measured; near: 1. */
const UNMEASURED_NEAR = 0.5;

interface Context {
  state: ClusterState;
  observed: Observed;
  brain: ReconcileBrain;
  nowMs: number;
  measured: Measured;
  draft: InstanceDraft;
  steps: Step[];
}

/** What a component wants changed. */
interface Wish {
  key: string;
  app: string;
  component: string;
  described: Component;
  wanted: number;
  size: Size;
  generation: number;
  /** Instances that stay; old ones are of an earlier manifest or on a host that is drained, and get replaced. */
  current: readonly InstanceRecord[];
  old: readonly InstanceRecord[];
  someDrain: boolean;
}

const FORGOTTEN: Fate = { kind: 'dropped', why: 'its component is no longer wanted' };

/** Instances of components that are gone. */
function dropForgotten(fateOf: FateOf, context: Context): void {
  const { state, observed, draft } = context;
  const { byComponent } = state.instances;
  let described = 0;
  for (const { key } of componentsOf(state)) if (byComponent.has(key)) described += 1;
  if (described === byComponent.size) return;
  for (const group of byComponent.values()) {
    const [first] = group;
    if (first === undefined || componentOf(state, first.app, first.component) !== undefined) continue;
    const forgotten: FateOf = (each) => {
      if (each.singleton !== true) return FORGOTTEN;
      return each.ending === undefined ? fateOfSingleton(each, FORGOTTEN, observed) : fateOf(each);
    };
    drop(draft.ofComponent(componentKey(first.app, first.component)), forgotten, context);
  }
}

/** Instances of hosts that have been away for too long. Answers what becomes of those on each host. */
function dropAway(context: Context): ReadonlyMap<string, HostFate> {
  const { state, observed, nowMs, draft } = context;
  const fates = new Map<string, HostFate>();
  for (const name of state.instances.byHost.keys()) {
    const fate = fateOnHost(name, state, observed, nowMs);
    fates.set(name, fate);
    if (!isUsable(observed.hosts.get(name))) drop(draft.onHost(name), fate.of, context);
  }
  return fates;
}

/** Components that may need something. */
function unsettledOf(
  { state, observed, draft }: Context,
  settled: SettledComponents | undefined,
): readonly ComponentEntry[] {
  const entries = componentsOf(state);
  if (settled === undefined) return entries;
  settled.begin(state);
  return entries.filter((entry) => !settled.has(entry, draft.ofComponent(entry.key), state, observed));
}

function drop(instances: readonly InstanceRecord[], fateOf: FateOf, { state, nowMs, draft, steps }: Context): void {
  const revision = state.revision + 1;
  for (const instance of [...instances]) {
    const fate = fateOf(instance);
    if (fate === null) continue;
    steps.push(stepOf(instance, fate.kind, fate.why));
    if (fate.kind !== 'ending') draft.remove(instance);
    else {
      const { draining = { sinceMs: nowMs, revision } } = instance;
      draft.put({ ...instance, draining, ending: { revision, why: fate.why } });
    }
  }
}

/** Null when the component has exactly the instances that it shall have. */
function wishOf(entry: ComponentEntry, someDrained: boolean, { state, draft }: Context): Wish | null {
  const { app, name: component, key, component: described, generation } = entry;
  const target = own(state.targets, key);
  // What runs of an earlier source goes on until there is something to take its place.
  if (target === undefined || awaitsBuild(described)) return null;
  const wanted = own(state.overrides, key) ?? target.count;
  const { size } = target;
  const group = draft.ofComponent(key);
  const isCurrent = (each: InstanceRecord) =>
    each.generation === generation && !(someDrained && isDrained(state, each.host));
  const isAsWanted = (each: InstanceRecord) =>
    each.draining === undefined && sameSize(each.size, size) && isCurrent(each);
  if (group.length === wanted && group.every(isAsWanted)) return null;
  const staying = group.filter((each) => each.draining === undefined);
  const current = staying.filter(isCurrent);
  const old = staying.filter((each) => !isCurrent(each));
  const someDrain = staying.length < group.length;
  return { key, app, component, described, wanted, size, generation, current, old, someDrain };
}

function isResizeOnly({ wanted, current, old, someDrain }: Wish): boolean {
  return wanted === current.length && old.length === 0 && !someDrain;
}

/** Drains, resizes and creates, in this order: what shrinks or goes makes room for the rest. Answers the id counters that rose. */
function fulfil(wishes: readonly Wish[], context: Context): Counters {
  const { observed } = context;
  const leaving = new Set<InstanceRecord>();
  const shrinking = new Set<Wish>();
  for (const wish of wishes) {
    const { wanted, current, old } = wish;
    // Old ones leave as new ones get ready.
    const ready = old.length === 0 ? 0 : current.filter((each) => isReady(each, observed)).length;
    const kept = wish.described.singleton === true ? 0 : Math.max(0, wanted - ready);
    const oldLeaving = leavingFirst(old, Math.max(0, old.length - kept), observed);
    const surplus = leavingFirst(current, Math.max(0, current.length - wanted), observed);
    drainOld(oldLeaving, context);
    drain(surplus, `count falls to ${wanted}`, context);
    for (const each of [...oldLeaving, ...surplus]) leaving.add(each);
    if (oldLeaving.length + surplus.length > 0) shrinking.add(wish);
  }
  const urgent = wishes.toSorted((a, b) => priorityOf(b.described) - priorityOf(a.described) || compareNames(a, b));
  resizeAll(urgent, leaving, context);
  const { counters, waiting } = create(urgent, context);
  for (const { wish } of waiting) {
    // When there is no room for old and new, one at a time makes way; on a drained host that would free no room.
    const replaceable = wish.old.filter((each) => !isDrained(context.state, each.host));
    const idle = !wish.someDrain && !shrinking.has(wish);
    if (idle && replaceable.length > 0) drainOld(leavingFirst(replaceable, 1, observed), context);
  }
  giveWay(waiting, counters, context);
  return counters;
}

function compareNames(a: Wish, b: Wish): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

type Counters = Record<string, number>;

/** A component of which some instances found no host. */
interface Waiting {
  wish: Wish;
  group: PlaceGroup;
}

function create(wishes: readonly Wish[], context: Context): { counters: Counters; waiting: Waiting[] } {
  const { state, brain, draft, steps } = context;
  const waiting: Waiting[] = [];
  const asked = wishes.filter(({ wanted, current, described, key }) => {
    // A singleton begins when the one before is known to have ended.
    return wanted > current.length && !(described.singleton === true && draft.ofComponent(key).length > 0);
  });
  if (asked.length === 0) return { counters: {}, waiting };
  const counters: Counters = {};
  // Two apps may share a prefix (a-b with c, a with b-c); then each gets numbers of its own.
  const reserved = new Map<string, number>();
  const hosts = openHosts(context);
  const steady = hosts.filter(({ unsteady }) => unsteady !== true);
  const asks = asked.map((wish) => {
    const unsteady = !steady.some((host) => admits(host, rulesOf(wish.described)));
    return { wish, groups: groupsOf(wish, nextIds(reserved, wish, state), unsteady, context) };
  });
  const hostsOf = (key: string) => draft.ofComponent(key).map(({ host }) => host);
  const placement = brain.place({ groups: asks.flatMap(({ groups }) => groups), hosts, hostsOf });
  for (const { wish, groups } of asks) {
    let missing = 0;
    for (const group of groups) {
      const left = group.ids.filter((id) => !placement.hosts.has(id));
      for (const id of group.ids) put(wish, id, placement.hosts.get(id), counters, context);
      // The more urgent group comes first; the other one waits behind it.
      if (left.length > 0 && missing === 0) waiting.push({ wish, group: { ...group, ids: left } });
      missing += left.length;
    }
    if (missing === 0) continue;
    const { app, component } = wish;
    const why = placement.unplaced.get(componentKey(app, component)) ?? 'no host has room';
    steps.push({
      app,
      component,
      instance: '',
      kind: 'unplaced',
      message: `${missing} instances wait for room: ${why}`,
    });
  }
  return { counters, waiting };
}

function put(wish: Wish, id: string, host: string | undefined, counters: Counters, context: Context): void {
  if (host === undefined) return;
  const { app, component, size, generation } = wish;
  const { draft, state, nowMs, steps } = context;
  const createdRevision = state.revision + 1;
  const singleton = wish.described.singleton === true ? { singleton: true } : {};
  const made = { id, app, component, host, size, generation, createdAtMs: nowMs, createdRevision };
  const exclusive = wish.described.exclusive === true ? { exclusive: true } : {};
  const instance: InstanceRecord = { ...made, ...singleton, ...exclusive };
  draft.put(instance);
  const prefix = prefixOf(wish);
  counters[prefix] = Math.max(own(counters, prefix) ?? 0, numberOf(instance) + 1);
  steps.push(stepOf(instance, 'created', `on ${host}, ${describeSize(size)}`));
}

/** Those that its minimum asks for, and the rest. */
function groupsOf(wish: Wish, ids: readonly string[], unsteady: boolean, { state, measured }: Context): PlaceGroup[] {
  const { app, component, size, described, current } = wish;
  const components = own(state.apps, app)?.manifest.components ?? {};
  const keyOf = (name: string) => componentKey(app, name);
  // Who keeps apart from this one is as little wanted beside it as the other way round.
  const averse = Object.keys(components).filter((name) => components[name]?.place?.apart.includes(component));
  const apart = [...new Set([...(described.place?.apart ?? []), ...averse])].map(keyOf);
  const near = new Map<string, number>();
  const talk = new Map(Object.keys(components).map((name) => [name, measured.talkOf(keyOf(name))]));
  for (const [name, share] of talkShares(component, talk) ?? unmeasuredShares(wish)) near.set(keyOf(name), share);
  for (const name of described.place?.near ?? []) near.set(keyOf(name), 1);
  const exclusive = described.exclusive === true ? { exclusive: true } : {};
  const common = { key: keyOf(component), size, ...exclusive, priority: priorityOf(described), near, apart, unsteady };
  const rules = rulesOf(described);
  const base = rules === undefined ? common : { ...common, rules };
  const needed = Math.max(0, described.count.min - current.length);
  const groups = [
    { ...base, ids: ids.slice(0, needed), needed: true },
    { ...base, ids: ids.slice(needed), needed: false },
  ];
  return groups.filter((group) => group.ids.length > 0);
}

function rulesOf({ place, singleton }: Component): PlaceRules | undefined {
  if (singleton !== true) return place;
  const rules = place ?? PLACE_DEFAULT;
  return { ...rules, require: { ...rules.require, ...LEASED } };
}

/** Until what they say to each other has been measured, all that it may call count alike. */
function unmeasuredShares({ described, component }: Wish): ReadonlyMap<string, number> {
  const callees = described.calls.filter((name) => name !== component);
  return new Map(callees.map((name) => [name, UNMEASURED_NEAR / callees.length]));
}

function nextIds(reserved: Map<string, number>, wish: Wish, { counters }: ClusterState): string[] {
  const prefix = prefixOf(wish);
  const first = reserved.get(prefix) ?? own(counters, prefix) ?? 0;
  const count = wish.wanted - wish.current.length;
  reserved.set(prefix, first + count);
  return Array.from({ length: count }, (_, index) => `${prefix}-${first + index}`);
}

function prefixOf({ app, component }: Wish): string {
  return `${app}-${component}`;
}

/** A label that hosts have whose agents know of leases; others get no singletons. */
const LEASED = { 'shoal.leases': 'kept' };

/** Hosts that may get new instances: those that are well, and those that flap, for what no other may have. */
function openHosts({ state, observed, draft, nowMs }: Context): PlaceHost[] {
  const open = usableHosts(observed).filter(({ info }) => !Object.hasOwn(state.cordons, info.name));
  return open.flatMap((host) => {
    const { state: standing } = standingOf(host, observed, nowMs);
    if (standing !== 'well' && standing !== 'flapping') return [];
    const { name, cores, memoryBytes, labels = {}, taints = [], ownCores = 0 } = host.info;
    const known = host.keepsLeases ? { ...labels, ...LEASED } : labels;
    const unsteady = standing === 'flapping' ? { unsteady: true } : {};
    return { name, cores, memoryBytes, labels: known, taints, ownCores, ...unsteady, running: draft.onHost(name) };
  });
}

/** Makes room for those that wait, at the cost of lower priorities. */
function giveWay(waiting: readonly Waiting[], counters: Counters, context: Context): void {
  const { draft, steps } = context;
  if (waiting.length === 0) return;
  const open = openHosts(context);
  const claims = waiting.map(({ wish, group }): RoomClaim & Waiting => {
    const byName = new Map(open.map((host) => [host.name, host]));
    const isAllowed = (name: string) => {
      const host = byName.get(name);
      const alone = group.apart.every((key) => draft.ofComponent(key).every((each) => each.host !== name));
      if (host === undefined || !alone || !isSteadyEnough(host, group)) return false;
      return admits(host, group.rules) && hasOwnCores(host, group);
    };
    const { key, priority, needed } = group;
    return { key, size: takes(group), priority, needed, isAllowed, wish, group };
  });
  const surplus = new Map<string, number>();
  const hosts = open.map(({ name, cores, memoryBytes }): RoomHost => {
    return {
      name,
      cores,
      memoryBytes,
      running: draft.onHost(name).map((each) => roomInstance(each, surplus, context)),
    };
  });
  for (const room of makeRoom(claims, hosts, surplus)) {
    const claim = claims.find(({ key }) => key === room.claim.key);
    if (claim === undefined) continue;
    const changed = room.kind === 'shrink' ? room.cpu.keys() : room.ids;
    for (const id of changed) {
      const instance = draft.onHost(room.host).find((each) => each.id === id);
      if (instance === undefined) continue;
      const why = `gave way to ${claim.key} of priority ${claim.priority}${claim.needed ? ', for its min' : ''}`;
      if (room.kind === 'end') drain([instance], `${why}${belowMin(instance, context)}`, context, 'gave-way');
      else {
        const size = { ...instance.size, cpu: room.cpu.get(id) ?? instance.size.cpu };
        draft.put({ ...instance, size });
        steps.push(stepOf(instance, 'gave-way', `to ${describeSize(size)}: ${why}`));
      }
    }
    const [id] = claim.group.ids;
    if (room.kind === 'shrink' && id !== undefined) put(claim.wish, id, room.host, counters, context);
  }
}

/** Those cores that are single instances' own can be had only from who has some too, which nobody is ended for. */
function hasOwnCores({ ownCores = 0, running }: PlaceHost, group: PlaceGroup): boolean {
  const taken = ownCoresOf(group);
  return taken === 0 || allottedOwnCores(allottedBy(running)) + taken <= ownCores;
}

/** Whether the instance's component has fewer than its minimum once it is gone, in words. */
function belowMin({ app, component }: InstanceRecord, { state, draft }: Context): string {
  const min = componentOf(state, app, component)?.count.min ?? 0;
  const staying = draft.ofComponent(componentKey(app, component)).filter((each) => each.draining === undefined);
  const left = staying.length - 1;
  return left < min ? `; ${left} of its min of ${min} are left` : '';
}

/** Notes on the way how many instances above its minimum each component has. */
function roomInstance(instance: InstanceRecord, surplus: Map<string, number>, { state, draft }: Context): RoomInstance {
  const { id, app, component } = instance;
  const size = takes(instance);
  const key = componentKey(app, component);
  const described = componentOf(state, app, component);
  if (!surplus.has(key)) {
    const staying = draft.ofComponent(key).filter((each) => each.draining === undefined).length;
    surplus.set(key, staying - (described?.count.min ?? 0));
  }
  // Cores of its own it keeps.
  const least = instance.exclusive === true ? size.cpu : (described?.size.cpu.min ?? size.cpu);
  const cpuMin = Math.min(size.cpu, least);
  return { id, key, size, priority: priorityOf(described), cpuMin, draining: instance.draining !== undefined };
}

function priorityOf(component: Component | undefined): number {
  return component?.priority ?? PRIORITY_DEFAULT;
}

function drainOld(leaving: readonly InstanceRecord[], context: Context): void {
  for (const instance of leaving) {
    const drained = isDrained(context.state, instance.host);
    drain([instance], drained ? `its host ${instance.host} is drained` : 'replaced by the new manifest', context);
  }
}

function drain(
  leaving: readonly InstanceRecord[],
  why: string,
  { state, nowMs, draft, steps }: Context,
  kind: Step['kind'] = 'draining',
): void {
  for (const instance of leaving) {
    draft.put({ ...instance, draining: { sinceMs: nowMs, revision: state.revision + 1 } });
    steps.push(stepOf(instance, kind, why));
  }
}

/** Less CPU growth than this is not worth a resize, in cores. */
const GROWTH_MIN = 0.01;

/** Brings those that stay to the sizes wanted. What shrinks makes room for what grows, the most urgent first. */
function resizeAll(urgent: readonly Wish[], leaving: ReadonlySet<InstanceRecord>, context: Context): void {
  const { draft, observed } = context;
  const rooms = new HostRooms((name) => draft.onHost(name), observed);
  const plans = urgent.map((wish) => {
    const staying = [...wish.current, ...wish.old].filter((each) => !leaving.has(each));
    return { wish, staying, sizes: staying.map((each) => shrunk(each, wish.size, rooms)) };
  });
  for (const { wish, staying, sizes } of plans) {
    for (const [i, each] of staying.entries()) sizes[i] = grown(each, sizes[i] as Size, wish.size, rooms);
  }
  for (const { wish, staying, sizes } of plans) putSizes(wish, staying, sizes, context);
}

function shrunk(instance: InstanceRecord, wanted: Size, rooms: HostRooms): Size {
  const { size: present } = instance;
  if (wanted.cpu >= present.cpu && wanted.memory >= present.memory) return present;
  const size = { cpu: Math.min(present.cpu, wanted.cpu), memory: Math.min(present.memory, wanted.memory) };
  rooms.take(instance, present, size);
  return size;
}

/** As far as the host has room. */
function grown(instance: InstanceRecord, present: Size, wanted: Size, rooms: HostRooms): Size {
  if (sameSize(present, wanted)) return wanted;
  const room = rooms.for(instance);
  const most = Math.max(present.cpu, Math.min(wanted.cpu, present.cpu + room.cpu));
  const cpu = most === wanted.cpu || most - present.cpu >= GROWTH_MIN ? most : present.cpu;
  const memory = wanted.memory <= present.memory + room.memory ? wanted.memory : present.memory;
  const size = { cpu, memory };
  rooms.take(instance, present, size);
  return size;
}

/** One step for all that are resized alike. */
function putSizes(wish: Wish, staying: readonly InstanceRecord[], sizes: readonly Size[], context: Context): void {
  const alike: { from: Size; to: Size; ids: string[] }[] = [];
  for (const [i, instance] of staying.entries()) {
    const [from, to] = [instance.size, sizes[i] as Size];
    if (sameSize(from, to)) continue;
    context.draft.replace(wish.key, instance, { ...instance, size: to });
    const known = alike.find((each) => sameSize(each.from, from) && sameSize(each.to, to));
    if (known === undefined) alike.push({ from, to, ids: [instance.id] });
    else known.ids.push(instance.id);
  }
  const { app, component } = wish;
  for (const { from, to, ids } of alike) {
    const [first = ''] = ids;
    const change = `from ${describeSize(from)} to ${describeSize(to)}`;
    const step = { app, component, kind: 'resized' as const };
    if (ids.length === 1) context.steps.push({ ...step, instance: first, message: change });
    else context.steps.push({ ...step, instance: '', message: `${ids.length} instances ${change}`, count: ids.length });
  }
}

/** So many of them: those that serve nobody yet first, then the newest; last those that somebody has paused to look at. */
function leavingFirst(instances: readonly InstanceRecord[], count: number, observed: Observed): InstanceRecord[] {
  if (count === 0) return [];
  const rank = (each: InstanceRecord) => (each.paused === true ? 2 : isReady(each, observed) ? 1 : 0);
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

function noteLost({ app, component, shards }: LostShards, steps: Step[]): void {
  const message = `no copy is left of state shards ${shards.join(', ')}: they begin empty`;
  steps.push({ app, component, instance: '', kind: 'state-lost', message, count: shards.length });
}

function noteShards(before: ClusterState, after: ClusterState, steps: Step[]): void {
  for (const [key, record] of Object.entries(after.shards)) {
    const old = own(before.shards, key);
    if (old === record) continue;
    const moved = record.owners.filter((owner, shard) => owner !== (old?.owners[shard] ?? null)).length;
    const [app = '', component = ''] = key.split('/');
    const message = `${moved} of ${record.owners.length} state shards, epoch ${record.epoch}`;
    steps.push({ app, component, instance: '', kind: 'shards-assigned', message });
  }
}
