import type { Activity, ActivityDetail, BlockCounts, DrainedStacks } from '../../native/index.js';
import type { Sample } from '../../protocol/link.js';
import type { ProfileKind } from '../../protocol/profile.js';

/** What is counted in the kernel, as the fields of a sample; what is not counted here is absent. */
export function activityFields(activity: Activity | undefined): Partial<Sample> {
  if (activity === undefined) return {};
  const { blockReads, blockWrites = 0, blockReadBytes = 0, blockWriteBytes = 0, blockSeconds } = activity;
  const { connectsFailed: _, ...rest } = activity;
  const fields: Partial<Sample> = {};
  for (const field of SAME_FIELDS) {
    const value = rest[field];
    if (value !== undefined) fields[field] = value;
  }
  if (blockReads === undefined || blockSeconds === undefined) return fields;
  const io = { ioReadBytes: blockReadBytes, ioWriteBytes: blockWriteBytes, ioSeconds: blockSeconds };
  return { ...fields, ...io, ioOperations: blockReads + blockWrites };
}

const SAME_FIELDS = [
  'systemCalls',
  'systemCallSeconds',
  'sentBytes',
  'receivedBytes',
  'retransmits',
  'connects',
  'connectSeconds',
] as const;

const KIND_OF: Record<ActivityDetail['kind'], ProfileKind> = {
  'minor fault': 'faults',
  'major fault': 'faults',
  'system call': 'system-calls',
  peer: 'peers',
};

export type Counted = Pick<DrainedStacks, 'functions'> & {
  stacks: (Omit<DrainedStacks['stacks'][number], 'kind' | 'pid'> & { kind: ProfileKind })[];
};

/**
 * Counts by mapping, system call and peer as stacks of one frame, so that they are kept, compared and shown as profiles.
 * `componentOf` says as APP/COMPONENT whose cgroup it is.
 */
export function detailStacks(
  details: readonly ActivityDetail[],
  componentOf: (cgroup: string) => string | undefined,
): Counted {
  const functions: Counted['functions'] = [];
  const stacks: Counted['stacks'] = [];
  const add = (detail: ActivityDetail, file: string, count: number, seconds: number) => {
    if (count === 0 && seconds === 0) return;
    stacks.push({ cgroup: detail.cgroup, kind: KIND_OF[detail.kind], count, seconds, frames: [functions.length] });
    functions.push({ name: detail.name, file });
  };
  for (const detail of details) {
    if (detail.kind !== 'peer') {
      add(detail, `[${detail.kind}]`, detail.count, detail.seconds);
      continue;
    }
    const peer = { ...detail, name: peerName(detail.name, componentOf(detail.cgroup)) };
    add(peer, '[connect]', detail.count, detail.seconds);
    add(peer, '[connect failed]', detail.failed, 0);
    add(peer, '[sent again]', detail.retransmits, 0);
  }
  return { functions, stacks };
}

/**
 * Block I/O by how long it took: of each cgroup what came since the last look, in the same form. What a cgroup does between
 * the last look and its end is not told.
 */
export class BlockLatencies {
  #seen = new Map<string, readonly number[]>();

  take(blocks: readonly BlockCounts[]): Counted {
    const functions = BLOCK_LATENCIES.map(({ name }) => ({ name, file: '[block I/O]' }));
    const stacks: Counted['stacks'] = [];
    const seen = new Map<string, readonly number[]>();
    for (const { cgroup, buckets } of blocks) {
      const before = this.#seen.get(cgroup) ?? [];
      seen.set(cgroup, buckets);
      for (const [bucket, { seconds }] of BLOCK_LATENCIES.entries()) {
        const count = (buckets[bucket] ?? 0) - (before[bucket] ?? 0);
        if (count > 0) stacks.push({ cgroup, kind: 'block-io', count, seconds: count * seconds, frames: [bucket] });
      }
    }
    this.#seen = seen;
    return { functions, stacks };
  }
}

/** As native/src/profiler/activity.h has them: bucket i is up to 2^i µs, the last one all beyond. */
const BLOCK_BUCKETS = 24;
const BLOCK_LATENCIES = Array.from({ length: BLOCK_BUCKETS }, (_, bucket) => {
  const us = 2 ** bucket;
  const isLast = bucket === BLOCK_BUCKETS - 1;
  // Taken as in the middle of its bucket.
  return { name: isLast ? `${timeText(us / 2)} or more` : `under ${timeText(us)}`, seconds: (0.75 * us) / 1e6 };
});

function timeText(us: number): string {
  if (us < 1_000) return `${us} µs`;
  const [value, unit] = us < 1e6 ? [us / 1e3, 'ms'] : [us / 1e6, 's'];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

/** 127.0.0.0/8, ::1, and the former written as IPv6. */
const LOOPBACK = /^(127\.|\[::1\]:|\[::ffff:127\.)/;

/**
 * An instance has a network of its own: its loopback leads to itself, and an address beyond belongs to no component, whose
 * calls do not go by TCP.
 */
function peerName(address: string, component: string | undefined): string {
  return component !== undefined && LOOPBACK.test(address) ? `${component} ${address}` : address;
}
