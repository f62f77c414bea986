import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { findPackageRoot } from '../package-root.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession } from '../session.js';

/** Version is no reason to wait long for a server. */
const SERVER_MS_MAX = 3_000;

export function addVersion(program: Command, open: OpenSession): void {
  program
    .command('version')
    .summary('versions of this command and of the server')
    .description('Print the version of this command, and of the coordinator if it can be reached.')
    .addHelpText('after', examples([['shoal version', 'both versions']]))
    .action(async (_options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      const cli = await readVersion();
      let server: string | null = null;
      try {
        const answer = await client.json<{ version?: unknown }>('GET', apiPath('version'), {
          signal,
          timeoutMs: SERVER_MS_MAX,
        });
        server = String(answer.version);
      } catch (error) {
        // Not being able to ask is an answer here; being refused is not.
        if (!(error instanceof ShoalError) || error.code !== 'SHOAL_E_UNREACHABLE') throw error;
      }
      if (json) return printJson(io, { cli, server, address: client.address, node: process.versions.node });
      const reached = server === null ? 'not reached' : clean(server);
      printLines(io, [`shoal   ${cli}`, `server  ${reached} (${client.address})`, `node    ${process.versions.node}`]);
    });
}

export async function readVersion(): Promise<string> {
  const text = await readFile(new URL('package.json', findPackageRoot()), 'utf8');
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed === 'object' && parsed !== null && 'version' in parsed) return String(parsed.version);
  throw new ShoalError('SHOAL_E_INTERNAL', 'the package.json of Shoal names no version');
}
