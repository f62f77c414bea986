import type { Command } from 'commander';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession, parseComponentName } from '../session.js';

export function addPause(program: Command, open: OpenSession): void {
  program
    .command('pause')
    .summary('freeze an instance or a component')
    .description(
      'Freeze all processes of an instance, or of all instances of a component. They keep their memory, get no new calls and are asked no probe; calls that they had begun wait. The plan of a paused component is held.',
    )
    .argument('<of>', 'instance id, or APP/COMPONENT')
    .addHelpText('after', examples([['shoal pause search-web-3', 'stop it where it is, to look at it']]))
    .action((of: string, _options: unknown, command: Command) => set(of, 'PUT', command, open));
}

export function addResume(program: Command, open: OpenSession): void {
  program
    .command('resume')
    .summary('let what was paused go on')
    .description('Let an instance, or all instances of a component, go on where they were paused.')
    .argument('<of>', 'what was paused: instance id, or APP/COMPONENT')
    .addHelpText('after', examples([['shoal resume search/web', 'all of the component go on']]))
    .action((of: string, _options: unknown, command: Command) => set(of, 'DELETE', command, open));
}

async function set(of: string, method: 'PUT' | 'DELETE', command: Command, open: OpenSession): Promise<void> {
  const { client, signal, json, io } = await open(command);
  const answer = await client.json<unknown>(method, `${pathOf(of)}/pause`, { signal });
  if (json) return printJson(io, answer);
  printLines(io, [clean(`${of} ${method === 'PUT' ? 'is paused' : 'goes on'}`)]);
}

function pathOf(of: string): string {
  if (!of.includes('/')) return apiPath('instances', of);
  const { app, component } = parseComponentName(of);
  return apiPath('apps', app, 'components', component);
}
