import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ETCD_ELECTION } from '../../../cli/up/etcd-member.js';
import { EtcdClient, type EtcdOptions } from '../../../coordinator/store/etcd/client.js';
import { until } from '../until.js';

interface Member {
  name: string;
  client: string;
  peer: string;
  child: ChildProcess | null;
}

const PROBE_MS = 200;
/** In memory: a slow disk under other load would end leases. */
const DATA = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Etcd on loopback, with its data in a temporary folder; its members can be killed, stopped and started again. */
export class EtcdRig {
  readonly #folder: string;
  readonly #words: readonly string[];
  readonly members: Member[];

  private constructor(folder: string, members: Member[], words: readonly string[]) {
    this.#folder = folder;
    this.members = members;
    this.#words = words;
  }

  static async start(count = 1, words: readonly string[] = [], scheme = 'http'): Promise<EtcdRig> {
    const folder = await mkdtemp(join(DATA, 'shoal-etcd-'));
    const ports = await freePorts(2 * count);
    const members = Array.from({ length: count }, (_, index) => ({
      name: `m${index}`,
      client: `${scheme}://127.0.0.1:${ports[2 * index]}`,
      peer: `http://127.0.0.1:${ports[2 * index + 1]}`,
      child: null,
    }));
    const rig = new EtcdRig(folder, members, words);
    for (let index = 0; index < count; index += 1) rig.launch(index);
    if (scheme === 'http') await rig.untilHealthy();
    return rig;
  }

  get endpoints(): string[] {
    return this.members.map(({ client }) => client);
  }

  /** Where a member keeps its data. */
  dataOf(index: number): string {
    return join(this.#folder, (this.members[index] as Member).name);
  }

  launch(index: number): void {
    const member = this.members[index] as Member;
    const { name, client, peer } = member;
    const cluster = this.members.map((each) => `${each.name}=${each.peer}`).join(',');
    const words = ['--name', name, '--data-dir', this.dataOf(index), '--log-level', 'error', ...ETCD_ELECTION];
    words.push('--listen-client-urls', client, '--advertise-client-urls', client);
    words.push('--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', cluster);
    const env = { PATH: process.env.PATH, ETCD_UNSUPPORTED_ARCH: process.env.ETCD_UNSUPPORTED_ARCH };
    member.child = spawn('etcd', [...words, ...this.#words], { stdio: 'ignore', env });
  }

  signal(index: number, signal: NodeJS.Signals): void {
    this.members[index]?.child?.kill(signal);
  }

  async kill(index: number): Promise<void> {
    const member = this.members[index] as Member;
    const { child } = member;
    if (child === null) return;
    member.child = null;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await exited;
  }

  /** Resolves when a write would be taken. */
  async untilHealthy(tls: EtcdOptions['tls'] = {}): Promise<void> {
    const client = new EtcdClient({ endpoints: this.endpoints, tls });
    try {
      const nothing = { conditions: [], perform: [{ kind: 'read', key: 'x' } as const], otherwise: [] };
      const answers = () =>
        client.transact(nothing, PROBE_MS).then(
          () => true,
          () => false,
        );
      await until(answers);
    } finally {
      client.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((_, index) => this.kill(index)));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
