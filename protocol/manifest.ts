import { LIMITS } from './limits.js';

/** The application manifest after validation and with every default filled in. Times in ms, memory in bytes, CPU in cores. */
export interface Manifest {
  app: string;
  components: Record<string, Component>;
  /** What all of its components may hold together; absent: no bound. */
  budget?: Budget;
}

/** Cores that instances may hold in all, each counted with its size. */
/** A question that the agent asks an instance again and again. */
export interface Probe {
  asks: ProbeAsks;
  everyMs: number;
  timeoutMs: number;
  /** So many failures in a row count. */
  failures: number;
}

export type ProbeAsks =
  /** A GET of this path on the named port answers 200 to 399. */
  | { kind: 'http'; path: string; port: string }
  /** The named port takes a connection. */
  | { kind: 'tcp'; port: string }
  /** The command, run inside, ends with 0. */
  | { kind: 'exec'; command: string[] }
  /** The SDK tells its figures, which it does once a second as long as the process gets round to it. */
  | { kind: 'fabric' };

export interface Budget {
  cpu: number;
}

/** `observe`: the plan is made and shown, and nothing is changed by it. */
export type PlanMode = 'act' | 'observe';

/** Of one instance, in a second, on each disk; what is absent is not limited. */
export interface IoLimit {
  readBytes?: number;
  writeBytes?: number;
  readOps?: number;
  writeOps?: number;
  /** Paths of disks; absent: all of the host. */
  devices?: string[];
}

export interface Component {
  source: Source;
  command: string[];
  env: Record<string, string>;
  count: { min: number; max: number };
  size: { cpu: { min: number; max: number }; memory: { min: number; max: number } };
  objective: Objective;
  state: StateMode;
  /** For partitioned and replicated state; absent: PARTITION_DEFAULT or REPLICATED_DEFAULT. */
  partition?: Partition;
  /** For state in a cache; always there with that. */
  cache?: Cache;
  /** Season length in seconds, when the operator knows it. */
  seasonSeconds?: number;
  /** Components of the same app that this one may call. */
  calls: string[];
  /** What all of its instances may hold together; absent: no bound. */
  budget?: Budget;
  /** Absent: act. */
  mode?: PlanMode;
  /** 0 … 1000; absent: PRIORITY_DEFAULT. When room is short, a lower one gives way to a higher one. */
  priority?: number;
  /** Where its instances may and had best run; absent: anywhere, spread over hosts. */
  place?: PlaceRules;
  /** At most so many processes wait on each host of the app to become instances at once; absent: none. */
  warm?: number;
  /** And at least so many, while how many of them follows what is foreseen; absent: always as many as `warm`. */
  warmMin?: number;
  /** What each instance may read and write at most; absent: as much as it can. */
  io?: IoLimit;
  /** Each instance has whole cores of its host that no other instance runs on; absent: false. */
  exclusive?: boolean;
  /** Never two of its instances at once, on no host; absent: false. Its count is 0 or 1. */
  singleton?: boolean;
  /** What has to succeed before it serves, beside what its SDK or its listeners say. Absent: nothing. */
  ready?: Probe;
  /** What has to go on succeeding while it serves, else its process is started anew. Absent: nothing. */
  alive?: Probe;
  /** Secrets of the app that it has as files, /run/secrets/NAME; absent: none. */
  secrets?: string[];
  /** Their versions, in the same order, 0 where none was set; set by the coordinator, never by a manifest. */
  secretVersions?: number[];
  /** TCP ports on the host's loopback that are forwarded into the first instances. */
  ports: Port[];
}

export const PRIORITY_DEFAULT = 500;

export interface PlaceRules {
  /** Over what its instances are spread: hosts, or the values of the hosts' label `zone` and then hosts. */
  spread: 'host' | 'zone';
  /** Components of the same app whose hosts are preferred. */
  near: string[];
  /** Components of the same app, itself too, that never share a host with an instance. */
  apart: string[];
  /** Labels that a host must have. */
  require: Record<string, string>;
  /** Taints of hosts that do not keep its instances away. */
  tolerate: string[];
}

export const PARTITION_DEFAULT: Partition = {
  shards: LIMITS.shardCountDefault,
  shardBytesMax: LIMITS.stateShardBytesDefault,
  valueBytesMax: LIMITS.stateValueBytesDefault,
};

/** One state shard, of which each instance has a replica. Small: all of it goes in one message to an instance that joins. */
export const REPLICATED_DEFAULT: Partition = {
  shards: 1,
  shardBytesMax: LIMITS.replicatedBytesMax,
  valueBytesMax: LIMITS.stateValueBytesDefault,
  replicas: 1,
};

/** Whether its entries are in state shards with owners. */
export function hasShards(component: Component | undefined): boolean {
  return component?.state === 'partitioned' || component?.state === 'replicated';
}

/** Whether its instances ask each other, by handlers of the SDK's own. */
export function asksItself(component: Component | undefined): boolean {
  return component?.state === 'replicated' || component?.partition?.stalenessMs !== undefined;
}

/** Null for a component without state shards. */
export function partitionOf(component: Component | undefined): Partition | null {
  if (component === undefined || !hasShards(component)) return null;
  return component.partition ?? (component.state === 'replicated' ? REPLICATED_DEFAULT : PARTITION_DEFAULT);
}

/** 0 for a component without state shards. */
export function shardCountOf(component: Component | undefined): number {
  return partitionOf(component)?.shards ?? 0;
}

export interface Partition {
  /** How many state shards there are: for as long as the component exists. */
  shards: number;
  /** Of the entries of one state shard. */
  shardBytesMax: number;
  valueBytesMax: number;
  /** Hosts beside the owner's that hold each write before it is acknowledged. Absent: none. */
  replicas?: number;
  /** Ms between snapshots to the disks of hosts. Absent: none. */
  snapshotMs?: number;
  /** Any instance may read any entry, as it was at most so many ms ago: from the copy on its host. Absent: owners alone read. */
  stalenessMs?: number;
}

/** An existing Redis or Redis Cluster. */
export interface Cache {
  /** As protocol/cache-address.ts reads them: one server, or some of a Redis Cluster. */
  servers: string[];
  isCluster: boolean;
  user?: string;
  /** Names of secrets of the app. */
  password?: string;
  ca?: string;
  valueBytesMax: number;
  /** What each instance keeps of values that it has read. Absent: nothing. */
  near?: { bytesMax: number; entriesMax: number };
}

/** Secrets that the component needs: those that it has as files, and those with which its agent reaches its cache. */
export function secretsOf({ secrets = [], cache }: Component): string[] {
  const ofCache = [cache?.password, cache?.ca].filter((name) => name !== undefined);
  return [...new Set([...secrets, ...ofCache])];
}

export type StateMode = 'none' | 'replicated' | 'partitioned' | 'cache';

export type Source =
  | {
      kind: 'rootfs' /** 'host' = the host's /usr read-only. */;
      rootfs: string /** Mounted read-only at /app. */;
      directory?: string;
    }
  | { kind: 'image'; image: string }
  | BuildSource;

/** Code that is built into an image. */
export interface BuildSource {
  kind: 'build';
  /** A folder of the host, or the address of a git repository. */
  build: string;
  /** Branch, tag or commit of the repository; absent: its default branch. */
  ref?: string;
  /** Folder in it that is built; absent: the whole. */
  path?: string;
  /** What is to run: a commit, or the digest of a folder's content. Set by the coordinator, never by a manifest. */
  revision?: string;
  /** Counts how often somebody asked to look for a new revision; set by the coordinator. */
  looks?: number;
  /** The revision whose build was cancelled last, until a build is asked for; set by the coordinator. */
  cancelled?: string;
}

export type Objective =
  | { kind: 'utilisation' /** Share of allotted CPU, 0 … 1. */; target: number }
  | { kind: 'latency'; percentile: number; targetMs: number }
  | { kind: 'queue' /** Calls waiting or running per instance. */; length: number };

/** `container` names a listener inside: the SDK's HTTP helper binds it as a Unix socket; the agent forwards `host` to it. */
export interface Port {
  name: string;
  host: number;
}
