import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import { readToken } from '../client.js';
import { addFabricOptions, type FabricOptions, fabricArguments } from '../fabric-options.js';
import { type Io, printJson, printLines } from '../io.js';
import { append, examples, type GlobalOptions } from '../session.js';

const FOLDER = '/etc/shoal';
const SERVICE = 'shoal-agent.service';
/** Exists where systemd is the first program (sd_booted(3)). */
const SYSTEMD = '/run/systemd/system';

interface Options extends GlobalOptions, FabricOptions {
  name: string;
  folder: string;
  coordinator: string[];
  label: string[];
  taint: string[];
  start: boolean;
  force?: boolean;
}

export function addJoin(program: Command, io: Io, signal: AbortSignal): void {
  const join = program
    .command('join')
    .summary('make this host a member of a cluster')
    .description(
      "Get a certificate for this host from a coordinator, write the agent's options and start it as a service. The token, made by `shoal token create NAME --join`, is read from --token-file or $SHOAL_JOIN_TOKEN; it says by which authority the cluster is known. The private key is made here and stays here.",
    )
    .argument('<server>', 'address of any coordinator, such as https://10.0.0.1:7946')
    .option('--name <name>', 'name of this host', hostname())
    .option('--folder <dir>', 'where identity and options go', FOLDER)
    .option('--coordinator <host:port>', '--link of another coordinator; may be given again', append, [])
    .option('--label <key=value>', 'a label of this host; may be given again', append, [])
    .option('--taint <name>', 'a taint of this host; may be given again', append, [])
    .option('--no-start', 'do not start the service');
  addFabricOptions(join);
  join
    .addHelpText(
      'after',
      examples([
        ['SHOAL_JOIN_TOKEN=… shoal join https://10.0.0.1:7946', 'on the new host'],
        ['shoal join https://10.0.0.1:7946 --fabric 10.0.0.2:7948', 'its components call those of other hosts, too'],
      ]),
    )
    .action(async (server: string, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const { name, label, taint, json } = options;
      const token = io.env.SHOAL_JOIN_TOKEN || (await readToken(options.tokenFile));
      if (token === undefined) {
        throw new ShoalError('SHOAL_E_USAGE', 'give the token for joining in $SHOAL_JOIN_TOKEN or with --token-file');
      }
      for (const each of [...label, ...taint]) {
        if (!/^[A-Za-z0-9._=-]+$/.test(each)) throw new ShoalError('SHOAL_E_USAGE', `${each} is no label or taint`);
      }
      const { joinCluster } = await import('../join/join.js');
      const { MemberFiles } = await import('../join/member-files.js');
      const files = new MemberFiles(resolve(options.folder));
      const placing = [...label.map((each) => `--label=${each}`), ...taint.map((each) => `--taint=${each}`)];
      const agentOptions = [...placing, ...fabricArguments(options)];
      const all = { server, token, host: name, coordinators: options.coordinator, agentOptions, files, signal };
      const { links } = await joinCluster(all);
      const started = options.start && existsSync(SYSTEMD) && (await startService());
      if (json) printJson(io, { host: name, folder: files.folder, links, started });
      else {
        const next = started ? 'its agent is started' : `\`systemctl enable --now ${SERVICE}\` starts its agent`;
        printLines(io, [`host ${name} is a member; ${next}`]);
      }
    });
  program
    .command('renew')
    .summary("renew this host's certificate")
    .description(
      'Get a new certificate for a new key from the coordinator when a third of its time or less is left. The agent shows it from its next connection on; nothing is restarted. The package does this once a day.',
    )
    .option('--folder <dir>', 'where the identity is', FOLDER)
    .option('--force', 'renew it also before')
    .addHelpText('after', examples([['shoal renew --server https://10.0.0.1:7946', 'what a timer does once a day']]))
    .action(async (_options: unknown, command: Command) => {
      const { folder, server, json, force = false } = command.optsWithGlobals<Options>();
      const { MemberFiles } = await import('../join/member-files.js');
      const { renewCertificate } = await import('../join/join.js');
      const { hostOf } = await import('../../identity/host-certificate.js');
      const files = new MemberFiles(resolve(folder));
      const { certificate, ca } = await files.inUse();
      const nowMs = Date.now();
      const { host, validFromMs, validToMs } = hostOf(certificate, ca, nowMs);
      const due = force || validToMs - nowMs <= (validToMs - validFromMs) / 3;
      if (due) await renewCertificate(files, host, server, signal);
      const until = new Date(validToMs).toISOString();
      if (json) printJson(io, { host, renewed: due });
      else
        printLines(io, [due ? `the certificate of ${host} is renewed` : `it is valid until ${until}: nothing to do`]);
    });
}

/** Whether there is such a service; throws SHOAL_E_HOST when it does not start. */
async function startService(): Promise<boolean> {
  const run = promisify(execFile);
  try {
    await run('systemctl', ['cat', SERVICE]);
  } catch {
    return false;
  }
  try {
    await run('systemctl', ['enable', SERVICE]);
    await run('systemctl', ['restart', SERVICE]);
    return true;
  } catch (cause) {
    const detail = `this host has joined, but ${SERVICE} does not start: see \`journalctl -u ${SERVICE}\``;
    throw new ShoalError('SHOAL_E_HOST', detail, { cause });
  }
}
