import { Argument, type Command } from 'commander';
import type { ComponentView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { modeText } from '../render/describe.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession, parseScope } from '../session.js';

const MODES = ['observe', 'act', 'manifest'] as const;

export function addMode(program: Command, open: OpenSession): void {
  program
    .command('mode')
    .summary('let plans be acted on, or only watch them')
    .description(
      'Say whether what Shoal plans for a component, or for all of an app, is done (act) or only shown (observe). `manifest` gives it back to the manifest.',
    )
    .argument('<of>', 'APP or APP/COMPONENT, which goes before its app')
    .addArgument(new Argument('<mode>', 'what to do with plans').choices(MODES))
    .addHelpText(
      'after',
      examples([
        ['shoal mode search observe', 'see for a day what Shoal would do to the app'],
        ['shoal explain search/web', 'what it would have done, and why'],
        ['shoal mode search act', 'let it'],
      ]),
    )
    .action(async (of: string, mode: (typeof MODES)[number], _options: unknown, command: Command) => {
      const { app = '', component } = parseScope(of);
      const { client, signal, json, io } = await open(command);
      const path = component === undefined ? apiPath('apps', app) : apiPath('apps', app, 'components', component);
      const request = mode === 'manifest' ? { signal } : { signal, body: { mode } };
      const answer = await client.json<ComponentView | ComponentView[]>(
        mode === 'manifest' ? 'DELETE' : 'PUT',
        `${path}/mode`,
        request,
      );
      if (json) return printJson(io, answer);
      const lines = [answer].flat().map((view) => `${view.app}/${view.component}: ${modeText(view)}`);
      printLines(io, lines.map(clean));
    });
}
