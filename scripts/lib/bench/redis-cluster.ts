import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../demo/cluster.js';
import { RedisConnection, type RedisReply } from '../state/redis-connection.mjs';

const run = promisify(execFile);

const SLOTS = 16_384;
const UP_MS_MAX = 30_000;
const LOOK_MS = 50;
const REDIRECTS_MAX = 50;
/** Of the cluster bus: the port and this. */
const BUS_OFFSET = 10_000;
const PORT_MAX = 65_535 - BUS_OFFSET;
/** Whoever ends the run by one of these leaves no files behind either. */
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** How execFile rejects. */
interface Failed {
  stdout: string;
  stderr: string;
  killed?: boolean;
  code?: number | string | null;
  signal?: string | null;
}

/** Debian's redis-server, once for each member of a cluster, on loopback: nothing is written to disk. */
export class RedisCluster {
  readonly #folder: string;
  readonly #ports: number[] = [];
  readonly #servers: ChildProcess[] = [];
  readonly #connections = new Map<number, RedisConnection>();
  #ids: string[] = [];
  /** By slot: the port of its owner, as far as is known. */
  #owners: number[] = [];
  readonly #leave = () => void this.close().finally(() => process.exit(1));

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** So many members, of which the first `owners` share the slots. Null where redis-server is not installed. */
  static async start(members: number, owners: number): Promise<RedisCluster | null> {
    if (!(await hasRedis())) return null;
    const cluster = new RedisCluster(await mkdtemp('/run/shoal-redis-'));
    for (const signal of SIGNALS) process.once(signal, cluster.#leave);
    try {
      await cluster.#begin(members, owners);
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  async #begin(members: number, owners: number): Promise<void> {
    for (let i = 0; i < members; i += 1) await this.#startServer(i);
    for (const port of this.#ports)
      await this.#until(port, 'answers', async (one) => (await one.ask('PING')) === 'PONG');
    this.#ids = await Promise.all(this.#ports.map(async (port) => String(await this.#at(port).ask('CLUSTER', 'MYID'))));
    const first = this.#ports[0] as number;
    for (const port of this.#ports.slice(1)) await this.#at(first).ask('CLUSTER', 'MEET', '127.0.0.1', String(port));
    for (let i = 0; i < owners; i += 1) {
      const [from, to] = [Math.floor((i * SLOTS) / owners), Math.floor(((i + 1) * SLOTS) / owners)];
      const port = this.#ports[i] as number;
      const reply = await this.#at(port).ask('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to - 1));
      if (reply instanceof Error) throw reply;
      for (let slot = from; slot < to; slot += 1) this.#owners[slot] = port;
    }
    for (const port of this.#ports) {
      await this.#until(port, 'knows the whole cluster', async (one) => {
        const info = String(await one.ask('CLUSTER', 'INFO'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${members}`);
      });
    }
  }

  async #startServer(number: number): Promise<void> {
    let port = await freePort();
    while (port > PORT_MAX) port = 20_000 + (port % 20_000);
    const words = [
      '--port',
      port,
      '--cluster-enabled',
      'yes',
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      this.#folder,
    ];
    const files = ['--cluster-config-file', join(this.#folder, `nodes-${number}.conf`), '--bind', '127.0.0.1'];
    // Else a member that has no slots left becomes a replica, and can get none.
    files.push('--cluster-allow-replica-migration', 'no');
    // However this process ends, its servers end with it.
    const command = ['--pdeathsig', 'KILL', 'redis-server', ...words, ...files].map(String);
    this.#servers.push(spawn('setpriv', command, { stdio: 'ignore' }));
    this.#ports.push(port);
  }

  /** Gives the first `count` members equal shares of the slots, by redis-cli, slot after slot. False: not within `ms`. */
  async reshard(count: number, ms: number): Promise<boolean> {
    const beganMs = performance.now();
    await this.#agree();
    const weights = this.#ids.map((id, i) => `${id}=${i < count ? 1 : 0}`);
    const address = `127.0.0.1:${this.#ports[0]}`;
    const words = ['--cluster', 'rebalance', address, '--cluster-use-empty-masters', '--cluster-threshold', '1'];
    const timeout = Math.max(1, Math.round(ms - (performance.now() - beganMs)));
    return run('redis-cli', [...words, '--cluster-pipeline', '100', '--cluster-weight', ...weights], { timeout }).then(
      () => true,
      ({ stdout, stderr, killed, code, signal }: Failed) => {
        if (killed === true) return false;
        // Each slot that has moved is a mark.
        const said = `${stderr}\n${stdout}`.replaceAll(/#+/g, '#').slice(-1_000);
        throw new Error(`redis-cli cannot rebalance (${signal ?? code}): ${said}`);
      },
    );
  }

  /** Waits until all members say the same of who has which slots: redis-cli moves none before. */
  async #agree(): Promise<void> {
    const first = this.#ports[0] as number;
    await this.#until(first, 'agrees with the others', async () => {
      const views = await Promise.all(
        this.#ports.map(async (port) => slotsIn(await this.#at(port).ask('CLUSTER', 'NODES'))),
      );
      return views.every((view) => view === views[0]);
    });
  }

  /** Sends the command to the owner of its key, wherever it goes meanwhile. Answers how often it was sent elsewhere. */
  async call(key: string, ...words: (string | Buffer)[]): Promise<number> {
    const slot = slotOf(key);
    let port = this.#owners[slot] as number;
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
      const reply = await this.#at(port).ask(...words);
      if (!(reply instanceof Error)) return redirects;
      const [kind = '', , address = ''] = reply.message.split(' ');
      if (kind === 'TRYAGAIN' || kind === 'CLUSTERDOWN') await pause(1);
      else if (kind !== 'MOVED' && kind !== 'ASK') throw reply;
      else port = Number(address.slice(address.lastIndexOf(':') + 1));
      if (kind === 'MOVED') this.#owners[slot] = port;
      if (kind === 'ASK') void this.#at(port).ask('ASKING');
    }
    throw new Error(`Redis Cluster sent ${key} elsewhere ${REDIRECTS_MAX} times`);
  }

  async close(): Promise<void> {
    for (const signal of SIGNALS) process.off(signal, this.#leave);
    for (const connection of this.#connections.values()) connection.close();
    for (const server of this.#servers) {
      if (server.exitCode !== null || server.signalCode !== null) continue;
      const exited = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGKILL');
      await exited;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  #at(port: number): RedisConnection {
    let connection = this.#connections.get(port);
    if (connection === undefined) {
      connection = new RedisConnection(connect(port, '127.0.0.1'));
      this.#connections.set(port, connection);
    }
    return connection;
  }

  async #until(port: number, what: string, isMet: (one: RedisConnection) => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + UP_MS_MAX;
    for (;;) {
      const met = await isMet(this.#at(port)).catch(() => {
        // It does not listen yet.
        this.#connections.delete(port);
        return false;
      });
      if (met) return;
      if (performance.now() > deadline) throw new Error(`waited ${UP_MS_MAX} ms in vain until redis-server ${what}`);
      await pause(LOOK_MS);
    }
  }
}

/** Of an answer to CLUSTER NODES: members by id, each with its slots and those on their way (redis.io/commands/cluster-nodes). */
function slotsIn(nodes: RedisReply): string {
  if (typeof nodes !== 'string') throw new Error(`CLUSTER NODES: ${String(nodes)}`);
  const lines = nodes
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  return lines
    .map(([id, , , , , , , , ...slots]) => [id, ...slots].join(' '))
    .sort()
    .join('\n');
}

export async function hasRedis(): Promise<boolean> {
  return run('redis-server', ['--version']).then(
    () => true,
    () => false,
  );
}

/** CRC-16/XMODEM of the key modulo the number of slots (redis.io/docs/reference/cluster-spec); keys without `{`. */
export function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc % SLOTS;
}
