import { ERRORS } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';

/** JSON schemas of the API document. Answers may carry more than is listed here; clients ignore what they do not know. */
const text = { type: 'string' } as const;
const number = { type: 'number' } as const;
const list = (items: object) => ({ type: 'array', items });
const object = (properties: Record<string, object>) => ({ type: 'object', properties, additionalProperties: true });

export const NAME = {
  type: 'string',
  pattern: '^[a-z]([a-z0-9-]*[a-z0-9])?$',
  maxLength: LIMITS.nameLengthMax,
} as const;
export const INSTANCE_ID = { type: 'string', pattern: '^[a-z][a-z0-9-]*-[0-9]+$', maxLength: 120 } as const;

export const BUILD_ID = { type: 'string', pattern: '^[0-9a-f]{16}$' } as const;

export const LOG_QUERY = {
  type: 'object',
  properties: {
    follow: { type: 'string', enum: ['0', '1'], description: '1: go on with what comes' },
    tail: { type: 'string', description: 'only the last so many lines' },
  },
  additionalProperties: false,
} as const;

export const TIME = {
  type: 'string',
  pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,3})?)?(Z|[+-]\\d\\d:\\d\\d)$',
  description: 'date and time with its zone, by RFC 3339: 2026-11-27T08:00:00Z',
} as const;

export const MODE = { type: 'string', enum: ['act', 'observe'] } as const;

const size = object({ cpu: { ...number, description: 'cores' }, memory: { ...number, description: 'bytes' } });

export const PROBLEM = object({
  type: text,
  title: text,
  status: number,
  code: { type: 'string', enum: Object.keys(ERRORS) },
  detail: text,
  errors: list(object({ path: text, line: number, column: number, message: text })),
});
export const BUILD = object({
  id: text,
  app: text,
  component: text,
  host: text,
  revision: { ...text, description: 'a commit, or the digest of a folder; empty where it could not be found out' },
  state: { type: 'string', enum: ['building', 'built', 'failed', 'cancelled'] },
  step: text,
  why: { ...text, description: 'the step that has failed and what it said' },
  startedMs: number,
  endedMs: number,
});
export const APP = object({ app: text, revision: number, manifest: object({}), components: list(text) });
export const COMPONENT = object({
  app: text,
  component: text,
  count: object({ desired: number, ready: number, min: number, max: number }),
  size,
  override: { type: ['object', 'null'], additionalProperties: true },
  paused: { type: 'boolean', description: 'all its instances are frozen by hand' },
  mode: object({
    mode: { ...MODE, description: 'observe: plans are shown and not acted on' },
    by: { type: 'string', enum: ['component', 'app', 'manifest'], description: 'where that was said' },
  }),
  wouldBe: {
    ...object({ count: number, size }),
    type: ['object', 'null'],
    description: 'what the plan would make of it, where it is not acted on',
  },
  demandCpu: { ...number, description: 'cores used' },
  requestsPerSecond: number,
  utilisation: { ...number, description: 'share of the allotted CPU' },
  latencyMs: { type: ['object', 'null'], additionalProperties: true },
  forecast: { type: ['object', 'null'], additionalProperties: true },
  start: {
    ...object({ seconds: number, kind: { type: 'string', enum: ['assumed', 'warm', 'cold'] }, seen: number }),
    description: 'time until a new instance serves, and by how many starts that is known',
  },
  reason: text,
  ports: {
    ...list(object({ name: text, host: number, missingOn: list(text) })),
    description: 'host ports, with the connected hosts on which nothing listens on them',
  },
  warm: {
    ...object({ waiting: number, memoryBytes: number }),
    description: 'processes that wait to become instances, and the memory that they take',
  },
  shards: {
    ...list(
      object({
        shard: number,
        owner: { type: ['string', 'null'] },
        cpu: number,
        callsPerSecond: number,
        copies: {
          ...object({
            epoch: number,
            phase: { type: 'string', enum: ['serving', 'passing', 'fencing', 'lost'] },
            owner: { type: ['string', 'null'] },
            inSync: list(text),
            joining: list(text),
          }),
          type: ['object', 'null'],
        },
        holds: {
          ...object({
            host: text,
            entries: number,
            liveBytes: { ...number, description: 'of the entries' },
            heldBytes: { ...number, description: 'of memory of the host, garbage included' },
            reads: { ...number, description: 'since the segment was made, as writes and refused' },
            writes: number,
            refused: { ...number, description: 'writes refused at a limit or for lack of memory' },
          }),
          type: ['object', 'null'],
          description: "what the owner's segment holds, as its host said in the last seconds",
        },
        move: {
          ...object({
            kind: { type: 'string', enum: ['instance', 'host', 'copy'] },
            from: { type: ['string', 'null'] },
            to: list(text),
          }),
          type: ['object', 'null'],
          description: 'where it is on its way to; null while it rests',
        },
        lostAtMs: {
          type: ['number', 'null'],
          description: 'when it last began empty, since no copy of it was left; null: never',
        },
      }),
    ),
    type: ['array', 'null'],
    description:
      'state shards with their owners, what calls on them use and the hosts of their copies, in the order of their numbers',
  },
  cache: {
    ...object({
      hits: { ...number, description: 'reads by way of the agent that found a value' },
      misses: number,
      nearHits: { ...number, description: 'reads of what instances keep near' },
      writes: number,
      failed: number,
      answerMs: { ...number, description: 'time of all requests that were answered' },
      slowestMs: { ...number, description: 'the longest of the last seconds' },
      waiting: { ...number, description: 'requests under way' },
      connections: { ...number, description: 'of agents to servers' },
      clients: { ...number, description: 'processes of instances that are connected to agents' },
    }),
    type: ['object', 'null'],
    description: 'what its instances do with its cache, totals since the coordinator began to lead',
  },
  stateLagMs: {
    type: ['number', 'null'],
    description: 'of replicated state: no instance lacks a write that was acknowledged so long ago or earlier',
  },
});
const accuracy = object({
  aheadSeconds: number,
  compared: { ...number, description: 'forecasts that were compared with what came' },
  errorCpu: { ...number, description: 'mean absolute error of late, cores' },
  demandCpu: { ...number, description: 'mean demand of late, cores' },
  coverage: { ...number, description: 'share of demands within lower and upper' },
});
export const FORECAST = object({
  horizonSeconds: number,
  model: text,
  level: { ...number, description: 'probability that the demand is from lower to upper' },
  accuracy: object({ step: accuracy, lead: accuracy }),
  intervals: list(object({ level: number, lower: list(number), upper: list(number) })),
  points: list(object({ atMs: number, mean: number, lower: number, upper: number })),
});
const shape = object({ count: number, size });
export const DECISION = object({
  atMs: number,
  fate: { type: 'string', enum: ['done', 'observed', 'by-hand'], description: 'whether it was carried out' },
  changed: { type: 'boolean' },
  before: shape,
  after: shape,
  summary: text,
  words: list(object({ topic: text, text })),
  outcome: {
    ...object({
      verdict: { type: 'string', enum: ['as-foretold', 'more', 'less'] },
      peakCpu: number,
      foretoldCpu: number,
      seconds: number,
      allottedCpu: number,
    }),
    type: ['object', 'null'],
    description: 'whether it turned out right; null before its time has come',
  },
  explanation: { ...object({}), description: 'what was seen, learned, expected and weighed, as numbers and codes' },
});
export const KNOWN_EVENT = object({
  id: text,
  from: text,
  to: text,
  factor: number,
  requestsPerSecond: number,
  note: text,
  repeat: text,
  next: {
    ...object({ fromMs: number, toMs: number }),
    type: ['object', 'null'],
    description: 'under way or to come; null when it is over',
  },
});
export const INSTANCE = object({
  id: text,
  app: text,
  component: text,
  host: text,
  phase: text,
  size,
  draining: { type: 'boolean' },
  weight: { ...number, description: 'share of calls that it gets beside one of weight 1' },
  cpuUsed: number,
  stateLagMs: { ...number, description: 'of replicated state: it lacks no write acknowledged so long ago or earlier' },
  restarts: number,
  shards: list(number),
  channels: {
    type: 'object',
    additionalProperties: object({ ring: number, unix: number, whyNoRing: text }),
    description: 'open channels to the components that it calls, by carrier, and why the last that is no ring is none',
  },
});
export const HOST = object({
  name: text,
  connected: { type: 'boolean' },
  reported: { type: 'boolean', description: 'it has said since it connected what runs on it' },
  standing: object({ state: text, why: text }),
  cores: number,
  memoryBytes: number,
  kernel: text,
  use: { type: 'string', enum: ['open', 'cordoned', 'drained'] },
});
export const EVENT = object({
  id: number,
  atMs: number,
  app: text,
  component: text,
  instance: text,
  kind: text,
  message: text,
});

/** Answers of a route: the good one, and problem details for all that can go wrong. */
export function answers(good: object): object {
  return { 200: good, '4xx': PROBLEM, '5xx': PROBLEM };
}

export const listOf = list;
export const objectOf = object;
