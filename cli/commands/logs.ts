import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { BuildView } from '../../protocol/http.js';
import { pause } from '../../protocol/pause.js';
import { apiPath } from '../client.js';
import { printJsonLine } from '../io.js';
import { linesOf } from '../lines.js';
import { clean, pad } from '../render/text.js';
import {
  type ComponentName,
  examples,
  type OpenSession,
  parseComponentName,
  parseWhole,
  type Session,
} from '../session.js';
import { fetchComponents, fetchInstances } from './get.js';

const TAIL_DEFAULT = '100';
const TAIL_MAX = 1_000_000;
/** How often a followed component is looked at for new instances. */
const DISCOVER_MS = 1_000;

interface Options {
  follow?: boolean;
  tail: string;
  build?: boolean;
}

export function addLogs(program: Command, open: OpenSession): void {
  program
    .command('logs')
    .summary('what instances print')
    .description('Print what an instance, or all instances of a component, wrote to standard output and error.')
    .argument('<of>', 'instance id, or APP/COMPONENT')
    .option('-f, --follow', 'go on until interrupted; with a component, new instances join')
    .option('--build', 'what the last build of APP/COMPONENT printed; with -f until that build ends')
    .option('--tail <lines>', 'how many of the last lines of each instance', TAIL_DEFAULT)
    .addHelpText(
      'after',
      examples([
        ['shoal logs search-web-1', 'the last lines of one instance'],
        ['shoal logs search/web --build -f', 'the build of a component, as it goes on'],
        ['shoal logs search/web -f --tail 10', 'all instances of a component, each line with its instance'],
      ]),
    )
    .action(async (of: string, { follow = false, tail: tailText, build = false }: Options, command: Command) => {
      const tail = parseWhole(tailText, '--tail', 0, TAIL_MAX);
      const session = await open(command);
      if (build) await buildLogs(session, parseComponentName(of), follow, tail);
      else if (of.includes('/')) await componentLogs(session, parseComponentName(of), follow, tail);
      else await instanceLogs(session, of, { follow, tail, label: null });
    });
}

interface StreamOptions {
  follow: boolean;
  tail: number;
  /** Put before each line. */
  label: ((id: string) => string) | null;
}

async function instanceLogs({ client, signal, json, io }: Session, id: string, options: StreamOptions): Promise<void> {
  const chunks = client.stream(logPath('instances', id, options), { signal });
  for await (const line of linesOf(chunks)) {
    if (json) printJsonLine(io, { instance: id, line });
    else io.out(`${options.label?.(id) ?? ''}${clean(line)}\n`);
  }
}

function logPath(kind: 'instances' | 'builds', id: string, { follow, tail }: Omit<StreamOptions, 'label'>): string {
  const query = new URLSearchParams({ tail: String(tail) });
  if (follow) query.set('follow', '1');
  return `${apiPath(kind, id, 'logs')}?${query}`;
}

/** Of the last build; followed until it has ended. */
async function buildLogs(session: Session, name: ComponentName, follow: boolean, tail: number): Promise<void> {
  const { client, json, io } = session;
  const last = await lastBuild(session, name);
  if (last === undefined) {
    throw new ShoalError(
      'SHOAL_E_NOT_FOUND',
      `${name.app}/${name.component} has no build; \`shoal builds\` lists them`,
    );
  }
  const goesOn = follow && last.state === 'building';
  const ended = new AbortController();
  const signal = AbortSignal.any([session.signal, ended.signal]);
  const watching = goesOn ? untilBuilt(session, name, last.id).finally(() => ended.abort()) : Promise.resolve();
  try {
    for await (const line of linesOf(client.stream(logPath('builds', last.id, { follow: goesOn, tail }), { signal }))) {
      if (json) printJsonLine(io, { build: last.id, line });
      else io.out(`${clean(line)}\n`);
    }
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  }
  await watching;
}

async function untilBuilt(session: Session, name: ComponentName, id: string): Promise<void> {
  while (!session.signal.aborted) {
    const last = await lastBuild(session, name);
    if (last?.id !== id || last.state !== 'building') return;
    await pause(DISCOVER_MS, session.signal);
  }
}

async function lastBuild({ client, signal }: Session, name: ComponentName): Promise<BuildView | undefined> {
  const [last] = await client.list<BuildView>(`${apiPath('builds')}?${new URLSearchParams({ ...name })}`, { signal });
  return last;
}

async function componentLogs(session: Session, name: ComponentName, follow: boolean, tail: number): Promise<void> {
  // Asked first, so that a name that does not exist is an error and not an empty log.
  await fetchComponents(session, name);
  let widest = 0;
  const label = (id: string): string => {
    const shown = clean(id);
    widest = Math.max(widest, shown.length);
    return `${session.io.paint.cyan(pad(shown, widest))} | `;
  };
  const ids = async (): Promise<string[]> => (await fetchInstances(session, name)).map((each) => each.id);
  if (!follow) {
    for (const id of await ids()) await instanceLogs(session, id, { follow, tail, label });
    return;
  }
  const running = new Map<string, Promise<void>>();
  const failures: unknown[] = [];
  while (!session.signal.aborted && failures.length === 0) {
    for (const id of await ids()) {
      if (running.has(id)) continue;
      const stream = instanceLogs(session, id, { follow, tail, label }).catch((error: unknown) => {
        // An instance that went between the list and the log is no failure of the command.
        if (!(error instanceof ShoalError && error.code === 'SHOAL_E_NOT_FOUND')) failures.push(error);
      });
      running.set(id, stream);
    }
    await pause(DISCOVER_MS, session.signal);
  }
  if (failures.length > 0 && !session.signal.aborted) throw failures[0];
  await Promise.all(running.values());
}
