import type { InstanceStatus, Size } from './link.js';
import type { Manifest, PlanMode } from './manifest.js';

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
  /** What the plan would make of it, where it is not acted on: in mode observe, and for a count set by hand. */
  wouldBe: { count: number; size: Size } | null;
  demandCpu: number;
  requestsPerSecond: number;
  utilisation: number;
  latencyMs: { p50: number; p99: number } | null;
  forecast: ForecastView | null;
  reason: string;
  /** In the order of their numbers; null for components without state shards. */
  shards: ShardView[] | null;
}
export interface ShardView {
  shard: number;
  /** The instance that shall have it. */
  owner: string | null;
  /** Cores that calls on it use, and calls/s; 0 while not measured. */
  cpu: number;
  callsPerSecond: number;
}
export interface ForecastView {
  horizonSeconds: number;
  model: string;
  points: { atMs: number; mean: number; lower: number; upper: number }[];
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
export interface InstanceView extends InstanceStatus {
  host: string;
  draining: boolean;
  /** Share of calls that it gets beside one of weight 1. */
  weight: number;
  cpuUsed: number;
}
export interface HostView {
  name: string;
  connected: boolean;
  cores: number;
  memoryBytes: number;
  kernel: string;
  degraded: { what: string; remedy: string }[];
  instances: number;
  /** What its operator lets it do: take instances, keep those that it has, or give them away. */
  use: 'open' | 'cordoned' | 'drained';
  labels?: Record<string, string>;
  taints?: string[];
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
