import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Role } from '../../identity/identity.js';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import type { RevokedView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { type Io, printJson, printLines } from '../io.js';
import { type Column, renderTable } from '../render/table.js';
import { clean } from '../render/text.js';
import { examples, type GlobalOptions, type OpenSession } from '../session.js';

const AUTHORITY = '/etc/shoal/authority';
const DAYS = '90';

interface Options extends GlobalOptions {
  authority: string;
  cluster: string;
  days: string;
  out?: string;
  address?: string[];
  offline?: boolean;
}

/** Loaded here only: no other command needs it. */
async function authorityIn(folder: string) {
  const { Authority } = await import('../../identity/authority.js');
  return new Authority(resolve(folder));
}

function said(io: Io, json: boolean | undefined, result: object, line: string): void {
  if (json) printJson(io, result);
  else printLines(io, [line]);
}

export function addIdentity(program: Command, io: Io, open: OpenSession): void {
  program
    .command('init')
    .summary('make the certificate authority of a cluster')
    .description(
      'Make the certificate authority of a cluster of several hosts. Its folder stays where it is, and is kept safe.',
    )
    .option('--authority <dir>', 'folder of the authority', AUTHORITY)
    .option('--cluster <name>', 'name of the cluster', hostname())
    .addHelpText('after', examples([['shoal init --cluster north', 'once for a cluster']]))
    .action(async (_options: unknown, command: Command) => {
      const { json, authority, cluster } = command.optsWithGlobals<Options>();
      await (await authorityIn(authority)).init(cluster);
      said(io, json, { authority, cluster }, `the authority of ${cluster} is in ${authority}`);
    });
  addCert(program, io, open);
}

function addCert(program: Command, io: Io, open: OpenSession): void {
  const cert = program
    .command('cert')
    .summary('certificates for hosts and coordinators')
    .description('Make and revoke the certificates with which agents and coordinators of a cluster know each other.')
    .addHelpText(
      'after',
      examples([
        ['shoal cert agent rack1 --out rack1', 'then bring the folder to /etc/shoal/identity of that host'],
        ['shoal cert coordinator c1 --out c1', 'for a coordinator'],
        ['shoal cert revoke rack1/own.crt', 'all coordinators and agents are told'],
      ]),
    );
  for (const role of ['agent', 'coordinator'] satisfies Role[]) {
    const made = cert
      .command(role)
      .summary(`make the identity of ${role === 'agent' ? "a host's agent" : 'a coordinator'}`)
      .description('Make certificate and key in a folder that is to be brought to the host. The same again renews it.')
      .argument('<name>', role === 'agent' ? 'name of the host' : 'name of the coordinator')
      .option('--authority <dir>', 'folder of the authority', AUTHORITY)
      .option('--days <number>', 'how long it is valid', DAYS)
      .option('--out <dir>', 'folder to make, instead of one of that name');
    if (role === 'coordinator') {
      made.option('--address <name-or-ip...>', 'also stands in the certificate, for callers that go by addresses');
    }
    made.action(async (name: string, _options: unknown, command: Command) => {
      const { json, authority, days, out = name, address = [] } = command.optsWithGlobals<Options>();
      await (await authorityIn(authority)).issue(role, name, Number(days), resolve(out), address);
      said(io, json, { role, name, folder: out }, `the identity of ${role} ${name} is in ${out}`);
    });
  }
  cert
    .command('revoke')
    .summary('make a certificate void')
    .description(
      "Make a certificate of a coordinator or an agent void: it is entered in the authority's list `revoked`, and the cluster is told, which refuses it from then on. Renew first what is to stay.",
    )
    .argument('<certificate>', 'file of the certificate')
    .option('--authority <dir>', 'folder of the authority', AUTHORITY)
    .option('--offline', 'only enter it in the list, to be brought to the identity folder of every coordinator by hand')
    .action(async (file: string, _options: unknown, command: Command) => {
      const { json, authority, offline } = command.optsWithGlobals<Options>();
      const { serial, name, validToMs } = await (await authorityIn(authority)).revoke(resolve(file));
      const list = `${authority}/revoked`;
      if (offline) {
        const remedy = `bring ${list} to the identity of every coordinator`;
        return said(io, json, { serial, name, told: false }, clean(`${serial} (${name}) is revoked; ${remedy}`));
      }
      await tell(command, open, serial, { name, validToMs }, list);
      said(io, json, { serial, name, told: true }, clean(`${serial} (${name}) is revoked`));
    });
  cert
    .command('revoked')
    .summary('certificates that are void')
    .description('List the certificates that the cluster knows to be void before they expire.')
    .action(async (_options: unknown, command: Command) => {
      const { client, signal, json } = await open(command);
      const list = await client.list<RevokedView>(apiPath('revoked'), { signal });
      if (json) printJson(io, list);
      else printLines(io, renderTable(list, COLUMNS));
    });
}

const COLUMNS: readonly Column<RevokedView>[] = [
  { title: 'SERIAL', value: ({ serial }) => serial },
  { title: 'OF', value: ({ name }) => clean(name) },
  { title: 'SINCE', value: ({ atMs }) => new Date(atMs).toISOString() },
  { title: 'WOULD EXPIRE', value: ({ validToMs }) => new Date(validToMs).toISOString() },
];

async function tell(
  command: Command,
  open: OpenSession,
  serial: string,
  body: Omit<RevokedView, 'serial' | 'atMs'>,
  list: string,
): Promise<void> {
  try {
    const { client, signal } = await open(command);
    await client.text('PUT', apiPath('revoked', serial), { body, signal });
  } catch (cause) {
    const { code, message } = toShoalError(cause);
    const remedy = `it is in ${list}; repeat the command when a coordinator can be asked, or see --offline`;
    throw new ShoalError(code, `the cluster was not told that ${serial} is revoked: ${message}; ${remedy}`, { cause });
  }
}
