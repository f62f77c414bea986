import { ShoalError } from '../protocol/errors.js';
import type { BuildView } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';
import type { BuildStatus } from '../protocol/link.js';
import {
  type AppRecord,
  appsOn,
  bump,
  type ClusterState,
  componentOf,
  instancesOf,
  own,
  wantedCount,
} from './cluster.js';
import { type Observed, type Seen, seenOf } from './observed.js';

/** Which revision of a component's source runs. */
export interface Release {
  revision: string;
  /** When it was built, by its host's clock, and when it began to be rolled out, by the coordinator's. */
  builtMs: number;
  sinceMs: number;
  /** What it takes the place of, and goes back to when the new one does not hold; absent once it has held. */
  previous?: { revision: string; generation: number };
  /** Revisions that did not hold; not taken again until somebody asks. */
  refused: readonly string[];
}

/** A change of a release, for the event log. */
export interface ReleaseStep {
  app: string;
  component: string;
  kind: 'release' | 'released' | 'rolled-back';
  message: string;
}

const REFUSED_MAX = 20;
/** A revision has held when all its instances have served for so long: a process that runs for less may be one of a crash loop. */
const HELD_MS = LIMITS.restartBackoffResetMs;
/** One that has not held by then goes back when an instance of it does not serve. */
const UNPROVEN_MS_MAX = 600_000;
/** Ends of one instance's process after which a revision has not held. */
const ENDS_MAX = 2;

/** Takes what hosts have built: the first revision of a component runs at once, a later one replaces it by and by. */
export function takeBuilt(
  state: ClusterState,
  observed: Observed,
  nowMs: number,
): { state: ClusterState; steps: ReleaseStep[] } {
  const steps: ReleaseStep[] = [];
  let next = state;
  for (const { connected, builds, info } of observed.hosts.values()) {
    if (!connected || builds.length === 0) continue;
    // Of others a host has nothing to build.
    const apps = appsOn(state, info.name);
    for (const build of builds) {
      if (build.state === 'built' && apps.includes(build.app)) next = takeOne(next, build, nowMs, steps);
    }
  }
  return { state: next === state ? state : bump(next), steps };
}

function takeOne(state: ClusterState, build: BuildStatus, nowMs: number, steps: ReleaseStep[]): ClusterState {
  const { app, component, revision, startedMs: builtMs } = build;
  const record = own(state.apps, app);
  if (record === undefined || componentOf(state, app, component)?.source.kind !== 'build') return state;
  // Its host had built it before it heard.
  if (own(record.cancelled ?? {}, component) === revision) return state;
  const release = own(record.releases ?? {}, component);
  const name = revision.slice(0, 12);
  if (release === undefined) {
    steps.push({ app, component, kind: 'release', message: `revision ${name} is the first` });
    return withRelease(state, record, component, { revision, builtMs, sinceMs: nowMs, refused: [] });
  }
  if (builtMs <= release.builtMs || revision === release.revision || release.refused.includes(revision)) return state;
  const before = release.revision.slice(0, 12);
  steps.push({ app, component, kind: 'release', message: `revision ${name} takes the place of ${before}` });
  const generation = own(record.generations, component) ?? record.revision;
  // One that was itself not proven leaves what it replaced to go back to.
  const previous = release.previous ?? { revision: release.revision, generation };
  const { refused } = release;
  const raised = replaced(record, component, record.revision + 1);
  return withRelease(state, raised, component, { revision, builtMs, sinceMs: nowMs, previous, refused });
}

/** Goes back where a new revision's instances end again and again, and is done with those that have held. */
export function judgeReleases(
  state: ClusterState,
  observed: Observed,
  nowMs: number,
): { state: ClusterState; steps: ReleaseStep[] } {
  const steps: ReleaseStep[] = [];
  let next = state;
  for (const [app, record] of Object.entries(state.apps)) {
    for (const [component, release] of Object.entries(record.releases ?? {})) {
      const { previous } = release;
      if (previous === undefined) continue;
      const found = verdict(state, observed, app, component, release, nowMs);
      if (found === 'wait') continue;
      const name = release.revision.slice(0, 12);
      const current = next.apps[app] as AppRecord;
      if (found === 'held') {
        const { previous: _, ...held } = release;
        next = withRelease(next, current, component, held);
        steps.push({ app, component, kind: 'released', message: `revision ${name} has held` });
        continue;
      }
      const refused = [...release.refused, release.revision].slice(-REFUSED_MAX);
      const { revision, generation } = previous;
      const back = replaced(current, component, generation);
      next = withRelease(next, back, component, { revision, builtMs: release.builtMs, sinceMs: nowMs, refused });
      const message = `revision ${name} does not hold, ${found}; back to ${revision.slice(0, 12)}`;
      steps.push({ app, component, kind: 'rolled-back', message });
    }
  }
  return { state: next === state ? state : bump(next), steps };
}

/** `wait`, `held`, or why it does not hold. */
function verdict(
  state: ClusterState,
  observed: Observed,
  app: string,
  component: string,
  release: Release,
  nowMs: number,
): string {
  const generation = own((state.apps[app] as AppRecord).generations, component);
  const all = instancesOf(state, app, component);
  const current = all.filter((each) => each.generation === generation);
  const seen = current.flatMap((each) => seenOf(observed, each) ?? []);
  const broken = seen.find(({ status }) => status.restarts >= ENDS_MAX)?.status;
  if (broken !== undefined) return `${broken.id}: ${broken.exit?.reason ?? 'ends again and again'}`;
  const isWhole = all.length === current.length;
  const isSoFor = (each: Seen, ms: number) => nowMs - each.phaseSinceMs >= ms;
  // An end in between begins a new phase.
  const serve = seen.filter((each) => each.status.phase === 'ready' && isSoFor(each, HELD_MS));
  const triedMs = nowMs - release.sinceMs;
  if (isWhole && serve.length >= wantedCount(state, app, component) && triedMs >= HELD_MS) return 'held';
  if (triedMs < UNPROVEN_MS_MAX) return 'wait';
  // While old ones are there it is still rolled out, which may take longer than that.
  const isUnready = (each: Seen) => each.status.phase === 'unready' && isSoFor(each, isWhole ? 0 : HELD_MS);
  const unready = seen.find(isUnready)?.status;
  if (unready === undefined) return 'wait';
  const [heldS, triedS] = [HELD_MS, UNPROVEN_MS_MAX].map((ms) => ms / 1000);
  return `${unready.id} is unready, and not all have served for ${heldS} s on end within ${triedS} s`;
}

/** Has the agents look at the source now, and try again what has failed or was taken back. */
export function lookAtSource(state: ClusterState, app: string, component: string): ClusterState {
  const record = recordOfBuilt(state, app, component);
  const looks = { ...record.looks, [component]: (own(record.looks ?? {}, component) ?? 0) + 1 };
  return bump({ ...state, apps: { ...state.apps, [app]: { ...record, looks } } });
}

/** The same by a person: what was rolled back may be taken again, and what was cancelled is built. */
export function askForBuild(state: ClusterState, app: string, component: string): ClusterState {
  const looked = lookAtSource(state, app, component);
  const { cancelled: { [component]: _, ...cancelled } = {}, ...record } = recordOfBuilt(looked, app, component);
  const asked = Object.keys(cancelled).length === 0 ? record : { ...record, cancelled };
  const release = own(record.releases ?? {}, component);
  if (release !== undefined) return withRelease(looked, asked, component, { ...release, refused: [] });
  return { ...looked, apps: { ...looked.apps, [app]: asked } };
}

/** Has the build of a component that is under way end on all hosts, and not begin again before somebody asks for it. */
export function cancelBuild(state: ClusterState, observed: Observed, app: string, component: string): ClusterState {
  const record = recordOfBuilt(state, app, component);
  const isUnderWay = (each: BuildView) =>
    each.app === app && each.component === component && each.state === 'building' && each.revision !== '';
  const build = buildsOf(observed).find(isUnderWay);
  if (build === undefined) throw new ShoalError('SHOAL_E_CONFLICT', `no build of ${app}/${component} is under way`);
  const cancelled = { ...record.cancelled, [component]: build.revision };
  return bump({ ...state, apps: { ...state.apps, [app]: { ...record, cancelled } } });
}

function recordOfBuilt(state: ClusterState, app: string, component: string): AppRecord {
  const record = own(state.apps, app);
  const found = componentOf(state, app, component);
  if (record === undefined || found === undefined) {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no component ${app}/${component}`);
  }
  if (found.source.kind !== 'build') {
    throw new ShoalError('SHOAL_E_CONFLICT', `${app}/${component} is not built from code: its manifest has no build`);
  }
  return record;
}

/** Its running instances are to be those of this generation. */
function replaced(record: AppRecord, component: string, generation: number): AppRecord {
  const revision = Math.max(record.revision, generation);
  return { ...record, revision, generations: { ...record.generations, [component]: generation } };
}

function withRelease(state: ClusterState, record: AppRecord, component: string, release: Release): ClusterState {
  const { app } = record.manifest;
  const changed = { ...record, releases: { ...record.releases, [component]: release } };
  return { ...state, apps: { ...state.apps, [app]: changed } };
}

/** The last builds of all hosts, the latest first. */
export function buildsOf(observed: Observed): BuildView[] {
  const all = [...observed.hosts.values()].flatMap(({ info, builds }) =>
    builds.map((each) => ({ ...each, host: info.name })),
  );
  return all.sort((a, b) => b.startedMs - a.startedMs).slice(0, LIMITS.buildsToldMax);
}
