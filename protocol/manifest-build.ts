import { type CacheAddress, parseCacheAddress } from './cache-address.js';
import { LIMITS } from './limits.js';
import {
  type Budget,
  type Cache,
  type Component,
  type IoLimit,
  type Manifest,
  type Objective,
  PARTITION_DEFAULT,
  type Partition,
  type PlaceRules,
  type PlanMode,
  type Probe,
  type ProbeAsks,
  REPLICATED_DEFAULT,
  type Source,
  type StateMode,
} from './manifest.js';
import { describe, didYouMean } from './manifest-explain.js';
import { parseCpu, parseMemory, parseTimeMs } from './manifest-units.js';
import { pointerOf } from './manifest-yaml.js';

/** The manifest as people write it, after the schema has accepted it. */
export interface UserManifest {
  app: string;
  components: Record<string, UserComponent>;
  budget?: UserBudget;
}
interface UserBudget {
  cpu: number | string;
}
type UserRange<T> = T | { min?: T; max?: T };
export interface UserProbe {
  http?: string;
  port?: string;
  tcp?: string;
  exec?: string[];
  fabric?: true;
  every?: string;
  timeout?: string;
  failures?: number;
}
interface UserBuild {
  from: string;
  ref?: string;
  path?: string;
}
export interface UserComponent {
  rootfs?: string;
  directory?: string;
  image?: string;
  build?: string | UserBuild;
  command?: string[];
  env?: Record<string, string | number | boolean>;
  count?: UserRange<number>;
  size?: { cpu?: UserRange<number | string>; memory?: UserRange<number | string> };
  objective?: { utilisation?: number; latency?: Record<string, string>; queue?: number };
  state?: StateMode | UserState;
  season?: string;
  calls?: string[];
  budget?: UserBudget;
  mode?: PlanMode;
  priority?: number;
  place?: Partial<PlaceRules>;
  warm?: UserRange<number>;
  io?: UserIo;
  exclusive?: boolean;
  singleton?: boolean;
  secrets?: string[];
  ready?: UserProbe;
  alive?: UserProbe;
  ports?: { name: string; host: number }[];
}

export interface UserIo {
  read?: number | string;
  write?: number | string;
  readOps?: number;
  writeOps?: number;
  devices?: string[];
}

export interface UserState {
  mode: StateMode;
  shards?: number;
  shardMemory?: number | string;
  value?: number | string;
  replicas?: number;
  snapshot?: { every: string };
  reads?: { staleness: string };
  server?: string;
  cluster?: string[];
  user?: string;
  password?: string;
  ca?: string;
  near?: number | string | { memory: number | string; entries?: number };
}

/** What a component gets that does not say otherwise. Documented in docs/manifest.md. */
export const MANIFEST_DEFAULTS = {
  count: { min: 1, max: 10 },
  countOfSingleton: { min: 1, max: 1 },
  cpu: { min: 0.1, max: 1 },
  memory: { min: 64 * 2 ** 20, max: 512 * 2 ** 20 },
  utilisation: 0.7,
  /** Of the range in which the size of a pool follows what is foreseen. */
  warm: { min: 1, max: 1 },
} as const;

/** Where nothing else is said. */
export const PLACE_DEFAULT: PlaceRules = { spread: 'host', near: [], apart: [], require: {}, tolerate: [] };

const CPU = { min: 0.01, max: 1024, what: 'cores from 0.01 to 1024' };
const BUDGET = { min: 0.01, max: 1_000_000, what: 'cores from 0.01 to 1000000' };
const MEMORY = { min: 4 * 2 ** 20, max: 16 * 2 ** 40, what: 'memory from 4Mi to 16Ti' };
const IO_BYTES = { min: 4096, max: 2 ** 40, what: 'bytes in a second from 4Ki to 1Ti' };
const SHARD_MEMORY = {
  min: LIMITS.stateShardBytesMin,
  max: LIMITS.stateShardBytesMax,
  what: 'memory from 64Ki to 256Mi',
};
const SNAPSHOT_EVERY = {
  min: LIMITS.stateSnapshotMsMin,
  max: LIMITS.stateSnapshotMsMax,
  what: 'a time from 1s to 24h',
};
const STALENESS = {
  min: LIMITS.stateStalenessMsMin,
  max: LIMITS.stateStalenessMsMax,
  what: 'a time from 100ms to 60s',
};
const REPLICATED_MEMORY = {
  min: LIMITS.stateShardBytesMin,
  max: LIMITS.replicatedBytesMax,
  what: 'memory from 64Ki to 4Mi, which all entries of replicated state have together',
};
const REPLICATED_VALUE = { min: 1, max: LIMITS.replicatedBytesMax, what: 'memory from 1 byte to 4Mi' };
const VALUE = { min: 1, max: LIMITS.stateValueBytesMax, what: 'memory from 1 byte to 15Mi' };
const NEAR = { min: LIMITS.cacheNearBytesMin, max: LIMITS.cacheNearBytesMax, what: 'memory from 64Ki to 256Mi' };
const SEASON = { min: 10, max: 4 * 7 * 86_400, what: 'a season from 10s to 4w' };
const PROBE_TIME = { min: 10, max: 600_000, what: 'a time from 10ms to 600s' };
/** Ready is asked often, since nobody is served meanwhile. */
const READY_PROBE = { everyMs: 100, timeoutMs: 1_000, failures: 3 };
const ALIVE_PROBE = { everyMs: 5_000, timeoutMs: 1_000, failures: 3 };
const LATENCY = { min: 0.1, max: LIMITS.callDeadlineMsMax, what: 'a latency from 0.1ms to 600s' };

interface Range {
  min: number;
  max: number;
}
/** `what` says it in a message. */
type Bound = Range & { what: string };
/** Reports a problem at a JSON pointer. */
export type Report = (pointer: string, message: string) => void;
/** A scalar as it stands in the text. */
export type SourceOf = (pointer: string) => string | undefined;

/** Fills in every default and checks what a schema cannot. Problems go to `report`; the result counts only without any. */
export function buildManifest(user: UserManifest, report: Report, sourceOf: SourceOf): Manifest {
  const names = Object.keys(user.components);
  const components = new Map<string, Component>();
  const hostPorts = new Map<number, string>();
  for (const name of names) {
    const given = user.components[name];
    if (given === undefined) continue;
    const at = pointerOf('/components', name);
    components.set(name, buildComponent(name, given, at, report, sourceOf));
    checkComponents(given.calls, `${at}/calls`, names, report);
    checkComponents(given.place?.near, `${at}/place/near`, names, report);
    checkComponents(given.place?.apart, `${at}/place/apart`, names, report);
    checkNearAndApart(given, at, report);
    checkPorts(given, name, at, hostPorts, report);
    checkRef(given, at, report);
  }
  const manifest: Manifest = { app: user.app, components: Object.fromEntries(components) };
  if (user.budget === undefined) return manifest;
  const least = [...components.values()].reduce((sum, component) => sum + leastCpu(component), 0);
  return { ...manifest, budget: buildBudget(user.budget, least, '/budget', report) };
}

function buildComponent(name: string, given: UserComponent, at: string, report: Report, sourceOf: SourceOf): Component {
  const within = (value: number, bound: Bound, pointer: string, found: unknown): number =>
    checkWithin(value, bound, pointer, found, report);
  const ranged = <T extends number | string>(
    value: UserRange<T> | undefined,
    standard: Range,
    pointer: string,
    read: (one: T, pointer: string) => number,
  ): Range => {
    if (value === undefined) return { ...standard };
    if (typeof value !== 'object') {
      const one = read(value, pointer);
      return { min: one, max: one };
    }
    const min = value.min === undefined ? undefined : read(value.min, pointerOf(pointer, 'min'));
    const max = value.max === undefined ? undefined : read(value.max, pointerOf(pointer, 'max'));
    if (min !== undefined && max !== undefined && min > max) {
      report(pointerOf(pointer, 'min'), `expected min of at most max, found min ${value.min} above max ${value.max}`);
    }
    // The end that is left out never contradicts the one that is given.
    return {
      min: min ?? Math.min(standard.min, max ?? standard.min),
      max: max ?? Math.max(standard.max, min ?? standard.max),
    };
  };

  const usualCount = given.singleton === true ? MANIFEST_DEFAULTS.countOfSingleton : MANIFEST_DEFAULTS.count;
  const count = ranged(given.count, usualCount, `${at}/count`, (one: number) => one);
  const userState = userStateOf(given);
  const state = userState.mode;
  const partition = buildPartition(userState, `${at}/state`, report, within);
  if (partition !== undefined) checkOwners(given, partition, count, at, report);
  if (given.singleton === true) checkSingleton(given, count, at, report);
  const component: Component = {
    source: buildSource(given),
    command: given.command ?? [],
    env: buildEnv(given, at, sourceOf),
    count,
    size: {
      cpu: ranged(given.size?.cpu, MANIFEST_DEFAULTS.cpu, `${at}/size/cpu`, (one: number | string, pointer) =>
        within(parseCpu(one), CPU, pointer, one),
      ),
      memory: ranged(given.size?.memory, MANIFEST_DEFAULTS.memory, `${at}/size/memory`, (one, pointer) =>
        within(parseMemory(one), MEMORY, pointer, one),
      ),
    },
    objective: buildObjective(given, at, (ms, pointer, found) => within(ms, LATENCY, pointer, found)),
    state,
    calls: callsOf(given, name),
    ports: given.ports ?? [],
  };
  if (partition !== undefined && typeof given.state === 'object') component.partition = partition;
  const cache = buildCache(userState, `${at}/state`, report, within);
  if (cache !== undefined) component.cache = cache;
  if (given.budget !== undefined) {
    component.budget = buildBudget(given.budget, leastCpu(component), `${at}/budget`, report);
  }
  if (given.mode !== undefined) component.mode = given.mode;
  if (given.priority !== undefined) component.priority = given.priority;
  if (given.warm !== undefined) {
    const { min, max } = ranged(given.warm, MANIFEST_DEFAULTS.warm, `${at}/warm`, (one: number) => one);
    component.warm = max;
    if (typeof given.warm === 'object') component.warmMin = min;
  }
  if (given.io !== undefined) component.io = buildIo(given.io, `${at}/io`, report);
  if (given.exclusive === true) {
    checkExclusive(component, at, report);
    component.exclusive = true;
  }
  if (given.singleton === true) component.singleton = true;
  if (given.secrets !== undefined && given.secrets.length > 0) component.secrets = given.secrets;
  if (given.ready !== undefined) component.ready = buildProbe(given.ready, READY_PROBE, given, `${at}/ready`, report);
  if (given.alive !== undefined) component.alive = buildProbe(given.alive, ALIVE_PROBE, given, `${at}/alive`, report);
  if (given.place !== undefined) component.place = { ...PLACE_DEFAULT, ...given.place };
  if (given.season === 'off') component.seasonSeconds = 0;
  else if (given.season !== undefined && given.season !== 'auto') {
    component.seasonSeconds = within(parseTimeMs(given.season) / 1000, SEASON, `${at}/season`, given.season);
  }
  return component;
}

function buildIo(io: UserIo, at: string, report: Report): IoLimit {
  const { read, write, ...given } = io;
  if ([read, write, given.readOps, given.writeOps].every((each) => each === undefined)) {
    report(at, `expected at least one of read, write, readOps and writeOps, found ${describe(io)}`);
  }
  const bytes = (one: number | string, key: string) =>
    checkWithin(parseMemory(one), IO_BYTES, pointerOf(at, key), one, report);
  return {
    ...(read === undefined ? {} : { readBytes: bytes(read, 'read') }),
    ...(write === undefined ? {} : { writeBytes: bytes(write, 'write') }),
    ...given,
  };
}

/** Cores that its smallest count of smallest instances holds. */
function leastCpu({ count, size }: Component): number {
  return count.min * size.cpu.min;
}

function buildBudget({ cpu }: UserBudget, least: number, at: string, report: Report): Budget {
  const bound = { ...BUDGET, min: Math.max(BUDGET.min, Number(least.toFixed(9))) };
  const what =
    bound.min > BUDGET.min
      ? `cores of at least ${bound.min}, which count min of the smallest size takes, and at most ${BUDGET.max}`
      : BUDGET.what;
  return { cpu: checkWithin(parseCpu(cpu), { ...bound, what }, `${at}/cpu`, cpu, report) };
}

function checkWithin(value: number, bound: Bound, pointer: string, found: unknown, report: Report): number {
  const ok = value >= bound.min && value <= bound.max;
  if (!ok) report(pointer, `expected ${bound.what}, found ${describe(found)}`);
  return value;
}

function buildSource(given: UserComponent): Source {
  if (given.image !== undefined) return { kind: 'image', image: given.image };
  if (typeof given.build === 'string') return { kind: 'build', build: given.build };
  if (given.build !== undefined) {
    const { from, ...which } = given.build;
    return { kind: 'build', build: from, ...which };
  }
  const source: Source = { kind: 'rootfs', rootfs: given.rootfs ?? 'host' };
  if (given.directory !== undefined) source.directory = given.directory;
  return source;
}

function buildProbe(
  user: UserProbe,
  standard: Omit<Probe, 'asks'>,
  { ports = [] }: UserComponent,
  at: string,
  report: Report,
): Probe {
  const asks = probeAsks(user);
  if ('port' in asks && !ports.some(({ name }) => name === asks.port)) {
    report(at, `expected the name of one of its ports, found ${describe(asks.port)}`);
  }
  const time = (given: string | undefined, usual: number, name: string) =>
    given === undefined ? usual : checkWithin(parseTimeMs(given), PROBE_TIME, `${at}/${name}`, given, report);
  return {
    asks,
    everyMs: time(user.every, standard.everyMs, 'every'),
    timeoutMs: time(user.timeout, standard.timeoutMs, 'timeout'),
    failures: user.failures ?? standard.failures,
  };
}

function probeAsks({ http, port = 'http', tcp, exec }: UserProbe): ProbeAsks {
  if (http !== undefined) return { kind: 'http', path: http, port };
  if (tcp !== undefined) return { kind: 'tcp', port: tcp };
  return exec !== undefined ? { kind: 'exec', command: exec } : { kind: 'fabric' };
}

/** Numbers keep the digits of the text: `VERSION: 1.10` is "1.10" for the component. */
function buildEnv(given: UserComponent, at: string, sourceOf: SourceOf): Record<string, string> {
  const entries = Object.entries(given.env ?? {}).map(([key, value]): [string, string] => [
    key,
    typeof value === 'string' ? value : (sourceOf(pointerOf(`${at}/env`, key)) ?? String(value)),
  ]);
  return Object.fromEntries(entries);
}

function buildObjective(
  given: UserComponent,
  at: string,
  latencyWithin: (ms: number, pointer: string, found: string) => number,
): Objective {
  const objective = given.objective ?? {};
  if (objective.queue !== undefined) return { kind: 'queue', length: objective.queue };
  const [latency] = Object.entries(objective.latency ?? {});
  if (latency !== undefined) {
    const [percentile, bound] = latency;
    const targetMs = latencyWithin(parseTimeMs(bound), `${at}/objective/latency/${percentile}`, bound);
    return { kind: 'latency', percentile: Number(percentile.slice(1)), targetMs };
  }
  return { kind: 'utilisation', target: objective.utilisation ?? MANIFEST_DEFAULTS.utilisation };
}

/** A folder has no branches. */
function checkRef({ build }: UserComponent, at: string, report: Report): void {
  if (typeof build !== 'object' || build.ref === undefined || isRemote(build.from)) return;
  report(`${at}/build/ref`, `expected no ref for the folder ${describe(build.from)}; give the address of a repository`);
}

/** Whether it is the address of a repository and no folder: https://…, or user@host:path as ssh has it. */
export function isRemote(build: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(build) || /^[^/\s]+@[^/\s]+:/.test(build);
}

function userStateOf({ state = 'none' }: { state?: StateMode | UserState | undefined }): UserState {
  return typeof state === 'string' ? { mode: state } : state;
}

function buildPartition(
  { mode, shards, shardMemory, value, replicas, snapshot, reads }: UserState,
  at: string,
  report: Report,
  within: (value: number, bound: Bound, pointer: string, found: unknown) => number,
): Partition | undefined {
  if (snapshot !== undefined && mode !== 'partitioned') {
    report(`${at}/snapshot`, `expected no snapshot, since state is ${mode} and not partitioned`);
  }
  if (reads !== undefined && mode !== 'partitioned') {
    report(`${at}/reads`, `expected no reads, since state is ${mode} and not partitioned`);
  }
  if (reads !== undefined && mode === 'partitioned' && !replicas) {
    report(`${at}/reads`, 'expected replicas of at least 1 beside reads, since without there are no copies to read');
  }
  if (mode !== 'partitioned' && mode !== 'replicated') {
    const ofShards = { shards, shardMemory, replicas: replicas === 0 ? undefined : replicas };
    for (const [name, given] of Object.entries(ofShards)) {
      if (given !== undefined) report(`${at}/${name}`, `expected no ${name}, since state ${mode} has no state shards`);
    }
    if (value !== undefined && mode !== 'cache') {
      report(`${at}/value`, `expected no value, since state ${mode} has no values`);
    }
    return undefined;
  }
  const bytes = (given: number | string | undefined, standard: number, bound: Bound, name: string): number =>
    given === undefined ? standard : within(parseMemory(given), bound, `${at}/${name}`, given);
  const isReplicated = mode === 'replicated';
  if (isReplicated && shards !== undefined) {
    report(`${at}/shards`, 'expected no shards, since replicated state is in one shard, whole in every instance');
  }
  const standard = isReplicated ? REPLICATED_DEFAULT : PARTITION_DEFAULT;
  const copies = replicas ?? standard.replicas ?? 0;
  return {
    shards: shards ?? standard.shards,
    shardBytesMax: bytes(
      shardMemory,
      standard.shardBytesMax,
      isReplicated ? REPLICATED_MEMORY : SHARD_MEMORY,
      'shardMemory',
    ),
    valueBytesMax: bytes(value, standard.valueBytesMax, isReplicated ? REPLICATED_VALUE : VALUE, 'value'),
    ...(copies === 0 ? {} : { replicas: copies }),
    ...(snapshot === undefined
      ? {}
      : { snapshotMs: within(parseTimeMs(snapshot.every), SNAPSHOT_EVERY, `${at}/snapshot/every`, snapshot.every) }),
    ...(reads === undefined
      ? {}
      : { stalenessMs: within(parseTimeMs(reads.staleness), STALENESS, `${at}/reads/staleness`, reads.staleness) }),
  };
}

function buildCache(
  { mode, value, server, cluster, user, password, ca, near }: UserState,
  at: string,
  report: Report,
  within: (value: number, bound: Bound, pointer: string, found: unknown) => number,
): Cache | undefined {
  if (mode !== 'cache') {
    for (const [name, given] of Object.entries({ server, cluster, user, password, ca, near })) {
      if (given !== undefined) report(`${at}/${name}`, `expected no ${name}, since state ${mode} is in no cache`);
    }
    return undefined;
  }
  const servers = cluster ?? (server === undefined ? [] : [server]);
  if ((server === undefined) === (cluster === undefined)) {
    report(at, 'expected exactly one of server, such as redis://cache.example:6379, and cluster, a list of such');
  }
  const addresses = checkCacheServers(servers, cluster === undefined ? `${at}/server` : `${at}/cluster`, report);
  if (ca !== undefined && addresses.some(({ tls }) => !tls)) {
    report(`${at}/ca`, 'expected no ca for servers without TLS: their addresses begin with rediss:// to have it');
  }
  if (user !== undefined && password === undefined) report(`${at}/user`, 'expected a password beside user');
  const valueBytesMax =
    value === undefined ? LIMITS.stateValueBytesDefault : within(parseMemory(value), VALUE, `${at}/value`, value);
  const cache: Cache = { servers, isCluster: cluster !== undefined, valueBytesMax };
  if (user !== undefined) cache.user = user;
  if (password !== undefined) cache.password = password;
  if (ca !== undefined) cache.ca = ca;
  if (near !== undefined) {
    const { memory, entries = LIMITS.cacheNearEntriesDefault } = typeof near === 'object' ? near : { memory: near };
    cache.near = { bytesMax: within(parseMemory(memory), NEAR, `${at}/near`, memory), entriesMax: entries };
  }
  return cache;
}

/** What they name, as far as it makes sense. */
function checkCacheServers(servers: readonly string[], at: string, report: Report): CacheAddress[] {
  const addresses: CacheAddress[] = [];
  for (const [i, text] of servers.entries()) {
    const address = parseCacheAddress(text);
    const pointer = at.endsWith('/cluster') ? `${at}/${i}` : at;
    if (address !== null) addresses.push(address);
    // Not shown: what is refused may be a password.
    else
      report(pointer, 'expected redis[s]://HOST[:PORT][/DATABASE], without user and password, which stand beside it');
    if (address !== null && at.endsWith('/cluster') && address.database !== 0) {
      report(pointer, `expected no database of a Redis Cluster, found ${address.database}`);
    }
  }
  if (new Set(addresses.map(({ tls }) => tls)).size > 1) {
    report(at, 'expected all servers of a Redis Cluster with TLS (rediss://), or none');
  }
  return addresses;
}

/** Instances with replicated state ask each other, and so do those that may read what others own. */
function callsOf({ calls = [], state }: UserComponent, name: string): string[] {
  const { mode, reads } = userStateOf({ state });
  const asksItself = mode === 'replicated' || reads !== undefined;
  return asksItself && !calls.includes(name) ? [...calls, name] : calls;
}

function checkOwners(given: UserComponent, { shards }: Partition, count: Range, at: string, report: Report): void {
  const { mode: state } = userStateOf(given);
  const pointer = given.count === undefined ? `${at}/state` : `${at}/count`;
  if (count.min < 1) {
    report(pointer, `expected count min of at least 1, since ${state} state needs an owner, found 0`);
  }
  if (state === 'partitioned' && count.max > shards) {
    const found = `found ${count.max}`;
    report(pointer, `expected count max of at most ${shards}, the number of state shards, ${found}`);
  }
}

/** It begins only when the one before has ended: there is nobody to hand state to, and none waits beside it. */
function checkSingleton({ state, warm: given = 0 }: UserComponent, count: Range, at: string, report: Report): void {
  if (count.max > 1) report(`${at}/count`, `expected count max of at most 1 for a singleton, found ${count.max}`);
  const { mode } = userStateOf({ state });
  if (mode === 'partitioned' || mode === 'replicated') {
    report(`${at}/state`, `expected state none for a singleton, found "${mode}"`);
  }
  const warm = typeof given === 'object' ? (given.max ?? given.min ?? 0) : given;
  if (warm > 0) report(`${at}/warm`, `expected no warm processes of a singleton, found ${warm}`);
}

/** Cores are given whole. One that waits warm would keep cores from all others for nothing. */
function checkExclusive({ size: { cpu }, warm = 0 }: Component, at: string, report: Report): void {
  for (const cores of new Set([cpu.min, cpu.max])) {
    if (!Number.isInteger(cores)) report(`${at}/size/cpu`, `expected whole cores with exclusive, found ${cores}`);
  }
  if (warm > 0) report(`${at}/warm`, `expected no warm processes with exclusive, found ${warm}`);
}

function checkComponents(given: readonly string[] = [], at: string, names: string[], report: Report): void {
  for (const [i, named] of given.entries()) {
    if (names.includes(named)) continue;
    const hint = didYouMean(named, names);
    report(`${at}/${i}`, `expected a component of this app, found ${describe(named)}${hint}`);
  }
}

function checkNearAndApart({ place }: UserComponent, at: string, report: Report): void {
  for (const [i, named] of (place?.near ?? []).entries()) {
    if (place?.apart?.includes(named) !== true) continue;
    report(`${at}/place/near/${i}`, `expected a component that is not in apart too, found ${describe(named)}`);
  }
}

/** The sockets of the agent and the fabric lie in the same folder as those of the ports. */
const PORT_NAMES_TAKEN = ['agent', 'fabric', 'fabric-own', 'cache'];

function checkPorts(
  given: UserComponent,
  component: string,
  at: string,
  hostPorts: Map<number, string>,
  report: Report,
): void {
  const names = new Set<string>();
  for (const [i, port] of (given.ports ?? []).entries()) {
    const pointer = `${at}/ports/${i}`;
    if (PORT_NAMES_TAKEN.includes(port.name)) {
      report(`${pointer}/name`, `expected a name other than agent, fabric and cache, found ${describe(port.name)}`);
    }
    if (names.has(port.name)) {
      report(`${pointer}/name`, `expected each port name once in a component, found ${describe(port.name)} again`);
    }
    names.add(port.name);
    const owner = hostPorts.get(port.host);
    if (owner !== undefined) {
      const found = `found ${port.host}, which component "${owner}" has too`;
      report(`${pointer}/host`, `expected each host port once in the app, ${found}`);
    }
    hostPorts.set(port.host, component);
  }
}
