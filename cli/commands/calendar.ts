import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { KnownEventBody, KnownEventView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { type Column, renderTable } from '../render/table.js';
import { clean } from '../render/text.js';
import { formatRate } from '../render/units.js';
import { dateMs, examples, type OpenSession, parseComponentName, type Session, spanMs } from '../session.js';

interface AddOptions {
  from: string;
  to?: string;
  for?: string;
  factor?: string;
  requests?: string;
  note?: string;
  repeat?: string;
  id?: string;
}

export function addCalendar(program: Command, open: OpenSession): void {
  const calendar = program
    .command('calendar')
    .summary('announce known events: sales, campaigns, closing hours')
    .description('Known events of a component: what will change its demand is planned for in advance.')
    .addHelpText(
      'after',
      examples([
        [
          'shoal calendar add search/web --from 2026-11-27T08:00 --for 4h --factor 3 --note sale',
          'three times the demand',
        ],
        [
          'shoal calendar add search/web --from 2026-11-27T08:00 --for 1h --requests 900 --repeat daily',
          'at least 900/s',
        ],
        ['shoal calendar list search/web', 'what is announced'],
        ['shoal calendar remove search/web event-1', 'take it back'],
      ]),
    );
  calendar
    .command('add')
    .summary('announce an event')
    .description(
      'Announce an event: either how many times the usual demand it brings, or how many requests per second.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .requiredOption('--from <time>', 'when it begins: a date and time, local without a zone')
    .option('--to <time>', 'when it ends')
    .option('--for <span>', 'how long it lasts, such as 30m, 4h or 2d; in place of --to')
    .option('--factor <times>', 'so many times the demand that there would be without it')
    .option('--requests <count>', 'at least so many requests per second')
    .option('--note <text>', 'what it is, for people')
    .option('--repeat <how>', 'daily or weekly; otherwise it happens once')
    .option('--id <name>', 'its name; one is made up if none is given')
    .action(async (name: string, options: AddOptions, command: Command) => {
      const body = bodyOf(options);
      const session = await open(command);
      const { client, signal, json, io } = session;
      const view = await client.json<KnownEventView>('POST', pathOf(name), { signal, body });
      if (json) printJson(io, view);
      else printLines(io, [clean(`announced ${view.id} of ${name}: ${view.from} to ${view.to}, ${effectText(view)}`)]);
    });
  calendar
    .command('list')
    .summary('what is announced')
    .description('List the known events of a component; those that are over are shown for a day.')
    .argument('<component>', 'APP/COMPONENT')
    .action(async (name: string, _options: unknown, command: Command) => {
      const session = await open(command);
      show(session, await session.client.list<KnownEventView>(pathOf(name), { signal: session.signal }));
    });
  calendar
    .command('remove')
    .summary('take an event back')
    .description('Take a known event back.')
    .argument('<component>', 'APP/COMPONENT')
    .argument('<id>', 'its name, as `shoal calendar list` shows it')
    .action(async (name: string, id: string, _options: unknown, command: Command) => {
      const session = await open(command);
      const { client, signal, json, io } = session;
      const left = await client.json<KnownEventView[]>('DELETE', `${pathOf(name)}/${encodeURIComponent(id)}`, {
        signal,
      });
      if (json) printJson(io, left);
      else printLines(io, [clean(`${id} of ${name} is taken back`)]);
    });
}

function pathOf(name: string): string {
  const { app, component } = parseComponentName(name);
  return apiPath('apps', app, 'components', component, 'known-events');
}

function bodyOf({ from, to, for: span, factor, requests, note, repeat, id }: AddOptions): KnownEventBody {
  const fromMs = timeOf('--from', from);
  if ((to === undefined) === (span === undefined)) throw usage('say when it ends, by either --to or --for');
  if ((factor === undefined) === (requests === undefined)) {
    throw usage('say what it does to the demand, by either --factor or --requests');
  }
  if (repeat !== undefined && repeat !== 'daily' && repeat !== 'weekly') {
    throw usage(`--repeat must be daily or weekly, not "${repeat}"`);
  }
  const toMs = to === undefined ? fromMs + spanOf(span ?? '') : timeOf('--to', to);
  const body: KnownEventBody = { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() };
  if (factor !== undefined) body.factor = amountOf('--factor', factor);
  if (requests !== undefined) body.requestsPerSecond = amountOf('--requests', requests);
  if (note !== undefined) body.note = note;
  if (repeat !== undefined) body.repeat = repeat;
  if (id !== undefined) body.id = id;
  return body;
}

function timeOf(name: string, text: string): number {
  const atMs = dateMs(text);
  if (atMs !== null) return atMs;
  throw usage(`${name} must be a date and time such as 2026-11-27T08:00 or 2026-11-27T08:00Z, not "${text}"`);
}

function spanOf(text: string): number {
  const span = spanMs(text);
  if (span !== null && span > 0) return span;
  throw usage(`--for must be a span such as 30m, 4h or 2d, not "${text}"`);
}

function amountOf(name: string, text: string): number {
  const value = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0) return value;
  throw usage(`${name} must be a number of at least 0, not "${text}"`);
}

function usage(detail: string): ShoalError {
  return new ShoalError('SHOAL_E_USAGE', detail);
}

const COLUMNS: Column<KnownEventView>[] = [
  { title: 'EVENT', value: ({ id }) => id },
  { title: 'FROM', value: ({ next, from }) => (next === null ? from : new Date(next.fromMs).toISOString()) },
  { title: 'TO', value: ({ next, to }) => (next === null ? `${to} (over)` : new Date(next.toMs).toISOString()) },
  { title: 'REPEAT', value: ({ repeat }) => repeat ?? '-' },
  { title: 'DEMAND', value: effectText },
  { title: 'NOTE', value: ({ note }) => note },
];

function effectText({ factor, requestsPerSecond }: KnownEventView): string {
  return factor === undefined
    ? `at least ${formatRate(requestsPerSecond ?? 0)} requests/s`
    : `${factor} × the usual demand`;
}

function show({ io, json }: Session, events: readonly KnownEventView[]): void {
  if (json) printJson(io, events);
  else if (events.length === 0) io.err('none\n');
  else printLines(io, renderTable(events, COLUMNS, { paint: io.paint }));
}
