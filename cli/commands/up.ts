import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { etcdArguments, type StoreSettings } from '../../coordinator/store/flags.js';
import { ShoalError } from '../../protocol/errors.js';
import { readCa } from '../client.js';
import { addFabricOptions, type FabricOptions, fabricArguments } from '../fabric-options.js';
import type { Io } from '../io.js';
import { append, examples, type GlobalOptions, parseWhole } from '../session.js';
import { etcdMember } from '../up/etcd-member.js';
import { parseListen } from '../up/listen.js';
import { runUp } from '../up/run.js';
import { addEtcdOptions } from './store.js';

interface Options extends GlobalOptions, StoreSettings, FabricOptions {
  link?: string;
  identity?: string;
  authority?: string;
  tokens?: string;
  tls?: boolean;
  cluster?: string | true;
  clusterPort: string;
  advertise?: string;
  coordinator: string[];
  run: string;
  listen: string;
  name: string;
  label: string[];
  taint: string[];
  zone?: string;
  down?: boolean;
}

export function addUp(program: Command, io: Io, signal: AbortSignal): void {
  const up = program
    .command('up')
    .summary('run Shoal on this host')
    .description(
      'Run coordinator and agent on this host, in the foreground, until interrupted. Instances go on when it ends, and are found again by the next `shoal up`, unless --down is given. With --token-file the API asks for the token in that file.',
    )
    .option('--data <dir>', "the coordinator's store", '/var/lib/shoal')
    .option('--run <dir>', 'state of this host: sockets and instances', '/run/shoal')
    .option('--listen <host:port>', 'address of the API', '127.0.0.1:7946')
    .option('--name <name>', 'name of this host', hostname())
    .option('--label <key=value>', 'a label of this host for the rules of manifests; may be given again', append, [])
    .option('--taint <name>', 'keeps components away that do not tolerate it; may be given again', append, [])
    .option('--zone <name>', 'zone of this host, over which components may be spread: the same as --label zone=<name>')
    .option('--link <host:port>', 'where agents of other hosts dial this coordinator')
    .option('--tokens <file>', 'tokens with roles for the API, by `shoal token create`')
    .option('--tls', 'speak TLS with the certificate of --identity on loopback too; elsewhere it always is')
    .option('--identity <dir>', 'certificates for --link and TLS, by `shoal cert`: DIR/coordinator and DIR/agent')
    .option('--authority <dir>', 'by `shoal init`: signs the certificates of hosts that join with a token')
    .option('--advertise <url>', 'where other coordinators reach the API, unless it is --listen')
    .option('--coordinator <host:port>', '--link of a coordinator of another host; may be given again', append, [])
    .option('--cluster [name=url,...]', 'also run a member of etcd: the only one, or one of these, known by --name')
    .option('--cluster-port <port>', 'where it answers on loopback', '2379')
    .option('--down', 'stop the instances too when it ends');
  addFabricOptions(up);
  addEtcdOptions(up);
  up.addHelpText(
    'after',
    examples([
      ['shoal up', 'run until Ctrl-C'],
      ['shoal up --down --data /tmp/d --run /run/try', 'a trial that leaves nothing running'],
      ['shoal up --zone rack-3 --label disk=ssd', 'labels that manifests ask for by `place`'],
      ['shoal up --token-file /etc/shoal/token', 'an API that needs a token'],
    ]),
  ).action(async (_options: unknown, command: Command) => {
    const options = command.optsWithGlobals<Options>();
    const { data, run, listen, name, label, taint, zone, down = false, json = false, tokenFile } = options;
    const { link, advertise } = options;
    const identity = options.identity === undefined ? undefined : resolve(options.identity);
    const { cluster, clusterPort } = options;
    if (cluster !== undefined && options.etcd !== undefined) {
      throw new ShoalError('SHOAL_E_USAGE', '--cluster runs a member of etcd, --etcd goes to others: give one of them');
    }
    const member =
      cluster === undefined
        ? undefined
        : etcdMember({
            members: cluster === true ? '' : cluster,
            name,
            port: parseWhole(clusterPort, '--cluster-port', 1, 65_534),
            data: join(resolve(data), 'etcd'),
            ...(identity === undefined ? {} : { identity: join(identity, 'coordinator') }),
          });
    const { isLoopback } = await import('../../coordinator/api/access.js');
    const speaksTls = options.tls === true || !isLoopback(parseListen(listen).host);
    const ca = speaksTls && identity !== undefined ? await readCa(join(identity, 'coordinator', 'ca.crt')) : undefined;
    await runUp({
      io,
      signal,
      json,
      data: resolve(data),
      run: resolve(run),
      listen,
      name,
      cluster: [
        ...(link === undefined ? [] : ['--link', link]),
        ...(advertise === undefined ? [] : ['--advertise', advertise]),
        ...(identity === undefined ? [] : ['--identity', join(identity, 'coordinator')]),
        ...(options.authority === undefined ? [] : ['--authority', resolve(options.authority)]),
        ...(options.tls === true ? ['--tls'] : []),
        ...(options.tokens === undefined ? [] : ['--tokens', resolve(options.tokens)]),
        ...etcdArguments(member === undefined ? options : { ...options, ...member.store }),
      ],
      ...(member === undefined ? {} : { etcd: member.args }),
      ...(ca === undefined ? {} : { ca }),
      coordinators: options.coordinator,
      ...(identity === undefined ? {} : { identity: join(identity, 'agent') }),
      fabric: fabricArguments(options),
      labels: zone === undefined ? label : [...label, `zone=${zone}`],
      taints: taint,
      down,
      ...(tokenFile === undefined ? {} : { tokenFile: resolve(tokenFile) }),
      scripts: {
        coordinator: fileURLToPath(new URL('../../coordinator/main.js', import.meta.url)),
        agent: fileURLToPath(new URL('../../agent/main.js', import.meta.url)),
      },
    });
  });
}
