import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { DecisionView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { renderDecision, renderHistory } from '../render/explain.js';
import { dateMs, examples, type OpenSession, parseComponentName, parseWhole, spanMs } from '../session.js';

const LAST_MAX = 1_000;

interface Options {
  since?: string;
  last?: string;
}

export function addExplain(program: Command, open: OpenSession): void {
  program
    .command('explain')
    .summary('why a component has what it has')
    .description(
      'Say in plain words what Shoal saw of a component, what it weighed, what it did and whether that turned out right: for the last decision that changed something and for the present one, or for all that are asked for.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .option('--since <time>', 'all decisions since then: a time ago such as 90s, 10m or 2h, or a date and time')
    .option('--last <count>', 'so many of the newest decisions')
    .addHelpText(
      'after',
      examples([
        ['shoal explain search/web', 'the last change, and why it is as it is now'],
        ['shoal explain search/web --since 10m', 'what was decided in the last ten minutes'],
        ['shoal explain search/web --last 5 --json', 'for a program to read'],
      ]),
    )
    .action(async (name: string, { since, last }: Options, command: Command) => {
      const { app, component } = parseComponentName(name);
      const query = new URLSearchParams();
      if (since !== undefined) query.set('since', String(parseSince(since, Date.now())));
      if (last !== undefined) query.set('last', String(parseWhole(last, '--last', 1, LAST_MAX)));
      const { client, signal, json, io } = await open(command);
      const path = apiPath('apps', app, 'components', component, 'decisions');
      const all = await client.list<DecisionView>(query.size > 0 ? `${path}?${query}` : path, { signal });
      const decisions = query.size > 0 ? all : lastAndPresent(all);
      if (json) return printJson(io, decisions);
      const { width } = io.size();
      const lines = decisions.flatMap((each, index) => [
        ...(index > 0 ? [''] : []),
        ...renderDecision(each, width, io.paint),
      ]);
      const none = [`nothing was decided on ${app}/${component}${query.size > 0 ? ' in that time' : ' yet'}`];
      printLines(io, [
        ...(lines.length > 0 ? lines : none),
        ...(query.size > 0 ? [] : renderHistory(all, width, io.paint)),
      ]);
    });
}

/** The last decision that changed something, and the newest if it is another one. */
function lastAndPresent(all: readonly DecisionView[]): DecisionView[] {
  const change = all.findLast(({ changed }) => changed);
  const newest = all.at(-1);
  return [change, newest === change ? undefined : newest].filter((each) => each !== undefined);
}

/** Ms since the epoch of a time ago, or of a date and time. */
export function parseSince(text: string, nowMs: number): number {
  const span = spanMs(text);
  const atMs = span === null ? dateMs(text) : Math.max(0, nowMs - span);
  if (atMs !== null) return atMs;
  throw new ShoalError(
    'SHOAL_E_USAGE',
    `--since must be a time ago such as 90s, 10m or 2h, or a date and time such as 2026-11-25T08:30, not "${text}"`,
  );
}
