import { isDeepStrictEqual } from 'node:util';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { Desired, DesiredWarm, Size } from '../protocol/link.js';
import { type Component, hasShards, type Manifest, type PlanMode, shardCountOf } from '../protocol/manifest.js';
import type { CopyRecord } from '../protocol/state-copies.js';
import { keyOfName } from '../protocol/state-copies-parse.js';
import { clamp } from './brain/need.js';
import { warmOn } from './brain/warm-pool.js';
import { withChanged } from './changed-keys.js';
import { copiesDiffer, copiesOn } from './copies-on.js';
import { elsewhereDiffers, elsewhereFor } from './elsewhere.js';
import {
  componentKey,
  findInstance,
  InstanceDraft,
  type InstanceRecord,
  type InstanceTable,
  NO_INSTANCES,
} from './instance-table.js';
import { interned } from './interned.js';
import type { JoinedRecord, JoinTokenRecord } from './joining.js';
import type { KnownEventRecord } from './known-events.js';
import type { Release } from './releases.js';
import type { RevokedRecord } from './revoking.js';
import { type SecretRecord, secretKey, versionsFor } from './secrets.js';

export { componentKey, type InstanceRecord } from './instance-table.js';

/**
 * The cluster as the coordinator wants it: plain data, changed only by pure functions that return a new state and share
 * all that did not change, so that persistence can tell by identity what to write. Times are ms since the epoch.
 */
export interface ClusterState {
  /** Rises with every change; agents ignore an older desired state than the one they applied. */
  revision: number;
  apps: Readonly<Record<string, AppRecord>>;
  instances: InstanceTable;
  /** `<app>-<component>` → next number of an instance id. Kept after the app is gone: ids are never reused. */
  counters: Readonly<Record<string, number>>;
  /** By component key. */
  targets: Readonly<Record<string, Target>>;
  overrides: Readonly<Record<string, number>>;
  /** By app or component key: what was set in place of the manifest's mode. */
  modes: Readonly<Record<string, PlanMode>>;
  /** By component key: those that were paused by hand, all their instances with them. */
  pauses: Readonly<Record<string, Pause>>;
  /** By app and name: values, sealed. */
  secrets: Readonly<Record<string, SecretRecord>>;
  shards: Readonly<Record<string, ShardRecord>>;
  /** By `<app>/<component>/<shard>`: where the copies of a state shard are. */
  copies: Readonly<Record<string, CopyRecord>>;
  /** By component key: what was lost of its state since it was applied. */
  stateLost: Readonly<Record<string, StateLost>>;
  /** By component key, the earliest first. */
  knownEvents: Readonly<Record<string, readonly KnownEventRecord[]>>;
  /** By host name: those that get no new instances. */
  cordons: Readonly<Record<string, Cordon>>;
  /** By id. */
  joinTokens: Readonly<Record<string, JoinTokenRecord>>;
  /** By host name: those that joined by a token, and those whose certificates were made void. */
  joined: Readonly<Record<string, JoinedRecord>>;
  /** By serial: certificates that are void before they expire. */
  revoked: Readonly<Record<string, RevokedRecord>>;
}

/** State shards of which no copy was left, and that began empty. */
export interface StateLost {
  /** All together, one that was lost twice counts twice. */
  total: number;
  /** By number of the shard: when it last began empty. */
  atMs: Readonly<Record<string, number>>;
}

export interface Pause {
  sinceMs: number;
}

/** Where a mode was said: by hand for the component or for its app, or in the manifest. */
export type ModeSource = 'component' | 'app' | 'manifest';

export interface Cordon {
  /** Its instances are to go elsewhere as well. */
  drain: boolean;
  sinceMs: number;
}

export interface AppRecord {
  /** Counts the accepted manifests of this app. */
  revision: number;
  manifest: Manifest;
  /** Component → app revision at which its running instances last had to be replaced. */
  generations: Readonly<Record<string, number>>;
  /** Component → the revision of its source that runs, once one was built. Absent: none is built from code. */
  releases?: Readonly<Record<string, Release>>;
  /** Component → how often somebody asked for a build. */
  looks?: Readonly<Record<string, number>>;
  /** Component → the revision whose build was cancelled last, until somebody asks for a build. */
  cancelled?: Readonly<Record<string, string>>;
  /** Of the secrets that components have as files, by name; 0: not set. Absent: none has any. */
  secretVersions?: Readonly<Record<string, number>>;
}

/** What the plan wants of a component, before a manual override. */
export interface Target {
  count: number;
  size: Size;
  /** Processes that shall wait on each host, within what the manifest allows; absent: as many as that. */
  warm?: number;
}

export interface ShardRecord {
  epoch: number;
  owners: readonly (string | null)[];
  changedAtMs: number;
  /** The set of owners has changed, and they have not all got their share yet. */
  filling?: true;
}

export const EMPTY_CLUSTER: ClusterState = {
  revision: 0,
  apps: {},
  instances: NO_INSTANCES,
  counters: {},
  targets: {},
  overrides: {},
  modes: {},
  pauses: {},
  secrets: {},
  shards: {},
  copies: {},
  stateLost: {},
  knownEvents: {},
  cordons: {},
  joinTokens: {},
  joined: {},
  revoked: {},
};

export function componentOf(state: ClusterState, app: string, component: string): Component | undefined {
  const record = own(state.apps, app);
  return record === undefined ? undefined : own(described(record), component);
}

const describedKnown = new WeakMap<AppRecord, Readonly<Record<string, Component>>>();

/** The components of the manifest, those that are built from code with the revision that is to run. */
export function described(record: AppRecord): Readonly<Record<string, Component>> {
  const { manifest, releases, looks, cancelled, secretVersions } = record;
  const isAsGiven = [releases, looks, cancelled, secretVersions].every((each) => each === undefined);
  if (isAsGiven) return manifest.components;
  let components = describedKnown.get(record);
  if (components === undefined) {
    const entries = Object.entries(manifest.components).map(([name, given]): [string, Component] => {
      const component = withVersions(given, secretVersions);
      if (component.source.kind !== 'build') return [name, component];
      const release = own(releases ?? {}, name);
      const asked = own(looks ?? {}, name);
      const ended = own(cancelled ?? {}, name);
      const source = {
        ...component.source,
        ...(release === undefined ? {} : { revision: release.revision }),
        ...(asked === undefined ? {} : { looks: asked }),
        ...(ended === undefined ? {} : { cancelled: ended }),
      };
      return [name, { ...component, source }];
    });
    components = Object.fromEntries(entries);
    describedKnown.set(record, components);
  }
  return components;
}

function withVersions(component: Component, versions: Readonly<Record<string, number>> | undefined): Component {
  const { secrets } = component;
  if (secrets === undefined || versions === undefined) return component;
  return { ...component, secretVersions: secrets.map((name) => own(versions, name) ?? 0) };
}

/** Whether nothing of the component can run yet: it is built from code, and no revision has been built. */
export function awaitsBuild({ source }: Component): boolean {
  return source.kind === 'build' && source.revision === undefined;
}

/** A component with what it is known by. */
export interface ComponentEntry {
  app: string;
  name: string;
  key: string;
  component: Component;
  /** App revision at which its running instances last had to be replaced. */
  generation: number;
}

/** Made once for each set of apps, since the loop needs them all several times a second. */
const componentsKnown = new WeakMap<ClusterState['apps'], readonly ComponentEntry[]>();

/** All components, app by app. */
export function componentsOf({ apps }: ClusterState): readonly ComponentEntry[] {
  let components = componentsKnown.get(apps);
  if (components === undefined) {
    components = Object.values(apps).flatMap(entriesOf);
    componentsKnown.set(apps, components);
  }
  return components;
}

/** Made once for each accepted manifest, since the loop needs them all once a second. */
const entriesKnown = new WeakMap<AppRecord, readonly ComponentEntry[]>();

function entriesOf(record: AppRecord): readonly ComponentEntry[] {
  let entries = entriesKnown.get(record);
  if (entries === undefined) {
    const { manifest, generations, revision } = record;
    const { app } = manifest;
    entries = Object.entries(described(record)).map(([name, component]) => {
      const generation = own(generations, name) ?? revision;
      return { app, name, key: interned(componentKey(app, name)), component, generation };
    });
    entriesKnown.set(record, entries);
  }
  return entries;
}

/** In the order of their numbers. */
export function instancesOf(state: ClusterState, app: string, component: string): readonly InstanceRecord[] {
  return state.instances.byComponent.get(componentKey(app, component)) ?? [];
}

/** Accepts a manifest. The same manifest again changes nothing. */
export function applyManifest(state: ClusterState, manifest: Manifest): ClusterState {
  assertPortsFree(state, manifest);
  const before = own(state.apps, manifest.app);
  if (before !== undefined && isDeepStrictEqual(before.manifest, manifest)) return state;
  const revision = (before?.revision ?? 0) + 1;
  const generations: Record<string, number> = {};
  const gone = Object.keys(before?.manifest.components ?? {}).filter(
    (name) => !Object.hasOwn(manifest.components, name),
  );
  const settings = withoutComponents(state, manifest.app, gone);
  const { targets, overrides } = settings;
  for (const [name, component] of Object.entries(manifest.components)) {
    const old = before === undefined ? undefined : own(before.manifest.components, name);
    if (old !== undefined) checkShardCount(componentKey(manifest.app, name), old, component);
    const kept = old !== undefined && !needsReplacement(old, component);
    generations[name] = kept ? (own(before?.generations ?? {}, name) ?? revision) : revision;
    const key = componentKey(manifest.app, name);
    targets[key] = clampTarget(component, own(state.targets, key) ?? firstTarget(component));
    const override = own(state.overrides, key);
    if (override !== undefined) overrides[key] = Math.min(override, component.count.max);
  }
  const versions = versionsFor(state, manifest);
  const secretVersions = Object.keys(versions).length === 0 ? {} : { secretVersions: versions };
  const record = { revision, manifest, generations, ...keptReleases(before, manifest, generations), ...secretVersions };
  return bump({ ...state, apps: { ...state.apps, [manifest.app]: record }, ...settings });
}

/** What runs of the sources that stay as they were. What it was to go back to is of an earlier description, and forgotten. */
function keptReleases(
  before: AppRecord | undefined,
  manifest: Manifest,
  generations: Readonly<Record<string, number>>,
): Pick<AppRecord, 'releases' | 'looks' | 'cancelled'> {
  const { releases = {}, looks = {}, cancelled = {} } = before ?? {};
  const isSame = (name: string) =>
    isDeepStrictEqual(before?.manifest.components[name]?.source, own(manifest.components, name)?.source);
  const kept = Object.entries(releases).filter(([name]) => isSame(name));
  const current = kept.map(([name, { previous, ...release }]): [string, Release] => {
    const same = previous !== undefined && before?.generations[name] === generations[name];
    return [name, same ? { ...release, previous } : release];
  });
  const asked = Object.entries(looks).filter(([name]) => isSame(name));
  const ended = Object.entries(cancelled).filter(([name]) => isSame(name));
  return {
    ...(current.length === 0 ? {} : { releases: Object.fromEntries(current) }),
    ...(asked.length === 0 ? {} : { looks: Object.fromEntries(asked) }),
    ...(ended.length === 0 ? {} : { cancelled: Object.fromEntries(ended) }),
  };
}

/** Forgets an app; reconcile then drops its instances. Only its counters stay. */
export function deleteApp(state: ClusterState, app: string): ClusterState {
  const record = own(state.apps, app);
  if (record === undefined) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no app ${app}`);
  const { [app]: _gone, ...apps } = state.apps;
  const settings = withoutComponents(state, app, Object.keys(record.manifest.components));
  delete settings.modes[app];
  const copies = Object.keys(state.copies).filter((name) => name.startsWith(`${app}/`));
  return bump({ ...state, apps, ...settings, ...withoutCopies(state, copies) });
}

/** What was lost of the state of components, with these shards of one of them. */
export function withLost(
  { stateLost }: ClusterState,
  key: string,
  shards: readonly number[],
  nowMs: number,
): ClusterState['stateLost'] {
  const { total, atMs } = own(stateLost, key) ?? { total: 0, atMs: {} };
  const now = Object.fromEntries(shards.map((shard) => [shard, nowMs]));
  return { ...stateLost, [key]: { total: total + shards.length, atMs: { ...atMs, ...now } } };
}

/**
 * Records of copies without these, whose epochs stay taken: who still holds such a copy, since its agent was away, knows by
 * them that a later record of the same name is of another life.
 */
export function withoutCopies(
  state: ClusterState,
  names: readonly string[],
): Pick<ClusterState, 'copies' | 'counters'> {
  const copies = { ...state.copies } as Record<string, CopyRecord>;
  const counters = { ...state.counters } as Record<string, number>;
  for (const name of names) {
    const { epoch } = copies[name] as CopyRecord;
    const taken = epochsCounter(keyOfName(name));
    // A pass under way has the epoch after its own.
    counters[taken] = Math.max(counters[taken] ?? 0, epoch + 1);
    delete copies[name];
  }
  return { copies, counters };
}

/** Up to which epoch records of the component's earlier lives went. */
export function epochsBefore({ counters }: ClusterState, key: string): number {
  return own(counters, epochsCounter(key)) ?? 0;
}

/** No prefix of instance ids is like that. */
function epochsCounter(key: string): string {
  return `epochs/${key}`;
}

/** Copies of what is set for components, without these. */
function withoutComponents(state: ClusterState, app: string, names: readonly string[]) {
  const settings = {
    targets: { ...state.targets } as Record<string, Target>,
    overrides: { ...state.overrides } as Record<string, number>,
    modes: { ...state.modes } as Record<string, PlanMode>,
    pauses: { ...state.pauses } as Record<string, Pause>,
    knownEvents: { ...state.knownEvents } as Record<string, readonly KnownEventRecord[]>,
    stateLost: { ...state.stateLost } as Record<string, StateLost>,
  };
  for (const name of names) for (const each of Object.values(settings)) delete each[componentKey(app, name)];
  return settings;
}

/** Sets the count by hand (null: back to the plan). */
export function setOverride(state: ClusterState, app: string, component: string, count: number | null): ClusterState {
  const found = componentOf(state, app, component);
  if (found === undefined) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no component ${app}/${component}`);
  const key = componentKey(app, component);
  if (count === null) {
    if (!Object.hasOwn(state.overrides, key)) return state;
    const { [key]: _gone, ...overrides } = state.overrides;
    return bump({ ...state, overrides });
  }
  if (!Number.isInteger(count) || count < 0) {
    throw new ShoalError('SHOAL_E_USAGE', `count must be an integer of at least 0, not ${count}`);
  }
  if (count > found.count.max) {
    throw new ShoalError('SHOAL_E_CONFLICT', `count ${count} is above count.max ${found.count.max} of the manifest`);
  }
  if (state.overrides[key] === count) return state;
  return bump({ ...state, overrides: { ...state.overrides, [key]: count } });
}

/**
 * Sets by hand whether plans are acted on, for a whole app or for one component, which goes before its app. Null: back to
 * what the app, then the manifest says.
 */
export function setMode(
  state: ClusterState,
  app: string,
  component: string | null,
  mode: PlanMode | null,
): ClusterState {
  if (own(state.apps, app) === undefined) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no app ${app}`);
  if (component !== null && componentOf(state, app, component) === undefined) {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no component ${app}/${component}`);
  }
  const key = component === null ? app : componentKey(app, component);
  if ((own(state.modes, key) ?? null) === mode) return state;
  const { [key]: _before, ...modes } = state.modes;
  return bump({ ...state, modes: mode === null ? modes : { ...modes, [key]: mode } });
}

/** Freezes all instances of a component by hand, and holds its plan. Null: they go on. */
export function setPause(state: ClusterState, app: string, component: string, pause: Pause | null): ClusterState {
  if (componentOf(state, app, component) === undefined) {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no component ${app}/${component}`);
  }
  const key = componentKey(app, component);
  const { [key]: before, ...pauses } = state.pauses;
  if ((before === undefined) === (pause === null)) return state;
  return bump({ ...state, pauses: pause === null ? pauses : { ...pauses, [key]: pause } });
}

/** Freezes one instance by hand, or lets it go on. */
export function pauseInstance(state: ClusterState, id: string, paused: boolean): ClusterState {
  const instance = findInstance(state.instances, id);
  if (instance === undefined) throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no instance ${id}`);
  const { app, component, paused: before = false, ...rest } = instance;
  if (paused && hasShards(componentOf(state, app, component))) {
    const remedy = `its state shards could not be reached or moved; pause ${app}/${component} as a whole`;
    throw new ShoalError('SHOAL_E_CONFLICT', `${id} cannot be paused alone: ${remedy}`);
  }
  if (before === paused) return state;
  const draft = new InstanceDraft(state.instances);
  draft.put({ app, component, ...rest, ...(paused ? { paused } : {}) });
  return bump({ ...state, instances: draft.finish() });
}

/** Whether the plan of a component is acted on, and who said so. */
export function modeOf(state: ClusterState, app: string, component: string): { mode: PlanMode; by: ModeSource } {
  const key = componentKey(app, component);
  const set = own(state.modes, key);
  if (set !== undefined) return { mode: set, by: 'component' };
  const ofApp = own(state.modes, app);
  if (ofApp !== undefined) return { mode: ofApp, by: 'app' };
  return { mode: componentOf(state, app, component)?.mode ?? 'act', by: 'manifest' };
}

/** The same for the loop, which knows the component's key and its manifest entry. */
export function planModeOf(state: ClusterState, app: string, key: string, component: Component): PlanMode {
  // What it is measured to need says nothing while it is frozen.
  if (Object.hasOwn(state.pauses, key)) return 'observe';
  return own(state.modes, key) ?? own(state.modes, app) ?? component.mode ?? 'act';
}

/** Takes the plan's results, held inside what the manifests allow; the targets are copied only once. */
export function setTargets(
  state: ClusterState,
  results: Iterable<{ key: string; component: Component; target: Target }>,
): ClusterState {
  const changes: Record<string, Target> = {};
  for (const { key, component, target } of results) {
    const before = own(state.targets, key);
    const next = clampTarget(component, target);
    if (!isSameTarget(before, next)) changes[key] = next;
  }
  if (Object.keys(changes).length === 0) return state;
  return bump({ ...state, targets: withChanged(state.targets, changes) });
}

/** Keeps new instances off the host and, with `drain`, brings those that it has elsewhere. Null: opens it again. */
export function setCordon(state: ClusterState, host: string, cordon: Cordon | null): ClusterState {
  const before = own(state.cordons, host);
  if (before?.drain === cordon?.drain) return state;
  const { [host]: _before, ...cordons } = state.cordons;
  return bump({ ...state, cordons: cordon === null ? cordons : { ...cordons, [host]: cordon } });
}

export function isDrained(state: ClusterState, host: string): boolean {
  return own(state.cordons, host)?.drain === true;
}

/** Whether that instance is to be on that host. */
export function isPlacedOn(
  { instances }: ClusterState,
  host: string,
  { id, app, component }: Pick<InstanceRecord, 'id' | 'app' | 'component'>,
): boolean {
  const group = instances.byComponent.get(componentKey(app, component)) ?? [];
  return group.some((each) => each.id === id && each.host === host);
}

/** How many instances the component shall have: the override, else the plan. */
export function wantedCount(state: ClusterState, app: string, component: string): number {
  const key = componentKey(app, component);
  return own(state.overrides, key) ?? state.targets[key]?.count ?? 0;
}

/**
 * How far agents can lift the numbers of a cluster whose store is older than they are, above what it was when the leader
 * began: more than a cluster counts in decades, and so little that who has stolen an agent's key cannot use the numbers up.
 */
export const LEAP_MAX = 1e9;

/**
 * Lifts the revision above the one an agent has already applied, for example after the store was lost. `first`: when the
 * leader began. Throws SHOAL_E_FRAME where no agent of this cluster can have applied it.
 */
export function raiseRevision(
  state: ClusterState,
  applied: number,
  first: Pick<ClusterState, 'revision'>,
): ClusterState {
  if (applied <= state.revision) return state;
  if (applied > first.revision + LEAP_MAX) {
    const detail = `the agent holds revision ${applied}, and this cluster is at ${state.revision}`;
    throw new ShoalError(
      'SHOAL_E_FRAME',
      `${detail}: remove desired.json of its --run folder if it is of another cluster`,
    );
  }
  return { ...state, revision: applied + 1 };
}

/**
 * Makes sure that no id at or below one that was seen on a host is given out again; `first`: when the leader began. Numbers
 * that no cluster reaches are passed over.
 */
export function noteSeenIds(
  state: ClusterState,
  ids: readonly string[],
  first: Pick<ClusterState, 'counters'>,
): ClusterState {
  let counters = state.counters;
  for (const id of ids) {
    const cut = id.lastIndexOf('-');
    const prefix = id.slice(0, cut);
    const number = Number(id.slice(cut + 1));
    if (cut <= 0 || !Number.isSafeInteger(number) || number < (counters[prefix] ?? 0)) continue;
    if (number > (own(first.counters, prefix) ?? 0) + LEAP_MAX) continue;
    counters = { ...counters, [prefix]: number + 1 };
  }
  return counters === state.counters ? state : { ...state, counters };
}

const NO_ADDRESS = () => null;

/** The value of a sealed secret in base64; undefined when it cannot be had. */
export type ValueOf = (key: string, record: SecretRecord) => string | undefined;
const NO_VALUE: ValueOf = () => undefined;

/**
 * All that one host shall be: its instances, and of the apps and of other hosts those that it has to do with. `addressOf`:
 * where the agent of a host takes others.
 */
export function desiredFor(
  state: ClusterState,
  host: string,
  addressOf: (host: string) => string | null = NO_ADDRESS,
  findValue: ValueOf = NO_VALUE,
): Desired {
  const group = state.instances.byHost.get(host) ?? [];
  const apps: Desired['apps'] = {};
  const shards: Desired['shards'] = {};
  const warm: DesiredWarm[] = [];
  for (const app of appsOn(state, host)) {
    const record = own(state.apps, app);
    const components = record === undefined ? {} : described(record);
    apps[app] = components;
    const present = countByComponent(group.filter((each) => each.app === app));
    warm.push(...warmOn(app, components, present, (name) => own(state.targets, componentKey(app, name))?.warm));
    for (const name of Object.keys(components)) {
      const key = componentKey(app, name);
      const record = own(state.shards, key);
      if (record !== undefined) shards[key] = { epoch: record.epoch, owners: [...record.owners] };
    }
  }
  const staying = group.filter(({ ending }) => ending === undefined);
  const instances = staying.map((each) => {
    const { id, app, component, size, draining, weight } = each;
    return {
      id,
      app,
      component,
      size,
      draining: draining !== undefined,
      ...(weight === undefined ? {} : { weight }),
      ...(isPaused(state, each) ? { paused: true } : {}),
    };
  });
  const elsewhere = elsewhereFor(state, host, addressOf);
  const copies = copiesOn(state, host);
  const secrets = secretsFor(state, new Set(staying.map(({ app }) => app)), findValue);
  return {
    revision: state.revision,
    apps,
    instances,
    shards,
    ...(warm.length === 0 ? {} : { warm }),
    ...(elsewhere.length === 0 ? {} : { elsewhere }),
    ...(Object.keys(copies).length === 0 ? {} : { copies }),
    ...(Object.keys(secrets).length === 0 ? {} : { secrets }),
  };
}

/** Only of apps that run on the host, and only what their components need. */
function secretsFor(
  state: ClusterState,
  apps: ReadonlySet<string>,
  findValue: ValueOf,
): NonNullable<Desired['secrets']> {
  const secrets: NonNullable<Desired['secrets']> = {};
  for (const app of apps) {
    for (const name of Object.keys(own(state.apps, app)?.secretVersions ?? {})) {
      const key = secretKey(app, name);
      const record = own(state.secrets, key);
      const value = record === undefined ? undefined : findValue(key, record);
      if (value === undefined) continue;
      secrets[app] = { ...secrets[app], [name]: value };
    }
  }
  return secrets;
}

/** One that drains goes on, so that it can finish what it has begun. */
export function isPaused(state: ClusterState, { app, component, paused, draining }: InstanceRecord): boolean {
  return draining === undefined && (paused === true || Object.hasOwn(state.pauses, componentKey(app, component)));
}

function countByComponent(instances: readonly { component: string }[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { component } of instances) counts.set(component, (counts.get(component) ?? 0) + 1);
  return counts;
}

/** Whether the host shall be anything else than before, its revision aside. Cheap where nothing of it was touched. */
export function desiredDiffers(before: ClusterState, after: ClusterState, host: string): boolean {
  if (before.instances.byHost.get(host) !== after.instances.byHost.get(host)) return true;
  const related = before.instances !== after.instances || before.copies !== after.copies;
  if (related && elsewhereDiffers(before, after, host)) return true;
  if (before.copies !== after.copies && copiesDiffer(before, after, host)) return true;
  if (before.pauses !== after.pauses) {
    const group = after.instances.byHost.get(host) ?? [];
    if (group.some((each) => isPaused(before, each) !== isPaused(after, each))) return true;
  }
  if (poolsChanged(before.targets, after.targets).some(({ app }) => appsOn(after, host).includes(app))) return true;
  if (before.apps === after.apps && before.shards === after.shards) return false;
  const apps = appsOn(after, host);
  if (!isDeepStrictEqual(appsOn(before, host), apps)) return true;
  return apps.some((app) => {
    const record = own(after.apps, app);
    if (own(before.apps, app) !== record) return true;
    const keys = Object.keys(record?.manifest.components ?? {}).map((name) => componentKey(app, name));
    return keys.some((key) => own(before.shards, key) !== own(after.shards, key));
  });
}

interface PoolChange {
  app: string;
}
const NO_CHANGES: readonly PoolChange[] = [];
/** Asked for each host, but the same for all. */
const poolsKnown = new WeakMap<
  ClusterState['targets'],
  { before: ClusterState['targets']; changes: readonly PoolChange[] }
>();

/** Apps with a component of which more or fewer processes shall wait. */
function poolsChanged(before: ClusterState['targets'], after: ClusterState['targets']): readonly PoolChange[] {
  if (before === after) return NO_CHANGES;
  const known = poolsKnown.get(after);
  if (known?.before === before) return known.changes;
  const keys = Object.keys(after).filter((key) => after[key]?.warm !== own(before, key)?.warm);
  const changes = keys.map((key) => ({ app: key.split('/')[0] ?? '' }));
  poolsKnown.set(after, { before, changes });
  return changes;
}

/**
 * The apps with an instance on the host, those with ports, since every host listens on a port, also while nothing of its
 * app runs there, and those of which something is to be built before it can run anywhere. Nobody on the host could call the others, since calls stay within an app.
 */
export function appsOn(state: ClusterState, host: string): string[] {
  const apps = new Set(appsOfAllHosts(state.apps));
  for (const { app } of state.instances.byHost.get(host) ?? []) if (Object.hasOwn(state.apps, app)) apps.add(app);
  return [...apps].sort();
}

/** Looked up for each host, but changes only with a manifest or a release. */
const concernKnown = new WeakMap<ClusterState['apps'], readonly string[]>();

function appsOfAllHosts(apps: ClusterState['apps']): readonly string[] {
  let names = concernKnown.get(apps);
  if (names === undefined) {
    const concernsAll = (record: AppRecord) =>
      Object.values(described(record)).some((each) => each.ports.length > 0 || awaitsBuild(each));
    names = Object.keys(apps).filter((app) => concernsAll(apps[app] as AppRecord));
    concernKnown.set(apps, names);
  }
  return names;
}

/** The next revision; every transition that changes something ends with it. */
export function bump(state: ClusterState): ClusterState {
  return { ...state, revision: state.revision + 1 };
}

/** The value under a key of the record itself, so that a name like `constructor` finds nothing. */
export function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** Keys would be looked for in other state shards than they are in. */
function checkShardCount(key: string, before: Component, after: Component): void {
  const [old, wanted] = [shardCountOf(before), shardCountOf(after)];
  if (old === 0 || wanted === 0 || old === wanted) return;
  const remedy = `keep it, or remove the component first, which loses its state`;
  throw new ShoalError('SHOAL_E_CONFLICT', `${key} has ${old} state shards and cannot have ${wanted}: ${remedy}`);
}

/** Whether running instances must be replaced; all other changes reach them in place. */
function needsReplacement(before: Component, after: Component): boolean {
  const relevant = (each: Component) => [
    each.source,
    each.command,
    each.env,
    each.state,
    // More or fewer copies of its state are no matter of its processes.
    each.partition === undefined ? undefined : { ...each.partition, replicas: 0 },
    // Where its cache is, and by which password, is the agent's matter.
    each.cache === undefined ? undefined : [each.cache.valueBytesMax, each.cache.near],
    each.ports,
    each.singleton,
    each.exclusive,
    each.secrets,
    each.ready,
    each.alive,
  ];
  return !isDeepStrictEqual(relevant(before), relevant(after));
}

/** Before anything is known of a component: one instance or the minimum, of the largest size, so that it starts fast. */
function firstTarget(component: Component): Target {
  return {
    count: Math.max(1, component.count.min),
    size: { cpu: component.size.cpu.max, memory: component.size.memory.max },
  };
}

export function isSameTarget(a: Target | undefined, b: Target): boolean {
  return (
    a !== undefined &&
    a.count === b.count &&
    a.size.cpu === b.size.cpu &&
    a.size.memory === b.size.memory &&
    a.warm === b.warm
  );
}

function clampTarget({ count, size, warm = 0, warmMin }: Component, target: Target): Target {
  const max = Math.min(count.max, LIMITS.instancesPerComponentMax);
  return {
    count: clamp(Math.round(target.count), count.min, max),
    size: {
      cpu: clamp(target.size.cpu, size.cpu.min, size.cpu.max),
      memory: Math.round(clamp(target.size.memory, size.memory.min, size.memory.max)),
    },
    ...(target.warm === undefined || warmMin === undefined ? {} : { warm: clamp(target.warm, warmMin, warm) }),
  };
}

/** A host port belongs to one app. */
function assertPortsFree(state: ClusterState, manifest: Manifest): void {
  const taken = new Map<number, string>();
  for (const [app, record] of Object.entries(state.apps)) {
    if (app === manifest.app) continue;
    for (const { ports } of Object.values(record.manifest.components))
      for (const { host } of ports) taken.set(host, app);
  }
  for (const [name, { ports }] of Object.entries(manifest.components)) {
    for (const { host } of ports) {
      const holder = taken.get(host);
      if (holder === undefined) continue;
      throw new ShoalError('SHOAL_E_CONFLICT', `components.${name}: host port ${host} is taken by the app ${holder}`);
    }
  }
}
