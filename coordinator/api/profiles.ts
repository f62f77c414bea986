import type { FastifyInstance, FastifyReply } from 'fastify';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import type { HotFunctionsView, ProfileView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import {
  mergeProfiles,
  PROFILE_KINDS,
  type Profile,
  type ProfileKind,
  type ProfileRequest,
} from '../../protocol/profile.js';
import type { ProfileSource } from '../agent-questions.js';
import { componentOf } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { encodeCollapsed } from '../profiles/collapsed.js';
import type { Shown } from '../profiles/comparison.js';
import { encodeFlameGraph } from '../profiles/flame-graph.js';
import { hottest } from '../profiles/hottest.js';
import { encodePprof } from '../profiles/pprof.js';
import { found, numberIn } from './apps.js';
import { NAME, PROBLEM, TIME } from './schemas.js';

const SECONDS_DEFAULT = '60';
const FUNCTIONS_MAX = 200;
export const PROFILE_FORMATS = ['json', 'functions', 'pprof', 'collapsed', 'html'] as const;
type Format = (typeof PROFILE_FORMATS)[number];

interface Params {
  app: string;
  component: string;
}
interface Query {
  kind?: ProfileKind;
  format?: Format;
  seconds?: string;
  from?: string;
  to?: string;
  baseFrom?: string;
  baseTo?: string;
}
interface Span {
  fromMs: number;
  toMs: number;
}
type Missing = { host: string; why: string }[];

const SCHEMA = {
  summary: 'Where the time of a component went, added up over its instances on all connected hosts',
  params: { type: 'object', properties: { app: NAME, component: NAME }, required: ['app', 'component'] },
  querystring: {
    type: 'object',
    properties: {
      kind: {
        type: 'string',
        enum: PROFILE_KINDS,
        description: 'time on a CPU (the default), waiting off it, or in system calls; page faults; connections',
      },
      format: {
        type: 'string',
        enum: PROFILE_FORMATS,
        description: 'json (the default); the hottest functions alone; gzipped pprof; collapsed stacks; a page',
      },
      seconds: { type: 'string', description: 'the last so many, in place of from and to; 60 unless given' },
      from: TIME,
      to: TIME,
      baseFrom: { ...TIME, description: 'with baseTo: another span, to compare with' },
      baseTo: TIME,
    },
    additionalProperties: false,
  },
  response: { '4xx': PROBLEM, '5xx': PROBLEM },
};

/** Profiles by component and span of time, in several forms. What an app did before it was deleted is still there. */
export async function profileRoutes(
  server: FastifyInstance,
  source: ProfileSource,
  coordinator: Coordinator,
): Promise<void> {
  server.get<{ Params: Params; Querystring: Query }>(
    '/profiles/:app/:component',
    { schema: SCHEMA },
    async ({ params, query }, reply) => {
      const { kind = 'cpu', format = 'json' } = query;
      const span = spanOf(query, coordinator.now());
      const baseSpan = baseOf(query);
      const missing: Missing = [];
      const ask = (each: Span) => gather(source, { ...params, kind, ...each }, missing);
      const [profile, base] = await Promise.all([ask(span), baseSpan === null ? null : ask(baseSpan)]);
      const isEmpty = profile.stacks.length === 0 && (base?.stacks.length ?? 0) === 0;
      // A name that was mistyped would look like a component that does nothing.
      if (isEmpty) found(componentOf(coordinator.state, params.app, params.component), nothingOf(params));
      const shown = { profile, base };
      return answer(reply, format, shown, params, missing);
    },
  );
}

function nothingOf({ app, component }: Params): string {
  return `component ${app}/${component}, nor a profile of an earlier one of this name in this span`;
}

function answer(reply: FastifyReply, format: Format, shown: Shown, { app, component }: Params, missing: Missing) {
  const { kind, fromMs, toMs, hertz, lost, notes } = shown.profile;
  const said = notes === undefined ? {} : { notes };
  const head = { app, component, kind, fromMs, toMs, hertz, lost, ...said, missing };
  // A program that reads a page or a file sees by this that a part is missing.
  if (missing.length > 0) reply.header('shoal-missing-hosts', missing.map(({ host }) => host).join(','));
  switch (format) {
    case 'json': {
      const view: ProfileView = { ...head, ...shown.profile, base: shown.base };
      return view;
    }
    case 'functions': {
      const view: HotFunctionsView = { ...head, functions: hottest(shown, FUNCTIONS_MAX) };
      return view;
    }
    case 'pprof':
      reply.type('application/octet-stream');
      return encodePprof(shown);
    case 'collapsed':
      reply.type('text/plain; charset=utf-8');
      return encodeCollapsed(shown);
    case 'html':
      reply.type('text/html; charset=utf-8');
      // The page needs its own script, and nothing of this server.
      reply.header(
        'content-security-policy',
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
      );
      return encodeFlameGraph(shown, `${app}/${component}, ${kind}, ${timeText(fromMs)} to ${timeText(toMs)}`);
  }
}

/** The sum over all hosts that answer; who does not is named. Throws when none does. */
async function gather(source: ProfileSource, of: ProfileRequest, missing: Missing): Promise<Profile> {
  const hosts = source.hosts();
  if (hosts.length === 0) throw new ShoalError('SHOAL_E_UNREACHABLE', 'no host is connected that could have profiles');
  const failures: ShoalError[] = [];
  const asked = hosts.map(async (host) => {
    try {
      return await source.ask(host, of);
    } catch (error) {
      const failure = toShoalError(error);
      failures.push(failure);
      if (!missing.some((each) => each.host === host)) missing.push({ host, why: failure.message });
      return null;
    }
  });
  const profiles = (await Promise.all(asked)).filter((each) => each !== null);
  const [first] = failures;
  if (profiles.length === 0 && first !== undefined) throw first;
  const hertz = Math.max(0, ...profiles.map((each) => each.hertz));
  const lost = profiles.reduce((sum, each) => sum + each.lost, 0);
  return mergeProfiles(profiles, { kind: of.kind, fromMs: of.fromMs, toMs: of.toMs, hertz, lost });
}

function spanOf({ seconds, from, to }: Query, nowMs: number): Span {
  if (from === undefined && to === undefined) {
    const long = numberIn('seconds', seconds ?? SECONDS_DEFAULT, 1, LIMITS.profileSecondsMax);
    return { fromMs: nowMs - long * 1_000, toMs: nowMs };
  }
  if (seconds !== undefined) throw usage('give either seconds, or from and to');
  return span('from', from, 'to', to ?? new Date(nowMs).toISOString());
}

function baseOf({ baseFrom, baseTo }: Query): Span | null {
  if (baseFrom === undefined && baseTo === undefined) return null;
  return span('baseFrom', baseFrom, 'baseTo', baseTo);
}

function span(fromName: string, from: string | undefined, toName: string, to: string | undefined): Span {
  if (from === undefined || to === undefined) throw usage(`give both ${fromName} and ${toName}`);
  const [fromMs, toMs] = [Date.parse(from), Date.parse(to)];
  if (Number.isNaN(fromMs) || Number.isNaN(toMs))
    throw usage(`${fromName} and ${toName} must be dates of the calendar`);
  if (fromMs >= toMs) throw usage(`${fromName} must be before ${toName}`);
  return { fromMs, toMs };
}

function usage(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_USAGE', detail);
}

function timeText(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}
