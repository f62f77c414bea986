import { join } from 'node:path';

/** The component with state, `store`, and the one that calls it, `caller`, of the app `t`. */
export interface StateAppOptions {
  /** Folder of compiled code. */
  dist: string;
  /** Partitioned unless told. Replicated state is in one shard. */
  mode?: 'partitioned' | 'replicated';
  shards: number;
  /** Hosts beside the owner's that hold each write. */
  replicas?: number;
  countMax: number;
  shardMemory?: string;
  /** How often snapshots go to the disk. Absent: never. */
  snapshot?: string;
  /** Copies may be read as they were at most so long ago. Absent: owners alone read. */
  staleness?: string;
  /** The caller makes a load by itself (load.mts), and is told of shards that change hands; else it asks what it is asked. */
  load?: boolean;
  /** Hosts have clocks of their own: with a load, instances ask the caller this often, in ms, what time it is there. */
  clockEveryMs?: number;
  /** Cores of each instance. Absent: from what a machine with two cores has room for, up to one. */
  cores?: number;
  /** In place of numbers.mts: a program of dist/scripts/lib, which may call its own component. */
  program?: string;
}

/** Instances are on hosts with the labels `state: yes` and `caller: yes`. */
export function stateManifest(options: StateAppOptions): unknown {
  const { dist, shards, load = false, clockEveryMs, cores, program } = options;
  const directory = join(dist, 'scripts/lib/state');
  // For the load: so many that none is held up by its allotment, so few that all find room on a machine with two cores.
  const cpu = cores ?? { min: load ? 0.3 : 0.1, max: 1 };
  const size = { cpu, memory: { min: '256Mi', max: '256Mi' } };
  const tells = { TELLS: 'caller', ...(clockEveryMs === undefined ? {} : { CLOCK_EVERY_MS: String(clockEveryMs) }) };
  return {
    app: 't',
    components: {
      store: {
        rootfs: 'host',
        directory,
        command: ['node', '/app/numbers.mjs'],
        ...(load ? { env: tells, calls: ['caller'] } : {}),
        ...(program === undefined
          ? {}
          : {
              directory: join(dist, 'scripts/lib'),
              command: ['node', join('/app', program)],
              env: { SHARDS: String(shards) },
              calls: ['store'],
            }),
        state: stateOf(options),
        count: { min: 1, max: options.countMax },
        size,
        place: { require: { state: 'yes' } },
      },
      caller: {
        rootfs: 'host',
        directory,
        command: ['node', load ? '/app/load.mjs' : '/app/ask.mjs'],
        env: { SHARDS: String(shards) },
        calls: ['store'],
        count: { min: 1, max: 1 },
        size,
        place: { require: { caller: 'yes' } },
      },
    },
  };
}

function stateOf({ mode, shards, replicas = 0, shardMemory = '16Mi', snapshot, staleness }: StateAppOptions): unknown {
  const snapshots = snapshot === undefined ? {} : { snapshot: { every: snapshot } };
  if (mode === 'replicated') return { mode, replicas, ...snapshots };
  const reads = staleness === undefined ? {} : { reads: { staleness } };
  return { mode: 'partitioned', shards, shardMemory, replicas, ...snapshots, ...reads };
}
