import { parseArgs } from 'node:util';
import { type Logger, pino } from 'pino';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { isLoopback, readToken } from './api/access.js';
import { createApi } from './api/server.js';
import { createEventLog } from './events.js';
import { startLinkServer } from './link-server.js';
import { Coordinator } from './loop.js';
import { openLmdbStore } from './store/lmdb-store.js';
import { packageVersion } from './version.js';

const USAGE = `usage: shoal-coordinator [--data DIR] [--socket PATH] [--listen HOST:PORT] [--token-file FILE] [--run DIR]
  --data DIR          the store (default /var/lib/shoal)
  --socket PATH       Unix socket that agents dial (default /run/shoal/coordinator.sock)
  --listen HOST:PORT  HTTP API (default 127.0.0.1:7946)
  --token-file FILE   bearer token that every request must carry; needed unless it listens on loopback
  --run DIR           state folder of the agent on this host, for logs (default /run/shoal)`;

const LEADERSHIP_LOST = 'leadership lost';

interface Options {
  data: string;
  socket: string;
  run: string;
  host: string;
  port: number;
  token: string | null;
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
        run: { type: 'string', default: '/run/shoal' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw usage((error as Error).message);
  }
  if (values.help === true) return null;
  const listen = String(values.listen);
  const [, host = '', port = ''] = /^(?:\[?([^\]]*)\]?):(\d{1,5})$/.exec(listen) ?? [];
  if (host === '' || Number(port) > 65_535) throw usage(`--listen must be HOST:PORT, not ${listen}`);
  const tokenFile = values['token-file'];
  const token = typeof tokenFile === 'string' ? readToken(tokenFile) : null;
  if (token === null && !isLoopback(host)) {
    throw usage(`--listen ${listen} is open to others than this host: give a --token-file`);
  }
  return {
    data: String(values.data),
    socket: String(values.socket),
    run: String(values.run),
    host,
    port: Number(port),
    token,
  };
}

async function run(options: Options, log: Logger): Promise<void> {
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  const store = openLmdbStore({ folder: options.data });
  const lost = new Promise<string>((resolve) => {
    store.onLeadershipLost(() => resolve(LEADERSHIP_LOST));
  });
  const clock = () => Date.now();
  const coordinator = await Coordinator.open({ store, events: createEventLog(clock()), clock, log });
  const link = await startLinkServer({ coordinator, socket: options.socket, log });
  const api = await createApi({
    coordinator,
    run: options.run,
    version: packageVersion(),
    token: options.token,
    loopback: isLoopback(options.host),
    log,
  });
  await listen(api, options);
  coordinator.start();
  log.info({ listen: `http://${options.host}:${options.port}`, socket: options.socket }, 'the coordinator leads');

  const why = await Promise.race([stopped, lost]);
  log.info({ why }, 'the coordinator stops');
  await api.close();
  await link.close();
  await coordinator.stop();
  await store.close();
  if (why === LEADERSHIP_LOST)
    throw new ShoalError('SHOAL_E_NOT_LEADER', 'another coordinator has taken over this store');
}

async function listen(api: Awaited<ReturnType<typeof createApi>>, { host, port }: Options): Promise<void> {
  try {
    await api.listen({ host, port });
  } catch (cause) {
    const remedy = 'stop what uses it, or choose another --listen';
    throw new ShoalError('SHOAL_E_USAGE', `cannot listen on ${host}:${port}: ${(cause as Error).message}; ${remedy}`, {
      cause,
    });
  }
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
