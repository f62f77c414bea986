import { writeFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { type Command, Option } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { HotFunctionsView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { pause } from '../../protocol/pause.js';
import { PROFILE_KINDS, type ProfileKind } from '../../protocol/profile.js';
import { apiPath } from '../client.js';
import { printJson, printLines, tableWidth } from '../io.js';
import { profileCaveats, renderHotFunctions } from '../render/profile.js';
import {
  type ComponentName,
  dateMs,
  examples,
  type OpenSession,
  parseComponentName,
  parseWhole,
  type Session,
  spanMs,
} from '../session.js';

const SECONDS_DEFAULT = '10';
const FUNCTIONS_SHOWN = 30;
const FORMATS = ['pprof', 'collapsed', 'html', 'json'] as const;
type Format = (typeof FORMATS)[number];
const BY_NAME: Record<string, Format> = {
  '.pb': 'pprof',
  '.gz': 'pprof',
  '.pprof': 'pprof',
  '.txt': 'collapsed',
  '.collapsed': 'collapsed',
  '.folded': 'collapsed',
  '.html': 'html',
  '.json': 'json',
};

interface Options {
  seconds?: string;
  last?: string;
  from?: string;
  to?: string;
  baseFrom?: string;
  baseTo?: string;
  offCpu?: boolean;
  kind?: ProfileKind;
  output?: string;
  format?: Format;
}

export function addProfile(program: Command, open: OpenSession): void {
  program
    .command('profile')
    .summary('where the time of a component goes, by function')
    .description(
      'Watch all instances of a component for some seconds, or look back, and show the functions in which the time is spent; with -o, write a profile for other tools, or a page with a flame graph.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .option('--seconds <n>', `watch for so long from now (default: ${SECONDS_DEFAULT})`)
    .option('--last <span>', 'look back instead, such as 90s, 10m or 1h')
    .option('--from <time>', 'look back from this time, such as 2026-11-24T08:00')
    .option('--to <time>', 'with --from: up to this time (default: now)')
    .option('--base-from <time>', 'compare with another span: what has changed since')
    .option('--base-to <time>', 'with --base-from: its end')
    .option('--off-cpu', 'the time spent waiting, by what is waited in')
    .addOption(new Option('--kind <kind>', 'something else than time on a CPU').choices(PROFILE_KINDS))
    .option('-o, --output <file>', 'write to this file; its name says the format: .pb.gz, .txt, .html or .json')
    .addOption(new Option('--format <format>', 'whatever the name of the file says').choices(FORMATS))
    .addHelpText(
      'after',
      examples([
        ['shoal profile search/web', 'watch for ten seconds, then list the hottest functions'],
        ['shoal profile search/web --seconds 30 -o web.html', 'a flame graph to open in a browser'],
        ['shoal profile search/web --last 1h -o web.pb.gz', 'the last hour, for go tool pprof'],
      ]),
    )
    .action(async (name: string, options: Options, command: Command) => {
      const component = parseComponentName(name);
      const format = formatOf(options);
      const span = spanOf(options, Date.now());
      const session = await open(command);
      const query = new URLSearchParams(await span(session));
      const kind = options.offCpu ? 'off-cpu' : options.kind;
      if (kind !== undefined) query.set('kind', kind);
      if (options.output === undefined) await show(session, component, query);
      else await save(session, component, query, format, options.output);
    });
}

async function show(session: Session, component: ComponentName, query: URLSearchParams): Promise<void> {
  const { io, json } = session;
  const view = await fetchHotFunctions(session, component, query);
  if (json) return printJson(io, view);
  const options = { width: tableWidth(io), paint: io.paint, most: FUNCTIONS_SHOWN, compared: query.has('baseFrom') };
  printLines(io, renderHotFunctions(view, options));
  for (const line of profileCaveats(view)) io.err(`${line}\n`);
}

async function save(
  { client, signal, io, json }: Session,
  { app, component }: ComponentName,
  query: URLSearchParams,
  format: Format,
  path: string,
): Promise<void> {
  query.set('format', format);
  const bytes = await client.bytes('GET', `${apiPath('profiles', app, component)}?${query}`, { signal });
  try {
    await writeFile(path, bytes);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
  if (json) printJson(io, { file: path, format, bytes: bytes.length });
  else printLines(io, [`${path}: ${format}, ${bytes.length} bytes`]);
}

/** The hottest functions of the span that the query names. */
export function fetchHotFunctions(
  { client, signal }: Session,
  { app, component }: ComponentName,
  query: URLSearchParams,
): Promise<HotFunctionsView> {
  query.set('format', 'functions');
  return client.json<HotFunctionsView>('GET', `${apiPath('profiles', app, component)}?${query}`, { signal });
}

function formatOf({ output, format }: Options): Format {
  if (format !== undefined && output === undefined) throw usage('--format says what is written: name a file by -o');
  if (format !== undefined || output === undefined) return format ?? 'json';
  const known = BY_NAME[extname(output)];
  if (known !== undefined) return known;
  throw usage(`the name ${output} says no format: end it with .pb.gz, .txt, .html or .json, or give --format`);
}

/** Reads the options now, so that what is wrong is said before anything is waited for; answers the query of the span. */
function spanOf(options: Options, nowMs: number): (session: Session) => Promise<Record<string, string>> {
  const { seconds, last, from, to } = options;
  if ([seconds, last, from].filter((each) => each !== undefined).length > 1)
    throw usage('give one of --seconds, --last and --from');
  if (to !== undefined && from === undefined) throw usage('--to needs --from');
  const base = baseOf(options);
  if (last !== undefined) {
    const ms = spanMs(last);
    if (ms === null || ms === 0) throw usage(`--last must be a span such as 90s, 10m or 1h, not "${last}"`);
    return async () => ({ ...between(nowMs - ms, nowMs), ...base });
  }
  if (from !== undefined) {
    const span = between(timeOf('--from', from), to === undefined ? nowMs : timeOf('--to', to));
    return async () => ({ ...span, ...base });
  }
  const length = parseWhole(seconds ?? SECONDS_DEFAULT, '--seconds', 1, LIMITS.profileSecondsMax);
  return async ({ signal, io, json }) => {
    if (!json && io.terminal) io.err(`watching for ${length} s…\n`);
    const startMs = Date.now();
    await pause(length * 1_000, signal);
    // Interrupted: what there is until now is shown.
    return { ...between(startMs, Math.max(Date.now(), startMs + 1_000)), ...base };
  };
}

function baseOf({ baseFrom, baseTo }: Options): Record<string, string> {
  if (baseFrom === undefined && baseTo === undefined) return {};
  if (baseFrom === undefined || baseTo === undefined) throw usage('give both --base-from and --base-to');
  const span = between(timeOf('--base-from', baseFrom), timeOf('--base-to', baseTo));
  return { baseFrom: span.from, baseTo: span.to };
}

function timeOf(option: string, text: string): number {
  const atMs = dateMs(text);
  if (atMs !== null) return atMs;
  throw usage(`${option} must be a date and time such as 2026-11-24T08:00, not "${text}"`);
}

function between(fromMs: number, toMs: number): { from: string; to: string } {
  return { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() };
}

function usage(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_USAGE', detail);
}
