import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Authority } from '../../../identity/authority.js';
import type { HostView } from '../../../protocol/http.js';
import { retry } from '../until.js';
import { NetRack, SWITCH_ADDRESS } from './net-rack.js';

const run = promisify(execFile);
const DIST = fileURLToPath(new URL('../../..', import.meta.url));
const API = 'http://127.0.0.1:7946';
const LINK_PORT = 7947;
const FABRIC_PORT = 7948;
const ASK_MS_MAX = 20_000;
/** A benchmark's round takes seconds, on a busy machine many. */
const GET_MS_MAX = 120_000;
const END_MS_MAX = 30_000;

/**
 * A coordinator and an agent on each of some hosts, which are network namespaces of this machine, joined by mutual TLS. To be
 * made by a process in a network of its own (runInOwnNetwork). A host has its own name as the label `host`.
 */
export class NetHosts {
  readonly #agents = new Map<string, ChildProcess>();
  #coordinator: ChildProcess | undefined;
  #output = '';

  private constructor(
    readonly rack: NetRack,
    readonly folder: string,
    /** Words of the agent of each. */
    readonly hosts: ReadonlyMap<string, readonly string[]>,
  ) {}

  static async start(prefix: string, hosts: ReadonlyMap<string, readonly string[]>): Promise<NetHosts> {
    // Not under /tmp: instances get a /tmp of their own, and the folder must be reachable by any user.
    const folder = await mkdtemp('/run/shoal-test-');
    await chmod(folder, 0o711);
    const all = new NetHosts(await NetRack.make(prefix, [...hosts.keys()]), folder, hosts);
    const authority = new Authority(join(folder, 'ca'));
    await authority.init('test');
    await authority.issue('coordinator', 'c', 1, join(folder, 'c.identity'));
    for (const host of hosts.keys()) await authority.issue('agent', host, 1, join(folder, `${host}.identity`));
    all.#startCoordinator();
    for (const host of hosts.keys()) {
      await mkdir(join(folder, host), { mode: 0o711 });
      all.startAgent(host);
    }
    return all;
  }

  startAgent(host: string): void {
    const own = [
      '--name',
      host,
      '--label',
      `host=${host}`,
      '--run',
      join(this.folder, host),
      '--stop-instances',
      '--profile-hertz',
      '0',
    ];
    const link = ['--socket', `${SWITCH_ADDRESS}:${LINK_PORT}`, '--identity', join(this.folder, `${host}.identity`)];
    const fabric = ['--fabric', `${this.rack.addressOf(host)}:${FABRIC_PORT}`];
    const words = [join(DIST, 'agent/main.js'), ...own, ...link, ...fabric, ...(this.hosts.get(host) ?? [])];
    this.#agents.set(host, this.#spawn(this.rack.on(host, process.execPath, ...words)));
  }

  /** Kills the agent, not its instances. What was started only waits for the agent proper. */
  async killAgent(host: string): Promise<void> {
    const agent = this.#agents.get(host) as ChildProcess;
    const exited = new Promise((resolve) => agent.once('exit', resolve));
    const children = await readFile(`/proc/${agent.pid}/task/${agent.pid}/children`, 'utf8');
    for (const pid of children.split(' ').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
    agent.kill('SIGKILL');
    await exited;
  }

  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const json =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const response = await fetch(`${API}${path}`, { method, ...json, signal: AbortSignal.timeout(ASK_MS_MAX) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** What is listened to on loopback of a host. */
  async get<T>(host: string, port: number, path: string): Promise<T> {
    const script = `fetch('http://127.0.0.1:${port}${path}').then(async (response) => console.log(await response.text()))`;
    const [program = '', ...words] = this.rack.on(host, process.execPath, '-e', script);
    const { stdout } = await run(program, words, { timeout: GET_MS_MAX });
    return JSON.parse(stdout) as T;
  }

  /** Until a check no longer throws; what it answers. */
  async until<T>(what: string, ms: number, check: () => Promise<T>): Promise<T> {
    try {
      return await retry(what, ms, check, 200);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#output.slice(-4_000)}`);
    }
  }

  async view(host: string): Promise<HostView | undefined> {
    return (await this.ask<HostView[]>('GET', '/v1/hosts')).find(({ name }) => name === host);
  }

  /** Ends all, with their instances. */
  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => end(agent, 'SIGTERM')));
    if (this.#coordinator !== undefined) await end(this.#coordinator, 'SIGKILL');
    await this.rack.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  #startCoordinator(): void {
    const own = ['--name', 'c', '--data', join(this.folder, 'data'), '--run', this.folder];
    const link = ['--link', `${SWITCH_ADDRESS}:${LINK_PORT}`, '--identity', join(this.folder, 'c.identity')];
    const words = [...own, ...link, '--socket', join(this.folder, 'c.sock')];
    this.#coordinator = this.#spawn([process.execPath, join(DIST, 'coordinator/main.js'), ...words]);
  }

  #spawn([program = '', ...words]: string[]): ChildProcess {
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#output = `${this.#output}${chunk}`.slice(-100_000);
    });
    return child;
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
  await exited;
  clearTimeout(timer);
}
