import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { SecretView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { apiPath, reasonOf } from '../client.js';
import { printJson, printLines, tableWidth } from '../io.js';
import { renderTable } from '../render/table.js';
import { clean } from '../render/text.js';
import { formatClock } from '../render/units.js';
import { examples, type OpenSession } from '../session.js';

export function addSecret(program: Command, open: OpenSession): void {
  const secret = program
    .command('secret')
    .summary('passwords and keys of apps')
    .description(
      'Set, list or delete secrets of an app. A component that names one in its manifest has it as a file, /run/secrets/NAME. A value is never an argument, which all can see, and is never shown.',
    )
    .addHelpText(
      'after',
      examples([
        ['shoal secret set shop/db-password < password.txt', 'as it is in the file, with its last line break'],
        ['shoal secret list shop', 'their names, and who has them'],
      ]),
    );
  secret
    .command('set')
    .description(
      'Set a secret to what is in a file, or comes from standard input. Instances that have it are replaced.',
    )
    .argument('<secret>', 'APP/NAME')
    .option('-f, --file <file>', 'where the value is; standard input unless given')
    .action(async (of: string, { file }: { file?: string }, command: Command) => {
      const path = secretPath(of);
      const { client, signal, json, io } = await open(command);
      const bytes = file === undefined ? await readAll(io.streams.input) : await readValue(file);
      if (bytes.length === 0 || bytes.length > LIMITS.secretBytesMax) {
        throw new ShoalError('SHOAL_E_USAGE', `a secret is 1 to ${LIMITS.secretBytesMax} bytes, not ${bytes.length}`);
      }
      const view = await client.json<SecretView>('PUT', path, { signal, bytes });
      if (json) return printJson(io, view);
      const users = view.usedBy.length === 0 ? 'no component has it yet' : `of ${view.usedBy.join(', ')}, replaced`;
      printLines(io, [clean(`${of} is set, version ${view.version}: ${users}`)]);
    });
  secret
    .command('list')
    .description('List the secrets of an app, without their values.')
    .argument('<app>', 'the app')
    .action(async (app: string, _options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      const all = await client.list<SecretView>(apiPath('apps', app, 'secrets'), { signal });
      if (json) return printJson(io, all);
      if (all.length === 0) return printLines(io, ['no secrets']);
      const columns = [
        { title: 'SECRET', value: ({ app, name }: SecretView) => `${app}/${name}` },
        { title: 'VERSION', value: ({ version }: SecretView) => String(version) },
        { title: 'SET', value: ({ changedAtMs }: SecretView) => formatClock(changedAtMs) },
        { title: 'USED BY', value: ({ usedBy }: SecretView) => usedBy.join(', ') || '-' },
      ];
      printLines(io, renderTable(all, columns, { width: tableWidth(io), paint: io.paint }));
    });
  secret
    .command('delete')
    .description('Forget a secret that no component has.')
    .argument('<secret>', 'APP/NAME')
    .action(async (of: string, _options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      const view = await client.json<SecretView>('DELETE', secretPath(of), { signal });
      if (json) return printJson(io, view);
      printLines(io, [clean(`${of} is forgotten`)]);
    });
}

function secretPath(of: string): string {
  const [app, name, ...more] = of.split('/');
  if (app && name && more.length === 0) return apiPath('apps', app, 'secrets', name);
  throw new ShoalError('SHOAL_E_USAGE', `"${of}" names no secret; write APP/NAME, such as shop/db-password`);
}

async function readValue(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot read the value: ${reasonOf(cause)}`, { cause });
  }
}

/** No more than is needed to see that it is too long. */
async function readAll(input: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > LIMITS.secretBytesMax) break;
  }
  return Buffer.concat(chunks);
}
