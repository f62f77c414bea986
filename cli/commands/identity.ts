import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Role } from '../../identity/identity.js';
import { ShoalError } from '../../protocol/errors.js';
import { type Io, printJson, printLines } from '../io.js';
import { examples, type GlobalOptions } from '../session.js';

const AUTHORITY = '/etc/shoal/authority';
const DAYS = '90';

interface Options extends GlobalOptions {
  authority: string;
  cluster: string;
  days: string;
  out?: string;
  address?: string[];
}

/** Loaded here only: no other command needs it. */
async function open(folder: string) {
  const { Authority } = await import('../../identity/authority.js');
  return new Authority(resolve(folder));
}

function said(io: Io, json: boolean | undefined, result: object, line: string): void {
  if (json) printJson(io, result);
  else printLines(io, [line]);
}

export function addIdentity(program: Command, io: Io): void {
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
      await (await open(authority)).init(cluster);
      said(io, json, { authority, cluster }, `the authority of ${cluster} is in ${authority}`);
    });
  addCert(program, io);
}

function addCert(program: Command, io: Io): void {
  const cert = program
    .command('cert')
    .summary('certificates for hosts and coordinators')
    .description('Make and revoke the certificates with which agents and coordinators of a cluster know each other.')
    .addHelpText(
      'after',
      examples([
        ['shoal cert agent rack1 --out rack1', 'then bring the folder to /etc/shoal/identity of that host'],
        ['shoal cert coordinator c1 --out c1', 'for a coordinator'],
        ['shoal cert revoke rack1/own.crt', 'then bring `revoked` to the coordinators'],
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
      await (await open(authority)).issue(role, name, Number(days), resolve(out), address);
      said(io, json, { role, name, folder: out }, `the identity of ${role} ${name} is in ${out}`);
    });
  }
  cert
    .command('revoke')
    .summary('make a certificate void')
    .description(
      "Enter a certificate in the authority's list `revoked`, which every coordinator has in its identity folder.",
    )
    .argument('<certificate>', 'file of the certificate')
    .option('--authority <dir>', 'folder of the authority', AUTHORITY)
    .action(async (file: string, _options: unknown, command: Command) => {
      const { json, authority } = command.optsWithGlobals<Options>();
      const serial = await (await open(authority)).revoke(resolve(file));
      if (serial === '') throw new ShoalError('SHOAL_E_USAGE', `${file} has no serial`);
      said(
        io,
        json,
        { serial },
        `${serial} is revoked; bring ${authority}/revoked to the identity of every coordinator`,
      );
    });
}
