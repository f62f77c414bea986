import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import type { BuildStatus, Desired } from '../../protocol/link.js';
import type { BuildSource } from '../../protocol/manifest.js';
import { resolveRevision } from './checkout.js';

export interface BuildsTools {
  /** Has what is not in the store yet built, or taken from a host that has built it. Answers the digest of the image. */
  prepare(source: BuildSource, onStep: (step: string) => void, told: (text: string) => void): Promise<string>;
  /** Ends the build with this id, which is prepared: that rejects with SHOAL_E_CANCELLED, unless it is too late. */
  cancel(id: string): void;
  idOf(source: BuildSource): string;
  clock: () => number;
  log: Logger;
  /** The statuses have changed. */
  changed(): void;
  event(app: string, component: string, kind: string, message: string): void;
}

interface Watched {
  app: string;
  component: string;
  source: BuildSource;
  lookedMs: number;
  busy: boolean;
  /** How often the revision that failed last was tried again. */
  retries: number;
  /** Revisions that were looked for or built, the last one last. */
  builds: BuildStatus[];
}

const NEVER = Number.NEGATIVE_INFINITY;
/** Builds of one component that are told of. */
const TOLD_MAX = 10;
/** A build that failed is tried again after these times, one after the other: it may have been a registry that was away. */
const RETRY_MS = [60_000, 300_000, 1_500_000];

/**
 * Looks for new revisions of the sources of this host's components and builds them, before any instance is made of them:
 * a revision that cannot be built disturbs nothing that runs. The coordinator decides what becomes of one that was built.
 */
export class Builds {
  readonly #tools: BuildsTools;
  readonly #watched = new Map<string, Watched>();
  /** Ids of the builds under way. */
  readonly #underWay = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(tools: BuildsTools) {
    this.#tools = tools;
  }

  open(): void {
    this.#timer = setInterval(() => this.#look(), LIMITS.heartbeatMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  statuses(): BuildStatus[] {
    return [...this.#watched.values()].flatMap(({ builds }) => builds);
  }

  /** Watches the sources of these apps and no others. */
  sync({ apps }: Pick<Desired, 'apps'>): void {
    const wanted = new Set<string>();
    for (const [app, components] of Object.entries(apps)) {
      for (const [component, { source }] of Object.entries(components)) {
        if (source.kind !== 'build') continue;
        const key = `${app}/${component}`;
        wanted.add(key);
        const known = this.#watched.get(key);
        if (known !== undefined && isSame(known.source, source)) this.#again(known, source);
        else this.#watched.set(key, { app, component, source, lookedMs: NEVER, busy: false, retries: 0, builds: [] });
      }
    }
    for (const key of [...this.#watched.keys()]) if (!wanted.has(key)) this.#watched.delete(key);
    this.#cancelUnwanted();
    this.#look();
  }

  /** Components of the same source share a build: it ends when none of them wants it. */
  #cancelUnwanted(): void {
    const wanted = new Set<string>();
    for (const watched of this.#watched.values()) {
      const last = watched.builds.at(-1);
      if (last?.state === 'building' && this.#isWanted(watched, last.revision)) wanted.add(last.id);
    }
    for (const id of this.#underWay) if (!wanted.has(id)) this.#tools.cancel(id);
  }

  /** When somebody has asked to look, what failed before is tried again, and what was cancelled if that no longer holds. */
  #again(known: Watched, source: BuildSource): void {
    const asked = known.source.looks !== source.looks;
    known.source = source;
    if (!asked) return;
    const isOver = ({ state, revision }: BuildStatus) =>
      state === 'failed' || (state === 'cancelled' && revision !== source.cancelled);
    known.builds = known.builds.filter((each) => !isOver(each));
    known.retries = 0;
    known.lookedMs = NEVER;
  }

  #look(): void {
    const now = this.#tools.clock();
    for (const watched of this.#watched.values()) {
      if (watched.busy || now - watched.lookedMs < LIMITS.buildLookMs) continue;
      watched.busy = true;
      watched.lookedMs = now;
      this.#buildLatest(watched)
        .catch((error: unknown) => this.#tools.log.error({ err: error }, 'a build could not be told of'))
        .finally(() => {
          watched.busy = false;
        });
    }
  }

  async #buildLatest(watched: Watched): Promise<void> {
    const { source } = watched;
    let revision: string;
    try {
      revision = await resolveRevision(source);
    } catch (error) {
      const why = textOf(toShoalError(error).message);
      if (watched.builds.at(-1)?.why === why) return;
      this.#begin(watched, source, '');
      this.#end(watched, { state: 'failed', why });
      return;
    }
    if (!shallBuild(watched.builds, revision, watched.retries, this.#tools.clock())) return;
    watched.retries = failureOf(watched.builds, revision) === undefined ? 0 : watched.retries + 1;
    // One of earlier, to which the ref has gone back, is in the store, and is told of as the latest.
    watched.builds = watched.builds.filter((each) => each.revision !== revision);
    const exactly = { ...source, revision };
    this.#begin(watched, exactly, revision);
    try {
      const image = await this.#prepare(watched, exactly);
      this.#end(watched, { state: 'built', image });
    } catch (error) {
      const { code, message } = toShoalError(error);
      // One that another component shared and had cancelled just now is tried again as any other that failed.
      const isCancelled = code === 'SHOAL_E_CANCELLED' && !this.#isWanted(watched, revision);
      this.#end(watched, { state: isCancelled ? 'cancelled' : 'failed', why: textOf(message) });
    }
  }

  #isWanted(watched: Watched, revision: string): boolean {
    const { app, component, source } = watched;
    return this.#watched.get(`${app}/${component}`) === watched && source.cancelled !== revision;
  }

  async #prepare(watched: Watched, source: BuildSource): Promise<string> {
    // Also of one that an earlier agent has ended, and of one that was too far to be ended.
    const checkWanted = () => {
      if (watched.source.cancelled === source.revision)
        throw new ShoalError('SHOAL_E_CANCELLED', 'it is no longer wanted');
    };
    checkWanted();
    const { app, component } = watched;
    const id = this.#tools.idOf(source);
    this.#underWay.add(id);
    try {
      const image = await this.#tools.prepare(
        source,
        (step) => this.#change(watched, { step: textOf(step) }),
        (text) => this.#tools.event(app, component, 'image', text),
      );
      checkWanted();
      return image;
    } finally {
      this.#underWay.delete(id);
    }
  }

  #begin(watched: Watched, source: BuildSource, revision: string): void {
    const { app, component } = watched;
    const id = this.#tools.idOf(source);
    const startedMs = this.#tools.clock();
    watched.builds.push({ id, app, component, revision, state: 'building', step: 'fetch', why: '', startedMs });
    watched.builds.splice(0, watched.builds.length - TOLD_MAX);
    this.#tools.changed();
  }

  #end(watched: Watched, change: Pick<BuildStatus, 'state'> & Partial<BuildStatus>): void {
    this.#change(watched, { ...change, endedMs: this.#tools.clock() });
    const { app, component } = watched;
    const ended = watched.builds.at(-1) as BuildStatus;
    const seconds = ((ended.endedMs as number) - ended.startedMs) / 1000;
    const name = ended.revision.slice(0, 12) || 'unknown';
    if (ended.state === 'built')
      this.#tools.event(app, component, 'built', `revision ${name} in ${seconds.toFixed(1)} s`);
    else this.#tools.event(app, component, `build-${ended.state}`, `revision ${name}: ${ended.why}`);
  }

  #change(watched: Watched, change: Partial<BuildStatus>): void {
    const last = watched.builds.length - 1;
    watched.builds[last] = { ...(watched.builds[last] as BuildStatus), ...change };
    this.#tools.changed();
  }
}

/** Whether the revision is to be built, which is the latest of its source: `builds` so far, the last one last. Pure. */
export function shallBuild(builds: readonly BuildStatus[], revision: string, retries: number, nowMs: number): boolean {
  const failed = failureOf(builds, revision);
  if (failed === undefined) return builds.at(-1)?.revision !== revision;
  // One that has no revision failed before anything was tried.
  const lastTried = builds.findLast((each) => each.revision !== '');
  const waitMs = failed === lastTried ? RETRY_MS[retries] : undefined;
  return waitMs !== undefined && nowMs - (failed.endedMs ?? failed.startedMs) >= waitMs;
}

function failureOf(builds: readonly BuildStatus[], revision: string): BuildStatus | undefined {
  return builds.find((each) => each.revision === revision && each.state === 'failed');
}

function isSame(a: BuildSource, b: BuildSource): boolean {
  return a.build === b.build && a.ref === b.ref && a.path === b.path;
}

function textOf(text: string): string {
  return text.slice(0, LIMITS.buildTextLengthMax);
}
