import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { ComponentView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { renderCache } from '../render/cache.js';
import { renderState, STATE_ORDERS, type StateOrder, sortedShards } from '../render/state.js';
import { examples, type OpenSession, parseComponentName } from '../session.js';

interface Options {
  sort: string;
}

export function addState(program: Command, open: OpenSession): void {
  program
    .command('state')
    .summary("a component's state shards: owners, copies, sizes, heat, moves under way; or the use of its cache")
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
      ]),
    )
    .action(async (name: string, { sort }: Options, command: Command) => {
      const { app, component } = parseComponentName(name);
      const order = parseOrder(sort);
      const { client, signal, json, io } = await open(command);
      const path = apiPath('apps', app, 'components', component);
      const view = await client.json<ComponentView>('GET', path, { signal });
      if (view.cache !== null) {
        if (json) printJson(io, view.cache);
        else printLines(io, renderCache(name, view.cache));
        return;
      }
      if (view.shards === null) {
        const remedy = 'give it `state: partitioned` or `state: cache` in the manifest';
        throw new ShoalError(
          'SHOAL_E_STATE_MODE',
          `${name} keeps no state, or has not said anything of it yet: ${remedy}`,
        );
      }
      const shards = sortedShards(view.shards, order);
      if (json) printJson(io, shards);
      else printLines(io, renderState(name, shards, io.paint));
    });
}

function parseOrder(text: string): StateOrder {
  const found = STATE_ORDERS.find((order) => order === text);
  if (found !== undefined) return found;
  throw new ShoalError('SHOAL_E_USAGE', `--sort takes one of ${STATE_ORDERS.join(', ')}, not "${text}"`);
}
