import type { Command } from 'commander';
import type { BuildView, ComponentView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines, tableWidth } from '../io.js';
import { type Column, renderTable } from '../render/table.js';
import { clean } from '../render/text.js';
import { formatClock } from '../render/units.js';
import { examples, type OpenSession, parseComponentName, parseScope } from '../session.js';

export function addBuild(program: Command, open: OpenSession): void {
  program
    .command('build')
    .summary('look for new code now')
    .description(
      'Have the hosts look now for a new revision of what a component is built from, and build it. A revision that failed, was taken back or cancelled is tried again.',
    )
    .argument('<component>', 'APP/COMPONENT')
    .option('--cancel', 'end the build that is under way instead; what runs goes on')
    .addHelpText(
      'after',
      examples([
        ['shoal build shop/web && shoal logs shop/web --build -f', 'build, and look on'],
        ['shoal build shop/web --cancel', 'end it'],
      ]),
    )
    .action(async (of: string, { cancel }: { cancel?: true }, command: Command) => {
      const { app, component } = parseComponentName(of);
      const { client, signal, json, io } = await open(command);
      const path = `${apiPath('apps', app, 'components', component)}/build${cancel ? '/cancel' : ''}`;
      const view = await client.json<ComponentView>('POST', path, { signal });
      if (json) return printJson(io, view);
      const done = cancel ? 'its build is cancelled' : 'its hosts look for a new revision';
      printLines(io, [clean(`${app}/${component}: ${done}`)]);
    });
}

export function addBuilds(program: Command, open: OpenSession): void {
  program
    .command('builds')
    .summary('list builds from code')
    .description('List the last builds, the latest first, with the step and the reason of those that failed.')
    .argument('[of]', 'only of this APP or APP/COMPONENT')
    .addHelpText('after', examples([['shoal builds shop/web', 'those of one component']]))
    .action(async (of: string | undefined, _options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      const query = new URLSearchParams({ ...parseScope(of) });
      const builds = await client.list<BuildView>(`${apiPath('builds')}?${query}`, { signal });
      if (json) return printJson(io, builds);
      if (builds.length === 0) return printLines(io, ['no builds']);
      printLines(io, renderTable(builds, COLUMNS, { width: tableWidth(io), paint: io.paint }));
    });
}

const COLUMNS: Column<BuildView>[] = [
  { title: 'BUILD', value: ({ app, component }) => `${app}/${component}` },
  { title: 'REVISION', value: ({ revision }) => revision.slice(0, 12) || '-' },
  { title: 'HOST', value: ({ host }) => host },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'STARTED', value: ({ startedMs }) => formatClock(startedMs) },
  { title: 'TOOK', value: tookOf, align: 'right' },
  { title: 'STEP', value: ({ state, step, why }) => (state === 'building' ? step : why) },
];

function tookOf({ startedMs, endedMs }: BuildView): string {
  return endedMs === undefined ? '' : `${((endedMs - startedMs) / 1000).toFixed(1)} s`;
}
