import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerCertificate } from 'node:tls';
import { ETCD_ELECTION } from '../../../cli/up/etcd-member.js';
import { Authority } from '../../../identity/authority.js';
import { FILES, refuseUnlessCoordinator } from '../../../identity/identity.js';
import type { ClusterView } from '../../../protocol/http.js';
import { ClockShift } from '../soak/clock-shift.js';
import { NetRack } from './net-rack.js';

const API_PORT = 7946;
const LINK_PORT = 7947;
const FABRIC_PORT = 7948;
const TOKEN = 'soak-soak-soak-soak-soak-soak-soak';
const COORDINATORS = 3;

export type Kind = 'etcd' | 'coordinator' | 'agent';

/** A process that is started again at once when it ends, as systemd would. */
export interface Part {
  kind: Kind;
  /** Of the machine. */
  machine: string;
  words: readonly string[];
  env: Readonly<Record<string, string>>;
  child: ChildProcess | null;
  /** Not before then; ms of performance.now(). */
  restartAtMs: number;
  /** It was killed, so that its end is none of its own. */
  isKilled: boolean;
  /** Until it starts again. */
  restart?: NodeJS.Timeout;
}

export interface NetClusterOptions {
  /** Folder of compiled code. */
  dist: string;
  hosts: number;
  /** Of the names of namespaces: unique on this machine, and short. */
  prefix: string;
  /** Whether the clock on the wall of each machine can be set; that of etcd goes right. */
  clocks?: boolean;
  /** Before the agent of a host starts, with the folder of its state. */
  prepareHost?: (folder: string) => Promise<void>;
}

/**
 * Three machines with a member of etcd and a coordinator each, and hosts with an agent each, all in network namespaces of
 * this machine, joined by mutual TLS.
 */
export class NetCluster {
  readonly parts: Part[] = [];
  readonly hosts: readonly string[];
  readonly coordinators: readonly string[];
  #clocks: ClockShift | null = null;
  #closing = false;
  #data = '';
  #ca = '';
  restarts = 0;
  /** Processes that ended and had not been killed. */
  readonly crashes: string[] = [];

  private constructor(
    readonly rack: NetRack,
    readonly folder: string,
    hosts: readonly string[],
    coordinators: readonly string[],
  ) {
    this.hosts = hosts;
    this.coordinators = coordinators;
  }

  static async start({
    dist,
    hosts: count,
    prefix,
    clocks = false,
    prepareHost,
  }: NetClusterOptions): Promise<NetCluster> {
    const coordinators = Array.from({ length: COORDINATORS }, (_, i) => `c${i}`);
    const hosts = Array.from({ length: count }, (_, i) => `h${i}`);
    const folder = await mkdtemp('/run/shoal-rack-');
    await chmod(folder, 0o711);
    const rack = await NetRack.make(prefix, [...coordinators, ...hosts]);
    const cluster = new NetCluster(rack, folder, hosts, coordinators);
    if (clocks) cluster.#clocks = await ClockShift.make(dist, folder);
    await cluster.#prepare(dist);
    for (const host of hosts) await prepareHost?.(cluster.runOf(host));
    for (const part of cluster.parts) cluster.#launch(part);
    return cluster;
  }

  runOf(host: string): string {
    return join(this.folder, host);
  }

  part(kind: Kind, machine: string): Part {
    return this.parts.find((each) => each.kind === kind && each.machine === machine) as Part;
  }

  /** The process proper: that of an agent is the child of the one that was started. */
  async pidOf({ kind, child }: Part): Promise<number | null> {
    const pid = child?.pid;
    if (pid === undefined) return null;
    if (kind !== 'agent') return pid;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    const [inner] = children.split(' ').filter(Boolean);
    return inner === undefined ? null : Number(inner);
  }

  async signal(part: Part, signal: NodeJS.Signals): Promise<void> {
    const pid = await this.pidOf(part);
    if (pid === null) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      // It ended between the look and the shot.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Kills it; it comes again after so many ms. */
  async kill(part: Part, awayMs: number): Promise<void> {
    part.restartAtMs = performance.now() + awayMs;
    part.isKilled = true;
    await this.signal(part, 'SIGKILL');
  }

  /** Starts what was killed now, whenever it would have come again. */
  revive(part: Part): void {
    if (part.child !== null) {
      part.restartAtMs = 0;
      return;
    }
    clearTimeout(part.restart);
    this.#launch(part);
  }

  /** Sets the clock of a machine, so many ms ahead of the true one. */
  async setClock(machine: string, aheadMs: number): Promise<void> {
    if (this.#clocks === null) throw new Error('this cluster has clocks that nobody sets');
    await this.#clocks.set(machine, aheadMs);
  }

  /** What one coordinator says of itself; null when it does not answer. */
  async view(coordinator: string): Promise<ClusterView | null> {
    try {
      return await this.#ask(coordinator, 'GET', '/v1/cluster', undefined, 1_000);
    } catch {
      return null;
    }
  }

  /** Asks the coordinators one after the other until one answers; throws what the last one said. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    let last: unknown;
    for (const coordinator of this.coordinators) {
      try {
        return await this.#ask<T>(coordinator, method, path, body, 5_000);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  /** One attempt by one coordinator: what becomes of a change that failed is not known. */
  askOne<T>(coordinator: string, method: string, path: string, body?: unknown): Promise<T> {
    return this.#ask<T>(coordinator, method, path, body, 5_000);
  }

  async #ask<T>(coordinator: string, method: string, path: string, body: unknown, ms: number): Promise<T> {
    const url = `https://${this.rack.addressOf(coordinator)}:${API_PORT}${path}`;
    const { status, stale, text } = await askByTls(url, method, this.#ca, body, ms);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    if (stale !== null) throw new Error(`${method} ${path}: ${coordinator} leads no more; it knew this ${stale} s ago`);
    return JSON.parse(text) as T;
  }

  /** Ends agents with their instances first, then the rest, and removes the machines. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const { machine } of this.parts.filter(({ kind }) => kind === 'agent')) await this.rack.heal(machine);
    await Promise.all(this.parts.filter(({ kind }) => kind === 'agent').map((part) => end(part, 'SIGTERM')));
    await Promise.all(this.parts.filter(({ kind }) => kind !== 'agent').map((part) => end(part, 'SIGKILL')));
    await this.rack.close();
  }

  /** Its files. */
  async remove(): Promise<void> {
    for (const folder of [this.folder, this.#data]) await rm(folder, { recursive: true, force: true });
  }

  async #prepare(dist: string): Promise<void> {
    const authority = new Authority(join(this.folder, 'ca'));
    await authority.init('soak');
    this.#ca = await readFile(join(this.folder, 'ca', FILES.ca), 'utf8');
    await writeFile(join(this.folder, 'token'), TOKEN, { mode: 0o600 });
    const address = (name: string) => this.rack.addressOf(name);
    const peers = this.coordinators.map((name) => `${name}=http://${address(name)}:2380`).join(',');
    const etcd = this.coordinators.map((name) => `http://${address(name)}:2379`).join(',');
    const data = await mkdtemp(join(tmpdir(), 'shoal-rack-etcd-'));
    this.#data = data;
    for (const name of this.coordinators) {
      const [client, peer] = [`http://${address(name)}:2379`, `http://${address(name)}:2380`];
      const urls = ['--listen-client-urls', client, '--advertise-client-urls', client, '--listen-peer-urls', peer];
      const cluster = ['--initial-advertise-peer-urls', peer, '--initial-cluster', peers];
      const own = ['--name', name, '--data-dir', join(data, name), '--log-level', 'error', ...ETCD_ELECTION];
      this.#add('etcd', name, ['etcd', ...own, ...urls, ...cluster], {});
    }
    for (const name of this.coordinators) {
      const identity = join(this.folder, `${name}.identity`);
      await authority.issue('coordinator', name, 1, identity);
      const [api, link] = [`${address(name)}:${API_PORT}`, `${address(name)}:${LINK_PORT}`];
      const files = ['--identity', identity, '--token-file', join(this.folder, 'token'), '--run', this.folder];
      const own = ['--name', name, '--listen', api, '--link', link, '--socket', join(this.folder, `${name}.sock`)];
      this.#add(
        'coordinator',
        name,
        [process.execPath, join(dist, 'coordinator/main.js'), ...own, ...files, '--etcd', etcd],
        await this.#clockOf(name),
      );
    }
    const sockets = this.coordinators.flatMap((name) => ['--socket', `${address(name)}:${LINK_PORT}`]);
    for (const name of this.hosts) {
      const identity = join(this.folder, `${name}.identity`);
      await authority.issue('agent', name, 1, identity);
      await mkdir(this.runOf(name), { mode: 0o711 });
      const own = ['--name', name, '--run', this.runOf(name), '--identity', identity, '--stop-instances'];
      this.#add(
        'agent',
        name,
        [
          process.execPath,
          join(dist, 'agent/main.js'),
          ...own,
          ...sockets,
          '--profile-hertz',
          '0',
          '--fabric',
          `${address(name)}:${FABRIC_PORT}`,
        ],
        await this.#clockOf(name),
      );
    }
  }

  async #clockOf(machine: string): Promise<Record<string, string>> {
    return (await this.#clocks?.environment(machine)) ?? {};
  }

  #add(kind: Kind, machine: string, words: string[], env: Readonly<Record<string, string>>): void {
    this.parts.push({
      kind,
      machine,
      words: this.rack.on(machine, ...words),
      env,
      child: null,
      restartAtMs: 0,
      isKilled: false,
    });
  }

  #launch(part: Part): void {
    if (this.#closing) return;
    const [program = '', ...words] = part.words;
    const env = { ...process.env, ...part.env, SHOAL_LOG: process.env.SHOAL_LOG ?? 'fatal' };
    // Etcd tells of every election; what of it matters is seen from outside.
    const stderr = part.kind === 'etcd' ? 'ignore' : 'inherit';
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', stderr], env });
    part.child = child;
    part.isKilled = false;
    child.once('exit', (code, signal) => {
      part.child = null;
      if (this.#closing) return;
      if (!part.isKilled) this.crashes.push(`${part.kind} of ${part.machine} ended by itself: ${signal ?? code}`);
      this.restarts += 1;
      part.restart = setTimeout(() => this.#launch(part), Math.max(200, part.restartAtMs - performance.now()));
    });
  }
}

/** Rejects when there is no whole answer within so many ms. */
function askByTls(
  url: string,
  method: string,
  ca: string,
  body: unknown,
  ms: number,
): Promise<{ status: number; stale: string | null; text: string }> {
  const sent = body === undefined ? '' : JSON.stringify(body);
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-length': Buffer.byteLength(sent), ...type };
  const options = {
    method,
    headers,
    ca,
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => refuseUnlessCoordinator(certificate),
    signal: AbortSignal.timeout(ms),
  };
  return new Promise((resolve, reject) => {
    const asked = request(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      const { statusCode: status = 0, headers } = response;
      const stale = headers['shoal-stale-seconds']?.toString() ?? null;
      response.on('end', () => resolve({ status, stale, text }));
    });
    asked.on('error', reject);
    asked.end(sent);
  });
}

const END_MS_MAX = 20_000;

async function end({ child }: Part, signal: NodeJS.Signals): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
  await exited;
  clearTimeout(timer);
}
