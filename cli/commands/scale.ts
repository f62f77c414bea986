import type { Command } from 'commander';
import type { ComponentView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession, parseComponentName, parseWhole } from '../session.js';

export function addScale(program: Command, open: OpenSession): void {
  program
    .command('scale')
    .summary('set a count by hand, or give it back')
    .description('Set the count of a component by hand, which overrides its forecast until it is given back with auto.')
    .argument('<component>', 'APP/COMPONENT')
    .argument('<count>', 'number of instances, or auto')
    .addHelpText(
      'after',
      examples([
        ['shoal scale search/web 4', 'four instances, whatever the demand'],
        ['shoal scale search/web auto', 'let Shoal decide again'],
      ]),
    )
    .action(async (name: string, count: string, _options: unknown, command: Command) => {
      const { app, component } = parseComponentName(name);
      const wanted = count === 'auto' ? null : parseWhole(count, 'the count', 0, LIMITS.instancesPerComponentMax);
      const { client, signal, json, io } = await open(command);
      const path = apiPath('apps', app, 'components', component);
      if (wanted === null) await client.text('DELETE', `${path}/scale`, { signal });
      else await client.text('PUT', `${path}/scale`, { signal, body: { count: wanted } });
      if (json) printJson(io, await client.json<ComponentView>('GET', path, { signal }));
      else if (wanted === null) printLines(io, [clean(`${app}/${component} follows its demand again`)]);
      else printLines(io, [clean(`${app}/${component} set to ${wanted} by hand`)]);
    });
}
