import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Paths } from '../../../agent/paths.js';
import type { InstanceView } from '../../../protocol/http.js';
import { freePort, freePortPair } from '../demo/cluster.js';
import { clearAway } from './clear-away.js';
import { StateApp } from './state-app.js';
import type { StateAppOptions } from './state-manifest.js';

const END_MS_MAX = 20_000;
/** While a load is measured, which looks at everything hold up. */
const LOOK_LOADED_MS = 1_000;
const CALLER = 'caller';
/** Whoever ends the run by one of these leaves nothing behind either. */
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export interface StateClusterOptions extends StateAppOptions {
  /** Hosts that may have state; one more has the caller. */
  hosts: number;
  /** Instances of the component with state, at first. */
  count: number;
}

/** A coordinator with an embedded store and agents on one machine, each with a name of its own as if it were a host. */
export class StateCluster extends StateApp {
  readonly #options: StateClusterOptions;
  readonly #folder: string;
  readonly #api: string;
  readonly #children = new Map<string, ChildProcess>();
  /** Where agents take others, when the load is measured. */
  readonly linkPorts = new Map<string, number>();
  output = '';
  #closing: Promise<void> | undefined;
  readonly #leave = () => void this.close().finally(() => process.exit(1));

  private constructor(options: StateClusterOptions, folder: string, api: string) {
    super(options, { api, folder, caller: CALLER, ...(options.load === true ? { lookMs: LOOK_LOADED_MS } : {}) });
    this.#options = options;
    this.#folder = folder;
    this.#api = api;
  }

  static async start(options: StateClusterOptions): Promise<StateCluster> {
    const folder = await mkdtemp('/run/shoal-state-');
    await chmod(folder, 0o711);
    const cluster = new StateCluster(options, folder, `127.0.0.1:${await freePort()}`);
    for (const signal of SIGNALS) process.once(signal, cluster.#leave);
    try {
      await cluster.#begin();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** For commands. */
  get server(): string {
    return `http://${this.#api}`;
  }

  /** State folders of all agents. */
  get folders(): string[] {
    return [CALLER, ...this.hosts].map((host) => join(this.#folder, host));
  }

  get hosts(): string[] {
    return Array.from({ length: this.#options.hosts }, (_, i) => `h${i}`);
  }

  async #begin(): Promise<void> {
    this.startCoordinator();
    await this.until('the coordinator answers', async () => (await this.get('/v1/hosts')) !== null);
    for (const host of [CALLER, ...this.hosts]) {
      if (this.#options.load === true) this.linkPorts.set(host, await freePortPair());
      this.startAgent(host);
    }
    await this.connected(this.#options.hosts + 1);
    await this.apply(this.#options.count);
  }

  startCoordinator(): void {
    const words = ['--data', join(this.#folder, 'data'), '--socket', this.#socket, '--listen', this.#api];
    this.#start('coordinator', 'coordinator/main.js', [...words, '--run', join(this.#folder, 'none')]);
  }

  startAgent(host: string): void {
    const words = ['--socket', this.#socket, '--run', join(this.#folder, host), '--name', host];
    const label = ['--label', host === CALLER ? 'caller=yes' : 'state=yes'];
    const port = this.linkPorts.get(host);
    const fabric = port === undefined ? [] : ['--fabric', `127.0.0.1:${port}`];
    this.#start(host, 'agent/main.js', [...words, ...label, ...fabric, '--profile-hertz', '0', '--stop-instances']);
  }

  /** SIGKILL: of the agent proper and who waits for it; its instances go on. */
  async kill(name: string): Promise<void> {
    const child = this.#children.get(name);
    if (child?.pid === undefined || !isRunning(child)) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    for (const pid of await childrenOf(child.pid)) signalPid(pid, 'SIGKILL');
    child.kill('SIGKILL');
    await exited;
  }

  /** SIGSTOP: as if it were cut off from all others, while its instances go on. */
  async stop(name: string): Promise<void> {
    for (const pid of await this.#processesOf(name)) signalPid(pid, 'SIGSTOP');
  }

  /** Goes on after stop(). */
  async resume(name: string): Promise<void> {
    for (const pid of await this.#processesOf(name)) signalPid(pid, 'SIGCONT');
  }

  async #processesOf(name: string): Promise<number[]> {
    const child = this.#children.get(name);
    if (child?.pid === undefined || !isRunning(child)) return [];
    return [...(await childrenOf(child.pid)), child.pid];
  }

  killInstance({ pid }: InstanceView): void {
    if (pid !== undefined && pid !== null) signalPid(pid, 'SIGKILL');
  }

  /** As if the host had burnt: its processes, these instances among them, and its memory are gone. */
  async lose(host: string, instances: readonly InstanceView[]): Promise<void> {
    await this.kill(host);
    for (const each of instances) if (each.host === host) this.killInstance(each);
    // With its disk: else what it shall be of this very boot would be written there, and it would begin with empty copies.
    await rm(new Paths(join(this.#folder, host)).desired, { force: true });
    await rm(new Paths(join(this.#folder, host)).shared, { recursive: true, force: true });
  }

  /** Where a host keeps snapshots of the component with state: a folder for each state shard. */
  snapshotsOf(host: string): string {
    return join(new Paths(join(this.#folder, host)).snapshots, 't', 'store');
  }

  /** Which processes do not run, and how they ended. */
  #ended(): string {
    const ended = [...this.#children].filter(([, child]) => !isRunning(child));
    return ended.map(([name, { exitCode, signalCode }]) => `${name} has ended: ${signalCode ?? exitCode}\n`).join('');
  }

  protected override said(): string {
    return `${this.#ended()}${this.output}`;
  }

  /** Ends agents with their instances, then the coordinator, and removes all files, whatever state all this is in. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const signal of SIGNALS) process.off(signal, this.#leave);
    this.hangUp();
    // What stands still does not end.
    for (const name of this.#children.keys()) await this.resume(name);
    const agents = [...this.#children].filter(([name]) => name !== 'coordinator');
    await Promise.all(agents.map(([, child]) => end(child, 'SIGTERM')));
    const coordinator = this.#children.get('coordinator');
    if (coordinator !== undefined) await end(coordinator, 'SIGKILL');
    // An agent that was killed has left instances behind.
    for (const folder of this.folders) await clearAway(folder);
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #socket(): string {
    return join(this.#folder, 'c.sock');
  }

  #start(name: string, main: string, words: string[]): void {
    const env = { ...process.env, SHOAL_LOG: process.env.SHOAL_LOG ?? 'error' };
    const child = spawn(process.execPath, [join(this.#options.dist, main), ...words], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output = `${this.output}${name}: ${text}`.slice(-20_000);
    });
    this.#children.set(name, child);
  }
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended between the look and the shot.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter(Boolean).map(Number);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!isRunning(child)) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
  await exited;
  clearTimeout(timer);
}
