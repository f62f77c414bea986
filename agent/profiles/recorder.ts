import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ActivityProfilerHandle, DrainedStacks, StackProfilerHandle } from '../../native/index.js';
import type { StateAccess } from '../../protocol/control.js';
import { LIMITS } from '../../protocol/limits.js';
import type { ProfilerFigures } from '../../protocol/link.js';
import { PROFILE_KINDS, type Profile, type ProfileKind, type ProfileRequest } from '../../protocol/profile.js';
import { isErrno } from '../cgroup.js';
import { BlockLatencies, detailStacks } from './activity.js';
import { ComponentProfiles } from './component-profiles.js';
import { KeyAccesses } from './key-accesses.js';

export interface RecorderTools {
  profiler: StackProfilerHandle;
  /** Null: what instances do is not counted. */
  activity: ActivityProfilerHandle | null;
  hertz: number;
  /** Where profiles are kept. */
  folder: string;
  clock: () => number;
  log: Logger;
}

interface Owner {
  app: string;
  component: string;
}

/** Of the kernel, whatever kinds they are of. */
type LeftOut = Pick<DrainedStacks, 'tablesLeftOut' | 'inlinesLeftOut'>;
interface Taken extends Pick<DrainedStacks, 'functions'>, Partial<LeftOut> {
  stacks: (Pick<DrainedStacks['stacks'][number], 'cgroup' | 'count' | 'seconds' | 'frames'> & { kind: ProfileKind })[];
}

/** How often it is looked whether all components together keep to their bound. */
const BOUND_MS = 60_000;

/** Takes stacks out of the kernel once a second, adds them up by component, and answers what was kept. */
export class ProfileRecorder {
  readonly #tools: RecorderTools;
  /** Of cgroups; those no longer watched too until what was sampled in them has been taken out. */
  readonly #owners = new Map<string, Owner>();
  readonly #ended = new Set<string>();
  /** By partOf(). */
  readonly #components = new Map<string, ComponentProfiles>();
  #drainedMs: number;
  #lost = 0;
  #activityLost = 0;
  readonly #blockLatencies = new BlockLatencies();
  readonly #accesses = new KeyAccesses();
  #inlinesSeconds = 0;
  #leftOut: LeftOut = { tablesLeftOut: [], inlinesLeftOut: [] };
  #boundMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(tools: RecorderTools) {
    this.#tools = tools;
    this.#drainedMs = tools.clock();
  }

  start(): void {
    this.#timer = setInterval(() => void this.round(), LIMITS.profileDrainMs);
  }

  /** The instance's cgroup is there. Throws where there is no place for one more. */
  watch(cgroup: string, { app, component }: Owner): void {
    this.#tools.profiler.watch(cgroup);
    this.#owners.set(cgroup, { app, component });
    this.#ended.delete(cgroup);
  }

  unwatch(cgroup: string): void {
    this.#tools.profiler.unwatch(cgroup);
    this.#ended.add(cgroup);
  }

  /** What the process in the cgroup has read and written of its state since it started. */
  noteAccess(cgroup: string, access: StateAccess): void {
    if (this.#owners.has(cgroup)) this.#accesses.note(cgroup, access);
  }

  figures(): ProfilerFigures {
    return {
      samplesLost: this.#lost,
      countsLost: this.#activityLost,
      tablesLeftOut: this.#leftOut.tablesLeftOut.length,
      inlinesLeftOut: this.#leftOut.inlinesLeftOut.length,
      inlinesSeconds: this.#inlinesSeconds,
    };
  }

  /** One after the other; a failure is logged, and the next second tries again. */
  round(): Promise<void> {
    this.#working = this.#working
      .then(() => this.#round(false))
      .catch((error: unknown) => this.#tools.log.error({ err: error }, 'cannot record profiles'));
    return this.#working;
  }

  /** What was kept of the span; a profile of no stacks when nothing was. */
  async read({ app, component, kind, fromMs, toMs }: ProfileRequest): Promise<Profile> {
    // What the kernel holds still is part of it.
    if (toMs > this.#drainedMs) await this.round();
    const known = this.#components.get(partOf({ app, component }, kind)) ?? this.#open({ app, component }, kind);
    return known.read(fromMs, toMs);
  }

  /** Keeps what there is and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#working;
    await this.#round(true).catch((error: unknown) =>
      this.#tools.log.error({ err: error }, 'cannot keep the last profiles'),
    );
    this.#tools.profiler.close();
  }

  async #round(all: boolean): Promise<void> {
    const { profiler, clock } = this.#tools;
    const ended = [...this.#ended];
    const drained = this.#owners.size === 0 ? null : await profiler.drain();
    const nowMs = clock();
    // A clock that was set back has no span for this.
    if (drained !== null && nowMs > this.#drainedMs) {
      // Nobody knows whose the lost ones were: all that were running then are told.
      this.#take(drained, drained.lost - this.#lost, this.#drainedMs, nowMs);
      this.#lost = drained.lost;
      this.#leftOut = drained;
      this.#inlinesSeconds = drained.inlinesSeconds;
      this.#takeActivity(this.#drainedMs, nowMs);
      this.#take(this.#accesses.take(), 0, this.#drainedMs, nowMs);
    }
    this.#drainedMs = nowMs;
    for (const cgroup of ended) {
      if (!this.#ended.delete(cgroup)) continue;
      this.#owners.delete(cgroup);
      this.#accesses.forget(cgroup);
    }
    for (const each of this.#components.values()) {
      // One that the disk refuses is gone; the others have their turn.
      await each.flush(nowMs, all).catch((error: unknown) => {
        this.#tools.log.error({ err: error, folder: each.folder }, 'cannot keep a block of profiles');
      });
    }
    if (nowMs >= this.#boundMs && nowMs - this.#boundMs < BOUND_MS) return;
    this.#boundMs = nowMs;
    await this.#keepToBound();
  }

  #takeActivity(fromMs: number, toMs: number): void {
    const { activity } = this.#tools;
    if (activity === null) return;
    const { lost, details, blocks } = activity.drain();
    const componentOf = (cgroup: string) => {
      const owner = this.#owners.get(cgroup);
      return owner === undefined ? undefined : `${owner.app}/${owner.component}`;
    };
    this.#take(detailStacks(details, componentOf), lost - this.#activityLost, fromMs, toMs);
    this.#activityLost = lost;
    this.#take(this.#blockLatencies.take(blocks), 0, fromMs, toMs);
  }

  #take(taken: Taken, lost: number, fromMs: number, toMs: number): void {
    const { stacks, functions, tablesLeftOut = [], inlinesLeftOut = [] } = taken;
    const ofEach = new Map<ComponentProfiles, Taken['stacks']>();
    for (const stack of stacks) {
      const owner = this.#owners.get(stack.cgroup);
      if (owner === undefined) continue;
      const profiles = this.#profilesOf(owner, stack.kind);
      const known = ofEach.get(profiles);
      if (known === undefined) ofEach.set(profiles, [stack]);
      else known.push(stack);
    }
    for (const [profiles, own] of ofEach) {
      const notes = notesOf(own, functions, { tablesLeftOut, inlinesLeftOut });
      profiles.add({ fromMs, toMs, lost, functions, stacks: own, notes });
    }
  }

  #open(owner: Owner, kind: ProfileKind): ComponentProfiles {
    return new ComponentProfiles(join(this.#tools.folder, partOf(owner, kind)), kind, this.#tools.hertz);
  }

  #profilesOf(owner: Owner, kind: ProfileKind): ComponentProfiles {
    const part = partOf(owner, kind);
    let profiles = this.#components.get(part);
    if (profiles === undefined) {
      profiles = this.#open(owner, kind);
      this.#components.set(part, profiles);
    }
    return profiles;
  }

  /** Of all together the components whose last profile is oldest go first. */
  async #keepToBound(): Promise<void> {
    const { folder, log } = this.#tools;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const kept: { part: string; bytes: number; atMs: number }[] = [];
    for (const app of await readdir(folder)) {
      for (const component of await readdir(join(folder, app))) {
        for (const kind of PROFILE_KINDS) {
          const part = partOf({ app, component }, kind);
          const size = await sizeOf(join(folder, part));
          if (size !== null) kept.push({ part, ...size });
        }
      }
    }
    let sum = kept.reduce((total, { bytes }) => total + bytes, 0);
    for (const { part, bytes } of kept.sort((a, b) => a.atMs - b.atMs)) {
      if (sum <= LIMITS.profilesBytesMax) return;
      log.info({ profiles: part }, 'old profiles give way to newer ones');
      this.#components.delete(part);
      await rm(join(folder, part), { recursive: true, force: true });
      sum -= bytes;
    }
  }
}

const INLINES_WHY: Record<LeftOut['inlinesLeftOut'][number]['why'], string> = {
  unreadable: 'its debug information cannot be read, or not in time',
  split: 'its debug information is in files of its own (build without -gsplit-dwarf)',
};

/** What is not known of the files in these stacks. */
function notesOf(
  stacks: Taken['stacks'],
  functions: Taken['functions'],
  { tablesLeftOut, inlinesLeftOut }: LeftOut,
): string[] {
  if (tablesLeftOut.length === 0 && inlinesLeftOut.length === 0) return [];
  const files = new Set(stacks.flatMap(({ frames }) => frames.map((place) => functions[place]?.file)));
  const tables = tablesLeftOut
    .filter(({ file }) => files.has(file))
    .map(({ file, why }) => `stacks through ${file} may lack callers: its unwind table is left out (${why})`);
  const inlines = inlinesLeftOut
    .filter(({ file }) => files.has(file))
    .map(
      ({ file, why }) => `functions inlined in ${file} are not told, only the ones they are in: ${INLINES_WHY[why]}`,
    );
  return [...tables, ...inlines];
}

/** A component's profiles of one kind, within the folder of all. */
function partOf({ app, component }: Owner, kind: ProfileKind): string {
  return `${app}/${component}/${kind}`;
}

/** Null: nothing is there. */
async function sizeOf(path: string): Promise<{ bytes: number; atMs: number } | null> {
  let bytes = 0;
  let atMs = 0;
  try {
    for (const entry of await readdir(path, { recursive: true })) {
      const { size, mtimeMs } = await stat(join(path, entry));
      bytes += size;
      atMs = Math.max(atMs, mtimeMs);
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
  return { bytes, atMs };
}
