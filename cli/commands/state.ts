import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { WriteMode } from '../../protocol/state-transfer.js';
import { printJson, printLines } from '../io.js';
import { renderCache } from '../render/cache.js';
import { copyWays, isCopied } from '../render/copy-ways.js';
import { renderState, STATE_ORDERS, type StateOrder, sortedShards } from '../render/state.js';
import { clean } from '../render/text.js';
import { formatBytes } from '../render/units.js';
import { examples, type OpenSession, parseComponentName } from '../session.js';
import { exportState } from '../state/export.js';
import { importState } from '../state/import.js';
import { componentView, shardsIn } from '../state/shard-rounds.js';
import { fetchHosts } from './get.js';

interface Options {
  sort: string;
}

export function addState(program: Command, open: OpenSession): void {
  const state = program
    .command('state')
    .summary("a component's state shards, or the use of its cache; export and import of its state")
    .description(
      'Show the state shards of a component: who owns each, where its copies are, what it holds, what calls on it use, and where it is on its way to. Of a component with `state: cache`: what its instances do with the cache.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .option('--sort <what>', STATE_ORDERS.join(', '), 'shard')
    .addHelpText(
      'after',
      examples([
        ['shoal state search/index', 'all state shards'],
        ['shoal state search/index --sort bytes', 'the largest first'],
        ['shoal state search/index --json', 'for a program to read'],
        ['shoal state export search/index -o index.state', 'all entries into a file'],
        ['shoal state import search/index index.state --replace', 'and back'],
      ]),
    )
    .action(async (name: string, { sort }: Options, command: Command) => {
      const of = parseComponentName(name);
      const order = parseOrder(sort);
      const session = await open(command);
      const { json, io } = session;
      const view = await componentView(session, of);
      if (view.cache !== null) {
        if (json) printJson(io, view.cache);
        else printLines(io, renderCache(name, view.cache));
        return;
      }
      const shards = sortedShards(shardsIn(view, of), order);
      if (json) return printJson(io, shards);
      const ways = isCopied(shards) ? copyWays(shards, await fetchHosts(session)) : [];
      printLines(io, renderState(name, { shards, lagMs: view.stateLagMs ?? null, ways }, io.paint));
    });
  addExport(state, open);
  addImport(state, open);
}

function addExport(state: Command, open: OpenSession): void {
  state
    .command('export')
    .summary('write all entries of a component into a file')
    .description(
      'Write the entries of all state shards of a component into a file, each shard as it is at one moment, while it is served. The file has its name once it is whole.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .requiredOption('-o, --output <file>', 'where to')
    .action(async (name: string, { output }: { output: string }, command: Command) => {
      const of = parseComponentName(name);
      const session = await open(command);
      const { json, io } = session;
      const done = await exportState(session, { ...of, task: 'export' }, output);
      if (json) return printJson(io, done);
      const what = `${done.entries} entries of ${done.shards} state shards, ${formatBytes(done.bytes)}`;
      printLines(io, [clean(`${output}: ${what}`)]);
    });
}

function addImport(state: Command, open: OpenSession): void {
  state
    .command('import')
    .summary('write the entries in a file into the state of a component')
    .description(
      'Write what a file of `shoal state export` holds into the state shards of a component, whatever their number, while it is served. Nothing is touched before the whole file was checked. What ended in the middle can be run again.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .argument('<file>', 'of an export')
    .option('--merge', 'entries that the file does not have stay')
    .option('--replace', 'entries that the file does not have are removed')
    .action(async (name: string, file: string, options: ImportOptions, command: Command) => {
      const of = parseComponentName(name);
      const mode = parseMode(options);
      const session = await open(command);
      const { json, io } = session;
      const done = await importState(session, { ...of, task: 'import' }, file, mode);
      if (json) return printJson(io, done);
      const { app, component, atMs } = done.from;
      const lines = [`${file}: of ${app}/${component}, written ${new Date(atMs).toISOString()}`];
      lines.push(`${done.entries - done.expired} entries are in ${name}, ${done.removed} others removed`);
      if (done.expired > 0) lines.push(`${done.expired} had expired`);
      printLines(io, lines.map(clean));
    });
}

interface ImportOptions {
  merge?: boolean;
  replace?: boolean;
}

/** No guess: the one loses what the file does not have, the other what the file is to take back. */
function parseMode({ merge = false, replace = false }: ImportOptions): WriteMode {
  if (merge !== replace) return merge ? 'merge' : 'replace';
  const what = '--merge keeps what the file does not have, --replace removes it';
  throw new ShoalError('SHOAL_E_USAGE', `give either of the two: ${what}`);
}

function parseOrder(text: string): StateOrder {
  const found = STATE_ORDERS.find((order) => order === text);
  if (found !== undefined) return found;
  throw new ShoalError('SHOAL_E_USAGE', `--sort takes one of ${STATE_ORDERS.join(', ')}, not "${text}"`);
}
