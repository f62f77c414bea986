import { randomBytes } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ApiRole } from '../../coordinator/api/tokens.js';
import { ShoalError } from '../../protocol/errors.js';
import type { HostBounds, JoinTokenView } from '../../protocol/http.js';
import { assertLabel, readLabels } from '../../protocol/labels.js';
import { LIMITS } from '../../protocol/limits.js';
import { parseCpu, parseMemory } from '../../protocol/manifest-units.js';
import { apiPath } from '../client.js';
import { type Io, printJson, printLines } from '../io.js';
import { type Column, renderTable } from '../render/table.js';
import { clean } from '../render/text.js';
import { formatBytes } from '../render/units.js';
import { append, examples, type GlobalOptions, type OpenSession, parseWhole, spanMs } from '../session.js';

interface Options extends GlobalOptions {
  role: ApiRole;
  tokens: string;
  join?: boolean;
  host?: string;
  ttl: string;
  uses: string;
  label: string[];
  taint: string[];
  cores?: string;
  memory?: string;
}

export function addToken(program: Command, io: Io, open: OpenSession): void {
  const example = examples([
    ['shoal token create ci --role operate > ci.token', 'what it prints is shown only once'],
    ['shoal token create rack3 --join --ttl 2h --uses 10', 'for `shoal join` on ten new hosts'],
    ['shoal token create edge --join --label zone=edge --cores 8 --memory 32Gi', 'whatever the host says of itself'],
  ]);
  const token = program
    .command('token')
    .summary('tokens for the HTTP API and for joining')
    .description(
      'Who may do what by the HTTP API, and which hosts may join. The file of tokens is given to every coordinator with --tokens.',
    )
    .addHelpText('after', example);
  token
    .command('create')
    .summary('make a token for somebody')
    .description(
      'Print a new token and enter its hash, with role and name, in the file of tokens. Taking the line out makes it void, without a restart. With --join it is a token for `shoal join`, whose hash the cluster keeps.',
    )
    .argument('<name>', 'who will use it; stands in the audit log')
    .addOption(
      new Option('--role <role>', 'read; operate: also scale, modes, calendar, hosts; admin: also apply and delete')
        .choices(['read', 'operate', 'admin'])
        .default('read'),
    )
    .option('--tokens <file>', 'the file of tokens', '/etc/shoal/tokens')
    .option('--join', 'for new hosts; asks the coordinator')
    .option('--ttl <span>', 'with --join: how long it may be used, such as 90s, 10m or 2h', '1h')
    .option('--uses <number>', 'with --join: how many hosts may use it', '1')
    .option('--host <name>', 'with --join: for this host alone, whose place it takes when there is one')
    .option(
      '--label <key=value>',
      'with --join: the hosts have these labels, whatever they say; may be given again',
      append,
      [],
    )
    .option('--taint <name>', 'with --join: the hosts have it, whatever they say; may be given again', append, [])
    .option('--cores <number>', 'with --join: no more are believed of a host')
    .option('--memory <size>', 'with --join: no more is believed of a host; such as 32Gi')
    .addHelpText('after', example)
    .action(async (name: string, _options: unknown, command: Command) => {
      const { json, role, tokens, join } = command.optsWithGlobals<Options>();
      if (join) return createJoinToken(name, command, open);
      const { tokenLine } = await import('../../coordinator/api/tokens.js');
      const made = randomBytes(32).toString('base64url');
      await appendFile(resolve(tokens), tokenLine({ name, role }, made), { mode: 0o600 });
      if (json) printJson(io, { name, role, token: made });
      else printLines(io, [made]);
    });
  token
    .command('list')
    .summary('tokens with which hosts may join')
    .description('List the tokens for joining that the cluster knows.')
    .action(async (_options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      const list = await client.list<JoinTokenView>(apiPath('join-tokens'), { signal });
      if (json) return printJson(io, list);
      printLines(io, renderTable(list, COLUMNS));
    });
  token
    .command('revoke')
    .summary('make a token for joining void')
    .description('Make a token for joining void. Hosts that have joined with it stay.')
    .argument('<id>', 'as `shoal token list` shows it')
    .action(async (id: string, _options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      await client.text('DELETE', apiPath('join-tokens', id), { signal });
      if (json) printJson(io, { id, revoked: true });
      else printLines(io, [clean(`token ${id} is void`)]);
    });
}

const COLUMNS: readonly Column<JoinTokenView>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'NAME', value: ({ name }) => name },
  { title: 'HOST', value: ({ host }) => host ?? 'any' },
  { title: 'BOUNDS', value: ({ bounds = {} }) => boundsText(bounds) },
  { title: 'USES', value: ({ usesLeft }) => String(usesLeft), align: 'right' },
  { title: 'UNTIL', value: ({ expiresAtMs }) => new Date(expiresAtMs).toISOString() },
];

function boundsText({ labels = {}, taints = [], cores, memoryBytes }: HostBounds): string {
  const parts = [
    ...Object.entries(labels).map(([label, value]) => `${label}=${value}`),
    ...taints.map((taint) => `taint ${taint}`),
    ...(cores === undefined ? [] : [`${cores} cores`]),
    ...(memoryBytes === undefined ? [] : [formatBytes(memoryBytes)]),
  ];
  return parts.join(' ') || 'none';
}

async function createJoinToken(name: string, command: Command, open: OpenSession): Promise<void> {
  const { client, signal, json, io } = await open(command);
  const options = command.optsWithGlobals<Options>();
  const { ttl, uses: count, host = null } = options;
  const ms = spanMs(ttl);
  if (ms === null) throw new ShoalError('SHOAL_E_USAGE', `--ttl must be a span such as 90s, 10m or 2h, not "${ttl}"`);
  const uses = parseWhole(count, '--uses', 1, LIMITS.joinTokenUsesMax);
  const bounds = boundsOf(options);
  // Coordinators before this version know none, and refuse the word.
  const body = { name, host, seconds: ms / 1_000, uses, ...(Object.keys(bounds).length === 0 ? {} : { bounds }) };
  const made = await client.json<{ id: string; token: string }>('POST', apiPath('join-tokens'), { body, signal });
  if (json) printJson(io, made);
  else printLines(io, [clean(made.token)]);
}

function boundsOf({ label, taint, cores, memory }: Options): HostBounds {
  for (const each of taint) assertLabel('--taint', each);
  return {
    ...(label.length === 0 ? {} : { labels: readLabels(label) }),
    ...(taint.length === 0 ? {} : { taints: [...new Set(taint)] }),
    ...(cores === undefined ? {} : { cores: positive('--cores', cores, parseCpu) }),
    ...(memory === undefined ? {} : { memoryBytes: positive('--memory', memory, parseMemory) }),
  };
}

function positive(option: string, text: string, parse: (text: string) => number): number {
  const value = parse(text);
  if (value > 0) return value;
  throw new ShoalError(
    'SHOAL_E_USAGE',
    `${option} must be a number above 0 such as in a manifest's size, not "${text}"`,
  );
}
