import { Ajv } from 'ajv';
import { ERRORS, ShoalError } from '../protocol/errors.js';
import { readSamples, type SampleRows } from '../protocol/instance-news.js';
import { LIMITS } from '../protocol/limits.js';
import {
  type AgentEvent,
  type Attach,
  type Hello,
  LINK_VERSION,
  type LogAnswer,
  type NoExec,
  type NoLog,
  type NoProfile,
  type ProfileAnswer,
  type Report,
  type Resync,
  type SeedsWanted,
} from '../protocol/link.js';
import { LOG_FILE_LENGTH_MAX } from '../protocol/log.js';
import { LABEL_PATTERN, NAME_PATTERN } from '../protocol/manifest-schema.js';
import { readProfile } from '../protocol/profile.js';

/** What an agent's messages may hold. A message outside these bounds ends its connection and touches nothing else. */
const INSTANCES_MAX = 10_000;
const HOSTS_MAX = 10_000;
const COPIES_MAX = 1_000_000;
const EVENTS_MAX = LIMITS.eventsKeptMax;
const PORTS_MAX = 65_535;
/** Longer texts of events and exits are refused; shown ones are cut to EVENT_TEXT_MAX. */
const TEXT_MAX = 64 * 1024;
const EVENT_TEXT_MAX = 2_000;
const DEGRADED_MAX = 100;
const IMAGE_LENGTH_MAX = 4_096;

export const INSTANCE_ID_PATTERN = '^[a-z][a-z0-9-]*-(0|[1-9][0-9]{0,14})$';
/** Two names, two hyphens and a number. */
export const INSTANCE_ID_LENGTH_MAX = 2 * LIMITS.nameLengthMax + 2 + 15;
const HOST_NAME_PATTERN = '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$';

const count = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
const amount = { type: 'number', minimum: 0 } as const;
const text = { type: 'string', maxLength: TEXT_MAX } as const;
const name = { type: 'string', pattern: NAME_PATTERN, maxLength: LIMITS.nameLengthMax } as const;
const label = { type: 'string', pattern: LABEL_PATTERN, maxLength: LIMITS.nameLengthMax } as const;
const instanceId = { type: 'string', pattern: INSTANCE_ID_PATTERN, maxLength: INSTANCE_ID_LENGTH_MAX } as const;

/** An object of which all properties are needed but the named ones; what else it holds is dropped. */
function object<P extends Record<string, unknown>>(properties: P, optional: readonly (keyof P & string)[] = []) {
  const required = Object.keys(properties).filter((each) => !optional.includes(each));
  return { type: 'object', additionalProperties: false, required, properties } as const;
}

const list = (items: object, maxItems: number) => ({ type: 'array', maxItems, items }) as const;

const hello = object(
  {
    type: { const: 'hello' },
    version: count,
    revision: count,
    term: count,
    host: object(
      {
        name: { type: 'string', pattern: HOST_NAME_PATTERN, maxLength: 253 },
        cores: { type: 'number', exclusiveMinimum: 0, maximum: 1_000_000 },
        memoryBytes: count,
        kernel: { type: 'string', maxLength: 1_000 },
        degraded: list(
          object({ what: text, remedy: text, part: { type: 'string', maxLength: 100 } }, ['part']),
          DEGRADED_MAX,
        ),
        labels: { type: 'object', maxProperties: LIMITS.labelsMax, propertyNames: label, additionalProperties: label },
        taints: list(label, LIMITS.labelsMax),
        fabric: { type: 'string', maxLength: 300 },
        boot: { type: 'string', maxLength: 100 },
        ownCores: { type: 'integer', minimum: 1 },
      },
      ['labels', 'taints', 'fabric', 'boot', 'ownCores'],
    ),
  },
  ['term'],
);

const shard = { type: 'integer', minimum: 0, maximum: LIMITS.shardCountMax - 1 } as const;
const shardHeat = { type: 'array', items: [shard, count, amount], minItems: 3, maxItems: 3 } as const;

const counts = object(
  {
    index: { type: 'integer', minimum: 0, maximum: INSTANCES_MAX - 1 },
    heat: list(shardHeat, LIMITS.shardCountMax),
    called: {
      type: 'object',
      maxProperties: LIMITS.componentsPerAppMax,
      propertyNames: name,
      additionalProperties: count,
    },
  },
  ['heat', 'called'],
);

const status = object(
  {
    id: instanceId,
    app: name,
    component: name,
    phase: { enum: ['starting', 'ready', 'unready', 'paused', 'draining', 'stopping', 'backoff', 'failed'] },
    size: object({ cpu: amount, memory: amount }),
    restarts: count,
    pid: count,
    startMs: amount,
    exit: object({
      code: { type: 'integer', nullable: true },
      signal: { type: 'integer', nullable: true },
      reason: text,
    }),
    shards: list(shard, LIMITS.shardCountMax),
    channels: {
      type: 'object',
      maxProperties: LIMITS.componentsPerAppMax,
      propertyNames: name,
      additionalProperties: object({ ring: count, unix: count, whyNoRing: text }, ['whyNoRing']),
    },
  },
  ['pid', 'startMs', 'exit', 'channels'],
);

const event = object({
  atMs: amount,
  app: { type: 'string', maxLength: LIMITS.nameLengthMax },
  component: { type: 'string', maxLength: LIMITS.nameLengthMax },
  instance: { type: 'string', maxLength: INSTANCE_ID_LENGTH_MAX },
  kind: { type: 'string', minLength: 1, maxLength: 100 },
  message: text,
});

const port = object({
  app: name,
  component: name,
  host: { type: 'integer', minimum: 1, maximum: PORTS_MAX },
});

const connection = object(
  {
    host: { type: 'string', maxLength: 253 },
    carrier: { enum: ['none', 'tcp', 'verbs'] },
    encrypted: { type: 'boolean' },
    reason: { type: 'string', maxLength: 1_000 },
    channels: count,
    copies: object({
      by: { enum: ['rdma', 'link'] },
      reason: { type: 'string', maxLength: 1_000 },
      rdmaBytes: count,
    }),
  },
  ['encrypted', 'copies'],
);

const hostName = { type: 'string', maxLength: 253 } as const;
const copy = object(
  {
    epoch: count,
    role: { enum: ['none', 'filling', 'replica', 'owner'] },
    last: count,
    synced: list(object({ host: hostName, since: count }), HOSTS_MAX),
    failing: list(hostName, HOSTS_MAX),
    snapshot: object({ epoch: count, last: count }),
  },
  ['snapshot'],
);

const segment = object(
  {
    shard,
    entries: count,
    liveBytes: count,
    heldBytes: count,
    reads: count,
    writes: count,
    refused: count,
    copyReads: count,
  },
  ['copyReads'],
);

const cache = object({
  hits: count,
  misses: count,
  nearHits: count,
  writes: count,
  failed: count,
  answerMs: amount,
  slowestMs: amount,
  waiting: count,
  connections: count,
  clients: count,
});

const warm = object({ app: name, component: name, waiting: count, memoryBytes: amount });

const build = object(
  {
    id: { type: 'string', pattern: '^[0-9a-f]{16}$' },
    app: name,
    component: name,
    revision: { type: 'string', pattern: '^[0-9a-f]{0,64}$' },
    state: { enum: ['building', 'built', 'failed', 'cancelled'] },
    step: { type: 'string', maxLength: LIMITS.buildTextLengthMax },
    why: { type: 'string', maxLength: LIMITS.buildTextLengthMax },
    startedMs: amount,
    endedMs: amount,
    image: { type: 'string', pattern: '^sha256:[0-9a-f]{64}$' },
  },
  ['endedMs', 'image'],
);

const blobCount = object({ blobs: count, bytes: count });

const report = object(
  {
    type: { const: 'report' },
    atMs: amount,
    revision: count,
    ids: { ...list(instanceId, INSTANCES_MAX), uniqueItems: true },
    instances: list(status, INSTANCES_MAX),
    // Bytes, which JSON Schema knows nothing of.
    samples: {},
    counts: list(counts, INSTANCES_MAX),
    events: list(event, EVENTS_MAX),
    ports: list(port, PORTS_MAX),
    warm: list(warm, INSTANCES_MAX),
    builds: list(build, INSTANCES_MAX),
    images: object({ fromHosts: blobCount, fromSources: blobCount, given: blobCount, refused: count, failed: count }),
    connections: list(connection, HOSTS_MAX),
    profiler: object(
      { samplesLost: count, countsLost: count, tablesLeftOut: count, inlinesLeftOut: count, inlinesSeconds: amount },
      ['inlinesSeconds'],
    ),
    copies: {
      type: 'object',
      maxProperties: COPIES_MAX,
      propertyNames: { type: 'string', maxLength: 2 * LIMITS.nameLengthMax + 6 },
      additionalProperties: { ...copy, nullable: true },
    },
    state: {
      type: 'object',
      maxProperties: INSTANCES_MAX,
      propertyNames: { type: 'string', maxLength: 2 * LIMITS.nameLengthMax + 1 },
      additionalProperties: list(segment, LIMITS.shardCountMax),
    },
    caches: {
      type: 'object',
      maxProperties: INSTANCES_MAX,
      propertyNames: { type: 'string', maxLength: 2 * LIMITS.nameLengthMax + 1 },
      additionalProperties: cache,
    },
    lags: {
      type: 'object',
      maxProperties: INSTANCES_MAX,
      propertyNames: instanceId,
      additionalProperties: amount,
    },
    lease: count,
  },
  [
    'ids',
    'counts',
    'ports',
    'warm',
    'builds',
    'images',
    'connections',
    'profiler',
    'copies',
    'state',
    'caches',
    'lags',
    'lease',
  ],
);

const resync = object({ type: { const: 'resync' }, revision: count });

const ticket = { type: 'string', pattern: '^[0-9a-f]{32}$' } as const;

const noExec = object({ type: { const: 'no-exec' }, ticket, code: { enum: Object.keys(ERRORS) }, why: text });

const attach = object({ type: { const: 'attach' }, ticket });

const seedsWanted = object({
  type: { const: 'seeds-wanted' },
  request: count,
  image: { type: 'string', maxLength: IMAGE_LENGTH_MAX },
});

const noProfile = object({ type: { const: 'no-profile' }, request: count, why: text });

const cursor = object({ file: { type: 'string', maxLength: LOG_FILE_LENGTH_MAX }, position: count });

// Bytes, which JSON Schema knows nothing of.
const log = object({ type: { const: 'log' }, request: count, bytes: {}, next: { ...cursor, nullable: true } });

const noLog = object({ type: { const: 'no-log' }, request: count, why: text });

// Dropping what is unknown lets an agent of a later version add fields; what is known has to be right. Optimising the
// validators' source takes longer than to compile them, and V8 does it anyway.
const ajv = new Ajv({ removeAdditional: true, strictTypes: false, code: { optimize: false } });
const validHello = ajv.compile<Hello>(hello);
const validReport = ajv.compile<Report<unknown>>(report);
const validResync = ajv.compile<Resync>(resync);
const validNoExec = ajv.compile<NoExec>(noExec);
const validAttach = ajv.compile<Attach>(attach);
const validSeedsWanted = ajv.compile<SeedsWanted>(seedsWanted);
const validNoProfile = ajv.compile<NoProfile>(noProfile);
const validLog = ajv.compile<Exclude<LogAnswer, NoLog>>(log);
const validNoLog = ajv.compile<NoLog>(noLog);

export type FromAgent = Hello | Report<SampleRows> | Resync | ProfileAnswer | LogAnswer | NoExec | Attach | SeedsWanted;

/** The message of an agent that speaks this link version, checked and stripped of what is unknown. Throws SHOAL_E_FRAME. */
export function readAgentMessage(message: unknown, version: number = LINK_VERSION): FromAgent {
  const type = typeof message === 'object' && message !== null && 'type' in message ? message.type : undefined;
  if (type === 'hello') {
    if (validHello(message)) return message;
    throw broken('hello', ajv.errorsText(validHello.errors, { dataVar: 'hello' }));
  }
  if (type === 'report') {
    if (validReport(message)) {
      return { ...message, samples: readSamples(message.samples, version), events: message.events.map(cut) };
    }
    throw broken('report', ajv.errorsText(validReport.errors, { dataVar: 'report' }));
  }
  if (type === 'resync') {
    if (validResync(message)) return message;
    throw broken('resync', ajv.errorsText(validResync.errors, { dataVar: 'resync' }));
  }
  // Too many numbers for the validator: readProfile looks at each itself.
  if (type === 'profile') {
    const { request, profile } = message as { request?: unknown; profile?: unknown };
    if (!Number.isSafeInteger(request)) throw broken('profile', 'it answers no request');
    return { type, request: request as number, profile: readProfile(profile) };
  }
  if (type === 'no-profile') {
    if (validNoProfile(message)) return message;
    throw broken('refusal', ajv.errorsText(validNoProfile.errors, { dataVar: 'no-profile' }));
  }
  if (type === 'log') {
    if (!validLog(message)) throw broken('piece of a log', ajv.errorsText(validLog.errors, { dataVar: 'log' }));
    const { bytes } = message;
    if (!(bytes instanceof Uint8Array) || bytes.length > LIMITS.logPieceBytesMax)
      throw broken('piece of a log', `it has no bytes, or more than ${LIMITS.logPieceBytesMax}`);
    return message;
  }
  if (type === 'no-log') {
    if (validNoLog(message)) return message;
    throw broken('refusal', ajv.errorsText(validNoLog.errors, { dataVar: 'no-log' }));
  }
  if (type === 'no-exec') {
    if (validNoExec(message)) return message;
    throw broken('refusal', ajv.errorsText(validNoExec.errors, { dataVar: 'no-exec' }));
  }
  if (type === 'attach') {
    if (validAttach(message)) return message;
    throw broken('attachment', ajv.errorsText(validAttach.errors, { dataVar: 'attach' }));
  }
  if (type === 'seeds-wanted') {
    if (validSeedsWanted(message)) return message;
    throw broken('question', ajv.errorsText(validSeedsWanted.errors, { dataVar: 'seeds-wanted' }));
  }
  throw new ShoalError('SHOAL_E_FRAME', `expected a hello or a report, found ${describeType(type)}`);
}

function cut(event: AgentEvent): AgentEvent {
  if (event.message.length <= EVENT_TEXT_MAX) return event;
  return { ...event, message: `${event.message.slice(0, EVENT_TEXT_MAX)}… (${event.message.length} characters)` };
}

function broken(type: string, why: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `a ${type} that is not one: ${why}`);
}

function describeType(type: unknown): string {
  return typeof type === 'string' ? `a message of type ${JSON.stringify(type.slice(0, 40))}` : 'a message without type';
}
