import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { retry } from '../until.js';

const run = promisify(execFile);
const STARTED_MS_MAX = 30_000;

/** A real redis-server on loopback, which can be killed, stopped and started again. Keeps nothing on a disk. */
export class RedisServer {
  #child: ChildProcess | null = null;

  private constructor(
    readonly folder: string,
    readonly port: number,
    readonly words: readonly string[],
    readonly password: string | null,
  ) {}

  /** `words`: of its command line. */
  static async start(words: readonly string[] = [], password: string | null = null): Promise<RedisServer> {
    const folder = await mkdtemp('/dev/shm/shoal-redis-');
    const server = new RedisServer(folder, await freePort(), words, password);
    await server.launch();
    return server;
  }

  static async startWithTls(key: string, certificate: string): Promise<RedisServer> {
    const port = await freePort();
    const files = ['--tls-key-file', key, '--tls-cert-file', certificate, '--tls-auth-clients', 'no'];
    const folder = await mkdtemp('/dev/shm/shoal-redis-');
    const server = new RedisServer(folder, port, ['--tls-port', String(port), ...files], null);
    await server.launch();
    return server;
  }

  get address(): { tls: boolean; host: string; port: number; database: number } {
    return { tls: this.words.includes('--tls-port'), host: '127.0.0.1', port: this.port, database: 0 };
  }

  async launch(): Promise<void> {
    const tls = this.words.includes('--tls-port');
    const words = ['--bind', '127.0.0.1', '--port', tls ? '0' : String(this.port), '--save', '', '--dir', this.folder];
    if (this.password !== null) words.push('--requirepass', this.password);
    this.#child = spawn('redis-server', [...words, ...this.words], { stdio: 'ignore' });
    if (!tls) await retry('answering', STARTED_MS_MAX, () => this.cli('PING'));
  }

  /** What a client from outside says to it. */
  async cli(...words: string[]): Promise<string> {
    const secret = this.password === null ? [] : ['--no-auth-warning', '-a', this.password];
    const { stdout } = await run('redis-cli', ['-h', '127.0.0.1', '-p', String(this.port), ...secret, ...words]);
    const text = stdout.trim();
    if (words[0] === 'PING' && text !== 'PONG') throw new Error(text);
    return text;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A Redis Cluster of three servers without replicas. */
export async function startCluster(): Promise<RedisServer[]> {
  const words = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-config-file', 'nodes.conf'];
  const servers = await Promise.all([0, 1, 2].map(() => RedisServer.start(words)));
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`);
  await servers[0]?.cli('--cluster', 'create', ...nodes, '--cluster-yes');
  for (const server of servers) {
    await retry('joined', STARTED_MS_MAX, async () => {
      if (!(await server.cli('CLUSTER', 'INFO')).includes('cluster_state:ok')) throw new Error('the cluster is not ok');
    });
  }
  return servers;
}

/** Below the range that the kernel gives out, and so that the port of a cluster's bus, 10000 above, is one, too. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
