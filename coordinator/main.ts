import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Logger, pino } from 'pino';
import { Authority } from '../identity/authority.js';
import { Identity } from '../identity/identity.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { type Access, isLoopback, readToken } from './api/access.js';
import { createFront } from './api/front.js';
import { Tokens } from './api/tokens.js';
import { createEventLog } from './events.js';
import { type Listen, startLinkServer } from './link-server.js';
import { Member } from './member.js';
import { RefusalLog } from './refusal-log.js';
import { SecretBox } from './secret-box.js';
import { ServiceManager } from './service-manager.js';
import { steadyClock } from './steady-clock.js';
import { ETCD_FLAGS, etcdSettings, type StoreSettings } from './store/flags.js';
import { openStore } from './store/open.js';
import type { Candidate } from './store/store.js';
import { packageVersion } from './version.js';

const USAGE = `usage: shoal-coordinator [--data DIR] [--socket PATH] [--listen HOST:PORT] [--token-file FILE] [--run DIR]
                         [--name NAME] [--link HOST:PORT] [--advertise URL] [--advertise-link HOST:PORT] [--etcd URL,…]
  --data DIR          the store (default /var/lib/shoal)
  --socket PATH       Unix socket that agents dial (default /run/shoal/coordinator.sock)
  --listen HOST:PORT  HTTP API (default 127.0.0.1:7946)
  --tls               speak TLS with the certificate of --identity also on loopback; elsewhere it always is
  --token-file FILE   bearer token that every request must carry; needed unless it listens on loopback
  --tokens FILE       tokens with roles, by \`shoal token create\`; instead of --token-file or beside it
  --secret-key FILE   32 bytes that seal secrets in the store (default secret.key in --data, made when it is needed; with
                      --etcd there is no default, and every coordinator needs the same)
  --run DIR           state folder of the agent on this host, for logs (default /run/shoal)
With coordinators on several hosts:
  --name NAME         of this coordinator (default the hostname)
  --advertise URL     where the others reach the API (default http:// or https:// and --listen)
  --link HOST:PORT    where agents of other hosts dial as well
  --identity DIR      certificate for it and the API, by \`shoal cert coordinator\`; needed unless both are on loopback
  --advertise-link HOST:PORT  where they reach it (default --link)
  --authority DIR     by \`shoal init\`: signs the certificates of hosts that join with a token
${ETCD_FLAGS.map(([name, value, what]) => `  ${`--${name} ${value}`.padEnd(26)}  ${what}`).join('\n')}`;

interface Options {
  store: StoreSettings;
  secrets: SecretBox;
  socket: string;
  run: string;
  listen: Listen;
  link: Listen | null;
  identity: Identity | null;
  authority: Authority | null;
  /** The API speaks TLS. */
  tls: boolean;
  candidate: Candidate;
  access: Access;
}

function readOptions(words: string[]): Options | null {
  const usage = (detail: string) => new ShoalError('SHOAL_E_USAGE', `${detail}\n${USAGE}`);
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: words,
      options: {
        data: { type: 'string', default: '/var/lib/shoal' },
        socket: { type: 'string', default: '/run/shoal/coordinator.sock' },
        listen: { type: 'string', default: '127.0.0.1:7946' },
        'token-file': { type: 'string' },
        'secret-key': { type: 'string' },
        tokens: { type: 'string' },
        tls: { type: 'boolean', default: false },
        run: { type: 'string', default: '/run/shoal' },
        name: { type: 'string', default: hostname() },
        advertise: { type: 'string' },
        link: { type: 'string' },
        identity: { type: 'string' },
        authority: { type: 'string' },
        'advertise-link': { type: 'string' },
        ...Object.fromEntries(ETCD_FLAGS.map(([flag]) => [flag, { type: 'string' } as const])),
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw usage((error as Error).message);
  }
  if (values.help === true) return null;
  const listen = readListen('--listen', String(values.listen), usage);
  const tokenFile = values['token-file'];
  const token = typeof tokenFile === 'string' ? readToken(tokenFile) : null;
  const tokens = typeof values.tokens === 'string' ? new Tokens(values.tokens) : null;
  if (token === null && tokens === null && !isLoopback(listen.host)) {
    throw usage(`--listen ${values.listen} is open to others than this host: give a --token-file or --tokens`);
  }
  const link = typeof values.link === 'string' ? readListen('--link', values.link, usage) : null;
  const identity = typeof values.identity === 'string' ? new Identity(values.identity) : null;
  if (link !== null && identity === null && !isLoopback(link.host)) {
    throw usage(`--link ${values.link} is open to others than this host: give an --identity`);
  }
  const tls = values.tls === true || !isLoopback(listen.host);
  if (tls && identity === null) {
    const remedy = 'give an --identity, made by `shoal cert coordinator`';
    throw usage(`${values.tls === true ? '--tls' : `--listen ${values.listen}, open to others,`} needs TLS: ${remedy}`);
  }
  const api = String(values.advertise ?? `${tls ? 'https' : 'http'}://${values.listen}`);
  if (!URL.canParse(api)) throw usage(`--advertise must be an address such as http://10.0.0.1:7946, not ${api}`);
  const etcd = etcdSettings(values);
  if (etcd.etcd !== undefined && isUnspecified(new URL(api).hostname)) {
    throw usage(`--listen ${values.listen} does not say where others reach it: give --advertise URL`);
  }
  const linkAddress = values['advertise-link'] ?? values.link;
  return {
    store: { data: String(values.data), ...etcd },
    secrets: secretBox(values['secret-key'], String(values.data), etcd.etcd !== undefined),
    socket: String(values.socket),
    run: String(values.run),
    listen,
    link,
    identity,
    authority: typeof values.authority === 'string' ? new Authority(values.authority) : null,
    tls,
    candidate: { name: String(values.name), api, link: typeof linkAddress === 'string' ? linkAddress : null },
    access: { token, loopback: isLoopback(listen.host), ...(tokens === null ? {} : { tokens }) },
  };
}

function readListen(option: string, text: string, usage: (detail: string) => ShoalError): Listen {
  const [, host = '', port = ''] = /^(?:\[?([^\]]*)\]?):(\d{1,5})$/.exec(text) ?? [];
  if (host === '' || Number(port) > 65_535) throw usage(`${option} must be HOST:PORT, not ${text}`);
  return { host, port: Number(port) };
}

/** Coordinators of one store need one key; where there is only one of them it makes its own, beside the store. */
function secretBox(given: unknown, data: string, isShared: boolean): SecretBox {
  if (typeof given === 'string') return new SecretBox(given, false);
  return isShared ? new SecretBox(null, false) : new SecretBox(join(data, 'secret.key'), true);
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '[::]';
}

async function run(options: Options, log: Logger): Promise<void> {
  const stopped = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info({ why: signal }, 'the coordinator stops');
      stopped.abort();
    });
  }
  const { candidate, listen } = options;
  const store = openStore(options.store);
  const network = options.link === null ? {} : { network: options.link };
  const identity = options.identity === null ? {} : { identity: options.identity };
  const refusals = new RefusalLog(log);
  const access = { ...options.access, refusals };
  const link = await startLinkServer({
    socket: options.socket,
    secrets: options.secrets,
    refusals,
    log,
    ...network,
    ...identity,
  });
  const member = new Member({
    ...access,
    ...identity,
    secrets: options.secrets,
    ...(options.authority === null ? {} : { authority: options.authority }),
    store,
    candidate,
    link,
    events: createEventLog(),
    clock: steadyClock(),
    run: options.run,
    version: packageVersion(),
    log,
  });
  const secure = options.tls && options.identity !== null ? { tls: options.identity } : {};
  const front = createFront({ ...access, ...identity, ...secure, behind: member, log });
  await listenHttp(front, listen);
  const service = new ServiceManager(log);
  service.ready();
  log.info({ listen: candidate.api, socket: options.socket, store: store.health.detail }, 'the coordinator is up');
  try {
    await member.run(stopped.signal);
  } finally {
    service.stopping();
    front.close();
    front.closeAllConnections();
    await member.close();
    await link.close();
    await store.close();
    refusals.close();
  }
}

function listenHttp(server: Server | TlsServer, { host, port }: Listen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const remedy = 'stop what uses it, or choose another --listen';
      const detail = `cannot listen on ${host}:${port}: ${cause.message}; ${remedy}`;
      reject(new ShoalError('SHOAL_E_USAGE', detail, { cause }));
    });
    server.listen(port, host, resolve);
  });
}

async function main(): Promise<number> {
  // Written at once: at the exit of the process nothing waits for a reader of stderr that may be gone.
  const log = pino(
    { name: 'coordinator', level: process.env.SHOAL_LOG ?? 'info' },
    pino.destination({ dest: 2, sync: true }),
  );
  try {
    const options = readOptions(process.argv.slice(2));
    if (options === null) process.stdout.write(`${USAGE}\n`);
    else await run(options, log);
    return 0;
  } catch (error) {
    const { code, message, exitCode } = toShoalError(error);
    log.fatal({ err: error, code }, message);
    return exitCode;
  }
}

process.exit(await main());
