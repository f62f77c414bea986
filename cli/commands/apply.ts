import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { AppView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import type { Manifest } from '../../protocol/manifest.js';
import { toUserForm } from '../../protocol/manifest-format.js';
import { apiPath, reasonOf } from '../client.js';
import { printJson, printLines } from '../io.js';
import { ProblemError, problemOfCode } from '../problem-error.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession, parseWhole } from '../session.js';
import { waitUntilReady } from '../wait.js';

const WAIT_SECONDS_DEFAULT = '60';
const WAIT_SECONDS_MAX = 86_400;
/** File name that stands for standard input. */
const STDIN = '-';

interface Options {
  file: string;
  wait?: string | true;
}

export function addApply(program: Command, open: OpenSession): void {
  program
    .command('apply')
    .summary('create or change an app')
    .description('Check a manifest here, then hand it to the coordinator, which makes the app so.')
    .requiredOption('-f, --file <file>', 'manifest in YAML or JSON; - reads standard input')
    .option(
      '--wait [seconds]',
      `wait until instances are ready and host ports listen (default ${WAIT_SECONDS_DEFAULT})`,
    )
    .addHelpText(
      'after',
      examples([
        ['shoal apply -f shoal.yaml', 'create the app, or change it to what the file says'],
        ['shoal apply -f shoal.yaml --wait 30', 'and wait 30 seconds at most until it serves'],
      ]),
    )
    .action(async ({ file, wait }: Options, command: Command) => {
      const session = await open(command);
      const waitSeconds =
        wait === undefined ? 0 : parseWhole(wait === true ? WAIT_SECONDS_DEFAULT : wait, '--wait', 1, WAIT_SECONDS_MAX);
      const manifest = await readManifest(file);
      const view = await session.client.json<AppView>('PUT', apiPath('apps', manifest.app), {
        body: toUserForm(manifest),
        signal: session.signal,
      });
      if (!session.json) printLines(session.io, [clean(`applied ${view.app}, revision ${view.revision}`)]);
      if (waitSeconds > 0) await waitUntilReady(session, manifest.app, waitSeconds);
      if (session.json) printJson(session.io, view);
      else if (waitSeconds > 0) printLines(session.io, [`${clean(view.app)} is ready`]);
    });
}

/** The manifest, checked, with its relative paths resolved against its own folder. */
export async function readManifest(file: string): Promise<Manifest> {
  const text = await readText(file);
  // Loaded here only: compiling the schema would slow down every other command.
  const { parseManifest, resolveDirectories } = await import('../../protocol/manifest-parse.js');
  const name = file === STDIN ? '<stdin>' : file;
  const parsed = parseManifest(text, name);
  if (!parsed.ok) {
    const errors = parsed.errors.map(({ path, line, column, message }) => ({ path, line, column, message }));
    const problem = problemOfCode('SHOAL_E_MANIFEST', 'the manifest is not valid; nothing was changed', errors);
    throw new ProblemError(problem, name);
  }
  return resolveDirectories(parsed.manifest, file === STDIN ? process.cwd() : dirname(resolve(file)));
}

async function readText(file: string): Promise<string> {
  try {
    if (file !== STDIN) return await readFile(file, 'utf8');
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of process.stdin) {
      const part = Buffer.from(chunk);
      bytes += part.length;
      if (bytes > LIMITS.manifestBytesMax) break;
      chunks.push(part);
    }
    if (bytes <= LIMITS.manifestBytesMax) return Buffer.concat(chunks).toString('utf8');
  } catch (cause) {
    throw new ShoalError('SHOAL_E_USAGE', `cannot read the manifest ${file}: ${reasonOf(cause)}`, { cause });
  }
  throw new ShoalError('SHOAL_E_MANIFEST', `the manifest is longer than ${LIMITS.manifestBytesMax} bytes`);
}
