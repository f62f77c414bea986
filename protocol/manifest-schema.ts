import { LIMITS } from './limits.js';

/**
 * JSON Schema (draft 7) of the manifest as people write it. protocol/manifest.schema.json is its published copy.
 *
 * Fields that take several kinds of value use a list of types with keywords that bind to one type each, never
 * anyOf: a value then fails for one reason only and the message can say it. `description` is what a message gives
 * as expected, so each one reads on after "expected ".
 */
export const NAME_PATTERN = '^[a-z]([a-z0-9-]*[a-z0-9])?$';
export const LABEL_PATTERN = '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$';
const NUMBER = '[0-9]+(\\.[0-9]+)?';
const NO_NUL = '^[^\\u0000]*$';

const STATE_MODES = ['none', 'replicated', 'partitioned', 'cache'];

const name = {
  type: 'string',
  pattern: NAME_PATTERN,
  maxLength: LIMITS.nameLengthMax,
  description: `a name of at most ${LIMITS.nameLengthMax} lower-case letters, digits and hyphens that starts with a letter and does not end with a hyphen`,
} as const;

const text = (description: string) =>
  ({ type: 'string', minLength: 1, maxLength: 4096, pattern: NO_NUL, description }) as const;

const cpuOne = {
  type: ['number', 'string'],
  exclusiveMinimum: 0,
  pattern: `^${NUMBER}m?$`,
  description: 'cores as a number above 0 or text such as "250m"',
} as const;

const memoryOne = {
  type: ['integer', 'string'],
  exclusiveMinimum: 0,
  pattern: `^${NUMBER}(k|M|G|T|Ki|Mi|Gi|Ti)?$`,
  description: 'bytes as a whole number or text such as "64Mi"',
} as const;

const operations = {
  type: 'integer',
  minimum: 1,
  maximum: 10_000_000,
  description: 'operations in a second, a whole number from 1 to 10000000',
} as const;

const countOne = {
  type: 'integer',
  minimum: 0,
  maximum: LIMITS.instancesPerComponentMax,
  description: `a whole number from 0 to ${LIMITS.instancesPerComponentMax}`,
} as const;

const warmOne = {
  type: 'integer',
  minimum: 0,
  maximum: LIMITS.warmPerComponentMax,
  description: `a whole number from 0 to ${LIMITS.warmPerComponentMax}`,
} as const;

const budget = {
  type: 'object',
  description: 'a map of cpu, such as {cpu: 8}',
  additionalProperties: false,
  required: ['cpu'],
  properties: { cpu: cpuOne },
} as const;

/** A quantity: one value for both ends, or an object of min and max. */
function range<One extends { type: unknown; description: string }>(one: One, types: readonly string[]) {
  return {
    ...one,
    type: [...types, 'object'],
    description: `${one.description}, or {min, max} of such`,
    additionalProperties: false,
    minProperties: 1,
    properties: { min: one, max: one },
  };
}

const secret = { ...name, description: 'the name of a secret of the app' } as const;

const label = {
  type: 'string',
  minLength: 1,
  maxLength: LIMITS.nameLengthMax,
  pattern: LABEL_PATTERN,
  description: `a label of at most ${LIMITS.nameLengthMax} letters, digits, hyphens, underscores and dots`,
} as const;

const others = (description: string) => ({
  type: 'array',
  uniqueItems: true,
  maxItems: LIMITS.componentsPerAppMax,
  items: name,
  description,
});

const place = {
  type: 'object',
  description: 'a map of spread, near, apart, require and tolerate',
  additionalProperties: false,
  properties: {
    spread: { type: 'string', enum: ['host', 'zone'], description: 'one of host and zone' },
    near: others('a list of component names, none twice'),
    apart: others('a list of component names, none twice'),
    require: {
      type: 'object',
      maxProperties: LIMITS.labelsMax,
      description: 'a map of labels that a host must have, such as {disk: ssd}',
      propertyNames: label,
      additionalProperties: label,
    },
    tolerate: {
      type: 'array',
      uniqueItems: true,
      maxItems: LIMITS.labelsMax,
      items: label,
      description: 'a list of taints of hosts, none twice',
    },
  },
};

const time = {
  type: 'string',
  pattern: `^${NUMBER}(ms|s)$`,
  description: 'a time such as 50ms or 1.5s',
} as const;

const probe = {
  type: 'object',
  description: 'a map of one of http, tcp, exec and fabric, with port, every, timeout and failures',
  additionalProperties: false,
  oneOf: [{ required: ['http'] }, { required: ['tcp'] }, { required: ['exec'] }, { required: ['fabric'] }],
  dependencies: { port: ['http'] },
  properties: {
    http: { ...text('a path'), pattern: '^/[!-~]*$', description: 'the path of an HTTP request, such as /health' },
    port: name,
    tcp: { ...name, description: 'the name of one of its ports' },
    exec: {
      type: 'array',
      minItems: 1,
      maxItems: 256,
      items: text('a text of the command'),
      description: 'a command as a list of texts, not empty',
    },
    fabric: { type: 'boolean', const: true, description: 'true' },
    every: time,
    timeout: time,
    failures: { type: 'integer', minimum: 1, maximum: 100, description: 'a whole number from 1 to 100' },
  },
};

const component = {
  type: 'object',
  description: 'the description of a component',
  additionalProperties: false,
  oneOf: [{ required: ['rootfs'] }, { required: ['image'] }, { required: ['build'] }],
  dependencies: { directory: ['rootfs'], rootfs: ['command'] },
  properties: {
    rootfs: text('"host" or the path of a root file system'),
    directory: text('the path of the folder to mount at /app'),
    image: text('the reference of an OCI image'),
    build: {
      ...text('a folder or the address of a git repository to build'),
      type: ['string', 'object'],
      description: 'a folder or the address of a git repository to build, or a map of from, ref and path',
      additionalProperties: false,
      required: ['from'],
      properties: {
        from: text('a folder or the address of a git repository'),
        ref: {
          ...text('a branch, tag or commit'),
          maxLength: 255,
          pattern: '^[A-Za-z0-9][A-Za-z0-9._/+@-]*$',
          description: 'a branch, tag or commit of letters, digits and . _ / + @ -',
        },
        path: {
          ...text('a folder inside'),
          pattern: '^(?!/)(?!(.*/)?\\.\\.(/|$))[^\\u0000]*$',
          description: 'the path of a folder inside, without ".."',
        },
      },
    },
    command: {
      type: 'array',
      minItems: 1,
      maxItems: 256,
      items: text('a text of the command'),
      description: 'a list of texts such as [node, main.js], not empty',
    },
    env: {
      type: 'object',
      maxProperties: LIMITS.envVariablesMax,
      description: `a map of at most ${LIMITS.envVariablesMax} environment variables`,
      propertyNames: {
        pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
        description: 'a variable name of letters, digits and underscores that does not start with a digit',
      },
      additionalProperties: {
        type: ['string', 'number', 'boolean'],
        pattern: NO_NUL,
        description: 'a text, number, true or false',
      },
    },
    count: range(countOne, ['integer']),
    size: {
      type: 'object',
      description: 'a map of cpu and memory',
      additionalProperties: false,
      properties: { cpu: range(cpuOne, ['number', 'string']), memory: range(memoryOne, ['integer', 'string']) },
    },
    objective: {
      type: 'object',
      description: 'exactly one of {utilisation: 0.7}, {latency: {p99: 50ms}} and {queue: 2}',
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 1,
      properties: {
        utilisation: {
          type: 'number',
          minimum: 0.05,
          maximum: 1,
          description: 'a share of the allotted CPU from 0.05 to 1',
        },
        latency: {
          type: 'object',
          description: 'one percentile with its bound, such as {p99: 50ms}',
          minProperties: 1,
          maxProperties: 1,
          propertyNames: {
            pattern: '^p([1-9]|[1-9][0-9])(\\.[0-9]{1,3})?$',
            description: 'a percentile such as p50, p99 or p99.9',
          },
          additionalProperties: {
            type: 'string',
            pattern: `^${NUMBER}(ms|s)$`,
            description: 'a time such as 50ms or 1.5s',
          },
        },
        queue: {
          type: 'number',
          minimum: 0.1,
          maximum: 10_000,
          description: 'calls waiting or running per instance, from 0.1 to 10000',
        },
      },
    },
    state: {
      type: ['string', 'object'],
      pattern: `^(${STATE_MODES.join('|')})$`,
      description: 'one of none, replicated, partitioned and cache, or a map with such a mode',
      additionalProperties: false,
      required: ['mode'],
      properties: {
        mode: { type: 'string', enum: STATE_MODES, description: 'one of none, replicated, partitioned and cache' },
        shards: {
          type: 'integer',
          minimum: 1,
          maximum: LIMITS.shardCountMax,
          description: `a whole number from 1 to ${LIMITS.shardCountMax}`,
        },
        shardMemory: memoryOne,
        value: memoryOne,
        server: text('the address of a Redis server, such as redis://cache.example:6379'),
        cluster: {
          type: 'array',
          minItems: 1,
          maxItems: LIMITS.cacheServersMax,
          uniqueItems: true,
          items: text('the address of a Redis server'),
          description: `a list of 1 to ${LIMITS.cacheServersMax} addresses of servers of a Redis Cluster`,
        },
        user: { ...text('the name of a user of the cache'), maxLength: 255 },
        password: secret,
        ca: secret,
        near: {
          ...memoryOne,
          type: ['integer', 'string', 'object'],
          description: `${memoryOne.description}, or {memory, entries}`,
          additionalProperties: false,
          required: ['memory'],
          properties: {
            memory: memoryOne,
            entries: {
              type: 'integer',
              minimum: 1,
              maximum: LIMITS.cacheNearEntriesMax,
              description: `a whole number from 1 to ${LIMITS.cacheNearEntriesMax}`,
            },
          },
        },
        snapshot: {
          type: 'object',
          description: 'a map with every',
          additionalProperties: false,
          required: ['every'],
          properties: {
            every: { type: 'string', pattern: `^${NUMBER}(ms|s|m|h)$`, description: 'a time such as 60s, 5m or 1h' },
          },
        },
        reads: {
          type: 'object',
          description: 'a map with staleness',
          additionalProperties: false,
          required: ['staleness'],
          properties: {
            staleness: { type: 'string', pattern: `^${NUMBER}(ms|s)$`, description: 'a time such as 500ms or 2s' },
          },
        },
        replicas: {
          type: 'integer',
          minimum: 0,
          maximum: LIMITS.stateReplicasMax,
          description: `a whole number from 0 to ${LIMITS.stateReplicasMax}`,
        },
      },
    },
    season: {
      type: 'string',
      pattern: `^(off|auto|${NUMBER}(s|m|h|d|w))$`,
      description: 'a time such as 90s, 24h or 7d, or "off", or "auto"',
    },
    calls: {
      type: 'array',
      uniqueItems: true,
      maxItems: LIMITS.componentsPerAppMax,
      items: name,
      description: 'a list of component names, none twice',
    },
    budget,
    mode: { type: 'string', enum: ['act', 'observe'], description: 'one of act and observe' },
    priority: { type: 'integer', minimum: 0, maximum: 1000, description: 'a whole number from 0 to 1000' },
    place,
    warm: range(warmOne, ['integer']),
    io: {
      type: 'object',
      description: 'a map of read, write, readOps, writeOps and devices',
      additionalProperties: false,
      properties: {
        read: memoryOne,
        write: memoryOne,
        readOps: operations,
        writeOps: operations,
        devices: {
          type: 'array',
          minItems: 1,
          maxItems: 64,
          uniqueItems: true,
          description: 'a list of paths of disks such as [/dev/vda], not empty',
          items: {
            ...text('the path of a disk'),
            pattern: '^/dev/[A-Za-z0-9/_-]+$',
            description: 'the path of a disk such as /dev/vda',
          },
        },
      },
    },
    exclusive: { type: 'boolean', description: 'true or false' },
    singleton: { type: 'boolean', description: 'true or false' },
    secrets: {
      type: 'array',
      uniqueItems: true,
      maxItems: LIMITS.secretsPerAppMax,
      items: name,
      description: 'a list of names of secrets, none twice',
    },
    ready: probe,
    alive: probe,
    ports: {
      type: 'array',
      maxItems: 64,
      description: 'a list of ports such as [{name: http, host: 8080}]',
      items: {
        type: 'object',
        description: 'a port such as {name: http, host: 8080}',
        additionalProperties: false,
        required: ['name', 'host'],
        properties: {
          name,
          host: { type: 'integer', minimum: 1, maximum: 65_535, description: 'a TCP port from 1 to 65535' },
        },
      },
    },
  },
};

export const MANIFEST_SCHEMA = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Shoal application manifest',
  type: 'object',
  description: 'a map of app and components',
  additionalProperties: false,
  required: ['app', 'components'],
  properties: {
    app: name,
    budget,
    components: {
      type: 'object',
      description: `a map of 1 to ${LIMITS.componentsPerAppMax} components by name`,
      minProperties: 1,
      maxProperties: LIMITS.componentsPerAppMax,
      propertyNames: name,
      additionalProperties: component,
    },
  },
};
