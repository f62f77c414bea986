import { randomBytes } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ApiRole } from '../../coordinator/api/tokens.js';
import { type Io, printJson, printLines } from '../io.js';
import { examples, type GlobalOptions } from '../session.js';

interface Options extends GlobalOptions {
  role: ApiRole;
  tokens: string;
}

export function addToken(program: Command, io: Io): void {
  const example = examples([['shoal token create ci --role operate > ci.token', 'what it prints is shown only once']]);
  const token = program
    .command('token')
    .summary('tokens for the HTTP API')
    .description('Who may do what by the HTTP API. The file of tokens is given to every coordinator with --tokens.')
    .addHelpText('after', example);
  token
    .command('create')
    .summary('make a token for somebody')
    .description(
      'Print a new token and enter its hash, with role and name, in the file of tokens. Taking the line out makes it void, without a restart.',
    )
    .argument('<name>', 'who will use it; stands in the audit log')
    .addOption(
      new Option('--role <role>', 'read; operate: also scale, modes, calendar, hosts; admin: also apply and delete')
        .choices(['read', 'operate', 'admin'])
        .default('read'),
    )
    .option('--tokens <file>', 'the file of tokens', '/etc/shoal/tokens')
    .addHelpText('after', example)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { json, role, tokens } = command.optsWithGlobals<Options>();
      const { tokenLine } = await import('../../coordinator/api/tokens.js');
      const made = randomBytes(32).toString('base64url');
      await appendFile(resolve(tokens), tokenLine({ name, role }, made), { mode: 0o600 });
      if (json) printJson(io, { name, role, token: made });
      else printLines(io, [made]);
    });
}
