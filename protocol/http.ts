import type { CacheFigures } from './cache-figures.js';
import type {
  BuildStatus,
  Degraded,
  HostConnection,
  ImageFigures,
  InstanceStatus,
  ProfilerFigures,
  Size,
} from './link.js';
import type { Manifest, PlanMode } from './manifest.js';
import type { Profile } from './profile.js';

/** Shapes of the HTTP API under /v1. Times are ms since the epoch. */
export interface AppView {
  app: string;
  revision: number;
  manifest: Manifest;
  components: string[];
}
export interface ComponentView {
  app: string;
  component: string;
  count: { desired: number; ready: number; min: number; max: number };
  size: Size;
  /** Manual override by `shoal scale`, if any. */
  override: { count: number } | null;
  /** Whether plans are acted on, and where that was said: by hand for it or for its app, or in the manifest. */
  mode: { mode: PlanMode; by: 'component' | 'app' | 'manifest' };
  /** All its instances are frozen by hand, and its plan is held. */
  paused: boolean;
  /** What the plan would make of it, where it is not acted on: in mode observe, and for a count set by hand. */
  wouldBe: { count: number; size: Size } | null;
  demandCpu: number;
  requestsPerSecond: number;
  utilisation: number;
  latencyMs: { p50: number; p99: number } | null;
  forecast: ForecastView | null;
  /** Until a new instance serves, by so many starts seen; on a host new to the component (`cold`), or another (`warm`). */
  start: { seconds: number; kind: 'assumed' | 'warm' | 'cold'; seen: number };
  reason: string;
  /** Host ports; every host listens on them. `missingOn`: connected hosts that do not yet, or cannot. */
  ports: { name: string; host: number; missingOn: string[] }[];
  /** Processes that wait to become instances, and what they cost. */
  warm: { waiting: number; memoryBytes: number };
  /** In the order of their numbers; null for components without state shards. */
  shards: ShardView[] | null;
  /** What its instances do with its cache, totals since the coordinator began to lead; null for components without one. */
  cache: CacheFigures | null;
  /** With replicated state: the most of its instances; null while none has the entries, and for other components. */
  stateLagMs: number | null;
}
/** What a new host is told, and one that renews its certificate. */
export interface JoinAnswer {
  /** Its own certificate, and that of the authority, in PEM. */
  certificate: string;
  ca: string;
  /** Where agents dial coordinators, HOST:PORT. */
  links: string[];
}
export interface RevokedView {
  serial: string;
  /** Whose certificate it is. */
  name: string;
  atMs: number;
  /** When it would have expired. */
  validToMs: number;
}
/** What whoever makes a token answers for of the hosts that join with it. Of what is absent the host itself is believed. */
export interface HostBounds {
  /** All labels that it has, whatever it says. */
  labels?: Record<string, string>;
  /** Beside those that it says. */
  taints?: string[];
  /** At most. */
  cores?: number;
  memoryBytes?: number;
}
export interface JoinTokenView {
  id: string;
  name: string;
  host: string | null;
  /** Absent from older coordinators. */
  bounds?: HostBounds;
  usesLeft: number;
  expiresAtMs: number;
}
export interface ShardView {
  shard: number;
  /** The instance that shall have it. */
  owner: string | null;
  /** Cores that calls on it use, and calls/s; 0 while not measured. */
  cpu: number;
  callsPerSecond: number;
  /** Null for hosts of an earlier version, which keep no copies. */
  copies: CopiesView | null;
  /** What the owner's segment holds, which its host says every few seconds; null while it has not. */
  holds: SegmentView | null;
  /** Where it is on its way to or from; null while it rests. */
  move: ShardMoveView | null;
  /** When it last began empty, since no copy of it was left; null: never. Absent from older coordinators. */
  lostAtMs?: number | null;
}
export interface SegmentView {
  host: string;
  entries: number;
  /** Of the entries, and of memory of the host, garbage included. */
  liveBytes: number;
  heldBytes: number;
  /** Since the segment was made. */
  reads: number;
  writes: number;
  refused: number;
}
/** Between instances of a host, between hosts, or a copy that is being made. */
export interface ShardMoveView {
  kind: 'instance' | 'host' | 'copy';
  /** Instance ids, or hosts where the kind is not `instance`. */
  from: string | null;
  to: string[];
}
/** Where the copies of a state shard are. */
export interface CopiesView {
  epoch: number;
  /** As in docs/state-protocol.md. */
  phase: 'serving' | 'passing' | 'fencing' | 'lost';
  /** The host that serves it, null while none does. */
  owner: string | null;
  /** Hosts whose copy has every acknowledged write, and those that are being filled. */
  inSync: string[];
  joining: string[];
}
export interface ForecastView {
  horizonSeconds: number;
  model: string;
  /** The demand is from `lower` to `upper` with this probability. */
  level: number;
  points: { atMs: number; mean: number; lower: number; upper: number }[];
  /** How right it was of late: one step ahead, and as far ahead as a new instance needs. */
  accuracy: { step: AccuracyView; lead: AccuracyView };
  /** At other levels, a value for each point; only when the forecast is asked for by itself. */
  intervals?: { level: number; lower: number[]; upper: number[] }[];
}
export interface AccuracyView {
  aheadSeconds: number;
  /** Forecasts that have been compared with what came. */
  compared: number;
  /** Means of the last ten minutes or so, in cores: the absolute error, and the demand. */
  errorCpu: number;
  demandCpu: number;
  /** Share of demands that were within `lower` and `upper`; `level` was promised. */
  coverage: number;
}
/** One decision on a component: numbers and codes, the same in words, and what came of it. */
export interface DecisionView {
  atMs: number;
  /** Carried out; only shown; or its count gave way to one set by hand. */
  fate: 'done' | 'observed' | 'by-hand';
  changed: boolean;
  before: { count: number; size: Size };
  after: { count: number; size: Size };
  /** One line. */
  summary: string;
  /** In the order in which to read them. */
  words: { topic: string; text: string }[];
  /** Null before its time has come. */
  outcome: {
    verdict: 'as-foretold' | 'more' | 'less';
    peakCpu: number;
    foretoldCpu: number;
    seconds: number;
    allottedCpu: number;
  } | null;
  /** All that was seen, learned, expected and weighed: see the brain's explanation.ts. */
  explanation: object;
}
/** An event that will change a component's demand, as it is announced: with either `factor` or `requestsPerSecond`. */
export interface KnownEventBody {
  id?: string;
  /** RFC 3339 with a zone. */
  from: string;
  to: string;
  /** So many times the demand that there would be without it. */
  factor?: number;
  /** At least so many. */
  requestsPerSecond?: number;
  note?: string;
  repeat?: 'daily' | 'weekly';
}
export interface KnownEventView extends KnownEventBody {
  id: string;
  note: string;
  /** Under way or to come; null when it is over. */
  next: { fromMs: number; toMs: number } | null;
}
export interface InstanceView extends InstanceStatus {
  host: string;
  draining: boolean;
  /** Share of calls that it gets beside one of weight 1. */
  weight: number;
  cpuUsed: number;
  /** With replicated state, once its entries are there: what is read lacks no write acknowledged so many ms ago or earlier. */
  stateLagMs?: number;
}
/** `away`: its connection has ended; `lost`: for long; `wedged`: connected, but it does not do its work; `flapping`: it comes and goes. */
export interface HostStanding {
  state: 'well' | 'away' | 'lost' | 'wedged' | 'flapping';
  /** Empty for those that are well. */
  why: string;
}
/** A secret of an app, without its value. */
export interface SecretView {
  app: string;
  name: string;
  /** Rises with every value that is set; 0: there is none. */
  version: number;
  changedAtMs: number;
  /** Components that have it as a file. */
  usedBy: string[];
}
/** A build, and the host that has made it. */
export interface BuildView extends BuildStatus {
  host: string;
}

export interface HostView {
  name: string;
  connected: boolean;
  /** Whether it has said since then what runs on it; absent from older coordinators. */
  reported?: boolean;
  standing: HostStanding;
  cores: number;
  memoryBytes: number;
  kernel: string;
  degraded: Degraded[];
  instances: number;
  /** What its operator lets it do: take instances, keep those that it has, or give them away. */
  use: 'open' | 'cordoned' | 'drained';
  labels?: Record<string, string>;
  taints?: string[];
  /** How it is connected with the other hosts that it has to do with; absent from older coordinators. */
  connections?: HostConnection[];
  /** Absent: nothing is known of them. */
  images?: ImageFigures;
  /** What its profiler goes without; absent: it takes no profiles, or is not connected. */
  profiler?: ProfilerFigures;
}
/** A profile over all hosts that have answered; frames are places in `functions`, leaf first. */
export interface ProfileView extends Profile {
  app: string;
  component: string;
  /** Hosts that are not in it. */
  missing: { host: string; why: string }[];
  /** Of the other span, when one was asked for. */
  base: Profile | null;
}
/** The functions in which most time is spent, most first; of the other span as if it were as long. */
export interface HotFunctionsView extends Omit<ProfileView, 'functions' | 'stacks' | 'base'> {
  functions: {
    name: string;
    file: string;
    /** Samples, waits, or what else was counted in it. */
    count: number;
    selfSeconds: number;
    totalSeconds: number;
    baseSelfSeconds: number;
    baseTotalSeconds: number;
  }[];
}
export interface EventView {
  id: number;
  atMs: number;
  app: string;
  component: string;
  instance: string;
  kind: string;
  message: string;
}
/** RFC 9457 problem details with Shoal's stable code. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  errors?: { path: string; line?: number; column?: number; message: string }[];
}

/** What one coordinator says of itself and of who leads: `GET /v1/cluster`, which is never forwarded. */
export interface ClusterView {
  name: string;
  /** `waits`: no leader is known, or the store cannot be reached; nothing is planned or changed here. */
  role: 'leads' | 'follows' | 'waits';
  /** Of its last leadership. */
  term: number | null;
  leader: { name: string; api: string } | null;
  store: { engine: 'lmdb' | 'etcd'; reachable: boolean; detail: string };
  /** How long ago what this coordinator knows was true, in seconds; null: it leads, or knows nothing. */
  staleSeconds: number | null;
}
