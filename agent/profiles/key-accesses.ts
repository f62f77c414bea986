import type { KeyAccess, StateAccess } from '../../protocol/control.js';
import type { Counted } from './activity.js';

const STATE_FILE = '[state]';
/** Of a state shard what was read and written of keys that are not among the heaviest. */
const OTHERS = '[other keys]';

/**
 * Reads and writes of partitioned state as stacks: key, state shard, reads or writes. Of each cgroup what came since the
 * last look, and from the first one on. Sums of state shards are exact; what is not told of a key is of the others.
 */
export class KeyAccesses {
  readonly #now = new Map<string, StateAccess>();
  readonly #seen = new Map<string, StateAccess>();

  /** What the process in the cgroup has said last, since it started. */
  note(cgroup: string, access: StateAccess): void {
    this.#now.set(cgroup, access);
  }

  /** The cgroup is gone. */
  forget(cgroup: string): void {
    this.#now.delete(cgroup);
    this.#seen.delete(cgroup);
  }

  take(): Counted {
    const functions: Counted['functions'] = [];
    const stacks: Counted['stacks'] = [];
    const places = new Map<string, number>();
    const placeOf = (name: string, file: string) => {
      const id = `${file}\0${name}`;
      const place = places.get(id) ?? functions.push({ name, file }) - 1;
      places.set(id, place);
      return place;
    };
    for (const [cgroup, access] of this.#now) {
      // What was before the first word may have been told by the agent before this one.
      for (const { shard, key, state, kind, count } of since(access, this.#seen.get(cgroup) ?? access)) {
        const file = state === '' ? STATE_FILE : `[state ${state}]`;
        const frames = [placeOf(key, file), placeOf(`state shard ${shard}`, STATE_FILE), placeOf(kind, STATE_FILE)];
        stacks.push({ cgroup, kind: 'keys', count, seconds: 0, frames });
      }
      this.#seen.set(cgroup, access);
    }
    return { functions, stacks };
  }
}

interface Access {
  shard: number;
  state: string;
  key: string;
  kind: 'reads' | 'writes';
  count: number;
}

/** Pure. A number that has become smaller was begun anew: by another process, or of a key that had lost its place. */
function since(now: StateAccess, before: StateAccess): Access[] {
  const all: Access[] = [];
  const keysBefore = new Map(before.keys.map((each) => [idOf(each), each]));
  const shardsBefore = new Map(before.shards.map((each) => [each[0], each]));
  const left = new Map<number, [reads: number, writes: number]>();
  for (const [shard, reads, writes] of now.shards) {
    const [, readsBefore = 0, writesBefore = 0] = shardsBefore.get(shard) ?? [];
    left.set(shard, [more(reads, readsBefore), more(writes, writesBefore)]);
  }
  for (const each of now.keys) {
    const [shard, state, key, ...counts] = each;
    const [, , , ...countsBefore] = keysBefore.get(idOf(each)) ?? [shard, state, key, 0, 0];
    for (const [i, kind] of KINDS.entries()) {
      const rest = left.get(shard);
      // Keys are drawn by lot where there are many: they may be told more than there were, sums are not.
      const count = Math.min(more(counts[i] ?? 0, countsBefore[i] ?? 0), rest?.[i] ?? 0);
      if (rest === undefined || count === 0) continue;
      rest[i] = (rest[i] ?? 0) - count;
      all.push({ shard, state, key, kind, count });
    }
  }
  for (const [shard, counts] of left) {
    for (const [i, kind] of KINDS.entries()) {
      const count = counts[i] ?? 0;
      if (count > 0) all.push({ shard, state: '', key: OTHERS, kind, count });
    }
  }
  return all;
}

const KINDS = ['reads', 'writes'] as const;

function idOf([shard, state, key]: KeyAccess): string {
  return `${shard}\0${state}\0${key}`;
}

function more(now: number, before: number): number {
  return now >= before ? now - before : now;
}
