import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent as HttpAgent, request } from 'node:http';
import { join } from 'node:path';
import { Paths } from '../../../agent/paths.js';
import type { ComponentView, InstanceView } from '../../../protocol/http.js';
import type { AgentEvent } from '../../../protocol/link.js';
import { freePort, freePortPair } from '../demo/cluster.js';
import { clearAway } from './clear-away.js';

const UP_MS_MAX = 60_000;
const END_MS_MAX = 20_000;
const LOOK_MS = 50;
/** While a load is measured, which looks at everything hold up. */
const LOOK_LOADED_MS = 1_000;
/** Whoever ends the run by one of these leaves nothing behind either. */
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export interface StateClusterOptions {
  /** Folder of compiled code. */
  dist: string;
  /** Hosts that may have state; one more has the caller. */
  hosts: number;
  /** Partitioned unless told. Replicated state is in one shard. */
  mode?: 'partitioned' | 'replicated';
  shards: number;
  /** Hosts beside the owner's that hold each write. */
  replicas?: number;
  /** Instances of the component with state, at first. */
  count: number;
  countMax: number;
  shardMemory?: string;
  /** How often snapshots go to the disk. Absent: never. */
  snapshot?: string;
  /** Copies may be read as they were at most so long ago. Absent: owners alone read. */
  staleness?: string;
  /** The caller makes a load by itself (load.mts), and is told of shards that change hands; else it asks what it is asked. */
  load?: boolean;
  /** In place of numbers.mts: a program of dist/scripts/lib, which may call its own component. */
  program?: string;
}

export interface Reply {
  answer?: unknown;
  code?: string;
  message?: string;
}

/** A coordinator with an embedded store and agents on one machine, each with a name of its own as if it were a host. */
export class StateCluster {
  readonly #options: StateClusterOptions;
  readonly #folder: string;
  readonly #api: string;
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: 64 });
  readonly #children = new Map<string, ChildProcess>();
  /** Where agents take others, when the load is measured. */
  readonly linkPorts = new Map<string, number>();
  output = '';
  #closing: Promise<void> | undefined;
  readonly #leave = () => void this.close().finally(() => process.exit(1));

  private constructor(options: StateClusterOptions, folder: string, api: string) {
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
    return ['caller', ...this.hosts].map((host) => join(this.#folder, host));
  }

  get hosts(): string[] {
    return Array.from({ length: this.#options.hosts }, (_, i) => `h${i}`);
  }

  async #begin(): Promise<void> {
    this.startCoordinator();
    await this.until('the coordinator answers', async () => (await this.get('/v1/hosts')) !== null);
    for (const host of ['caller', ...this.hosts]) {
      if (this.#options.load === true) this.linkPorts.set(host, await freePortPair());
      this.startAgent(host);
    }
    await this.until('all hosts are there', async () => {
      const hosts = await this.get<{ connected: boolean }[]>('/v1/hosts');
      return hosts.filter(({ connected }) => connected).length === this.#options.hosts + 1;
    });
    await this.#ask('PUT', '/v1/apps/t', 'application/json', JSON.stringify(this.#manifest()));
    await this.setCount(this.#options.count);
    await this.settled();
    await this.until('a call is answered', async () => (await this.call('get', 'first')).code === undefined);
  }

  #manifest(): unknown {
    const {
      dist,
      mode,
      shards,
      replicas = 0,
      countMax,
      shardMemory = '16Mi',
      load = false,
      program,
      snapshot,
      staleness,
    } = this.#options;
    const snapshots = snapshot === undefined ? {} : { snapshot: { every: snapshot } };
    const reads = staleness === undefined ? {} : { reads: { staleness } };
    const partitioned = { mode: 'partitioned', shards, shardMemory, replicas, ...snapshots, ...reads };
    const state = mode === 'replicated' ? { mode, replicas, ...snapshots } : partitioned;
    const directory = join(dist, 'scripts/lib/state');
    // For the load: so many that none is held up by its allotment, so few that all find room on a machine with two cores.
    const size = { cpu: { min: load ? 0.3 : 0.1, max: 1 }, memory: { min: '256Mi', max: '256Mi' } };
    return {
      app: 't',
      components: {
        store: {
          rootfs: 'host',
          directory,
          command: ['node', '/app/numbers.mjs'],
          ...(load ? { env: { TELLS: 'caller' }, calls: ['caller'] } : {}),
          ...(program === undefined
            ? {}
            : {
                directory: join(dist, 'scripts/lib'),
                command: ['node', join('/app', program)],
                env: { SHARDS: String(shards) },
                calls: ['store'],
              }),
          state,
          count: { min: 1, max: countMax },
          size,
          place: { require: { state: 'yes' } },
        },
        caller: {
          rootfs: 'host',
          directory,
          command: ['node', load ? '/app/load.mjs' : '/app/ask.mjs'],
          env: { SHARDS: String(shards) },
          calls: ['store'],
          count: { min: 1, max: 1 },
          size,
          place: { require: { state: 'no' } },
        },
      },
    };
  }

  startCoordinator(): void {
    const words = ['--data', join(this.#folder, 'data'), '--socket', this.#socket, '--listen', this.#api];
    this.#start('coordinator', 'coordinator/main.js', [...words, '--run', join(this.#folder, 'none')]);
  }

  startAgent(host: string): void {
    const words = ['--socket', this.#socket, '--run', join(this.#folder, host), '--name', host];
    const label = ['--label', `state=${host === 'caller' ? 'no' : 'yes'}`];
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

  async setCount(count: number): Promise<void> {
    await this.#ask('PUT', '/v1/apps/t/components/store/scale', 'application/json', JSON.stringify({ count }));
  }

  async instances(): Promise<InstanceView[]> {
    const all = await this.get<InstanceView[]>('/v1/instances');
    return all.filter(({ component }) => component === 'store');
  }

  /** All instances that are wanted are there, and every shard is owned by the one that shall own it. */
  async settled(ms = UP_MS_MAX): Promise<void> {
    let seen: unknown;
    const isSettled = async () => {
      const { count, shards } = await this.get<ComponentView>('/v1/apps/t/components/store');
      const instances = await this.instances();
      seen = {
        count,
        instances: instances.map(({ id, host, phase, shards: held }) => ({ id, host, phase, held: String(held) })),
        owners: shards?.map(({ owner }) => owner),
      };
      const held = new Map(instances.map((each) => [each.id, each.shards]));
      const isRight = shards?.every(({ shard, owner }) => held.get(owner ?? '')?.includes(shard) === true) === true;
      // Whoever has come gets a share, which need not be an even one.
      const isAlone = this.#options.mode === 'replicated';
      const isShared = instances.every((each) => each.phase === 'ready' && (isAlone || each.shards.length > 0));
      const total = instances.reduce((sum, each) => sum + each.shards.length, 0);
      return isRight && isShared && total === this.#options.shards && instances.length === count.desired;
    };
    await this.until('the state shards are with their owners', isSettled, ms).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(seen)}\n${await this.#told()}`);
    });
  }

  /** Every write is held by as many hosts as asked for, and nothing is under way. */
  async replicated(ms = UP_MS_MAX): Promise<void> {
    const { replicas = 0 } = this.#options;
    let seen: unknown;
    const isReplicated = async () => {
      const { shards } = await this.get<ComponentView>('/v1/apps/t/components/store');
      const lacking = (shards ?? []).filter(({ copies }) => {
        const isCalm = copies?.phase === 'serving' && copies.joining.length === 0;
        return !isCalm || copies.inSync.length !== replicas + 1;
      });
      seen = lacking.slice(0, 3);
      return lacking.length === 0;
    };
    await this.until('all copies are in sync', isReplicated, ms).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(seen)}\n${await this.#told()}`);
    });
  }

  /** The last events, for people. */
  async #told(): Promise<string> {
    const events = await this.events().catch((error: Error) => [
      { instance: '', kind: 'no events', message: error.message },
    ]);
    return events
      .slice(-40)
      .map(({ instance, kind, message }) => `${instance} ${kind}: ${message}`)
      .join('\n');
  }

  async events(): Promise<AgentEvent[]> {
    return this.get<AgentEvent[]>('/v1/events');
  }

  /** Calls a handler of the component with state. Rejects when nobody takes the question. */
  call(handler: string, key: string, value = 0, ms = 5_000): Promise<Reply> {
    return this.askCaller<Reply>(`/${handler}?key=${encodeURIComponent(key)}&value=${value}&ms=${ms}`, ms + 5_000);
  }

  /** Asks the component that calls the one with state. */
  askCaller<T>(path: string, ms: number): Promise<T> {
    return this.askInstance({ host: 'caller', id: 't-caller-0' }, path, ms);
  }

  /** A socket of the instance's own folder. */
  socketOf({ host, id }: Pick<InstanceView, 'host' | 'id'>, name: string): string {
    return join(new Paths(join(this.#folder, host)).instance(id).socket, name);
  }

  /** Asks an instance that listens on its port `http`. */
  askInstance<T>(instance: Pick<InstanceView, 'host' | 'id'>, path: string, ms: number): Promise<T> {
    return new Promise((resolve, reject) => {
      // By the socket that a port would lead to: all hosts of this machine would listen on the same one.
      const socketPath = this.socketOf(instance, 'http.sock');
      const asked = request({ socketPath, path, agent: this.#http, timeout: ms }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(text) as T);
          else reject(new Error(`${path}: ${text}`));
        });
      });
      asked.on('timeout', () => asked.destroy(new Error(`no answer to ${path} within ${ms} ms`)));
      asked.on('error', reject);
      asked.end();
    });
  }

  async get<T>(path: string): Promise<T> {
    return this.#ask<T>('GET', path);
  }

  getText(path: string): Promise<string> {
    return this.#askText('GET', path);
  }

  /** Waits for a condition; what fails meanwhile counts as not yet. Throws naming what was waited for. */
  async until(what: string, condition: () => Promise<boolean>, ms = UP_MS_MAX): Promise<void> {
    const deadline = performance.now() + ms;
    let last = '';
    for (;;) {
      const met = await condition().catch((error: Error) => {
        // What fetch() says by itself is only that it failed.
        last = error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
        return false;
      });
      if (met) return;
      if (performance.now() > deadline)
        throw new Error(`waited ${ms} ms in vain until ${what}. ${last}\n${this.#ended()}${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, this.#options.load === true ? LOOK_LOADED_MS : LOOK_MS));
    }
  }

  /** Which processes do not run, and how they ended. */
  #ended(): string {
    const ended = [...this.#children].filter(([, child]) => !isRunning(child));
    return ended.map(([name, { exitCode, signalCode }]) => `${name} has ended: ${signalCode ?? exitCode}\n`).join('');
  }

  /** Ends agents with their instances, then the coordinator, and removes all files, whatever state all this is in. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const signal of SIGNALS) process.off(signal, this.#leave);
    this.#http.destroy();
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

  async #ask<T>(method: string, path: string, type?: string, body?: string): Promise<T> {
    return JSON.parse(await this.#askText(method, path, type, body)) as T;
  }

  async #askText(method: string, path: string, type?: string, body?: string): Promise<string> {
    const headers = type === undefined ? {} : { headers: { 'content-type': type } };
    const signal = AbortSignal.timeout(5_000);
    const sent = body === undefined ? {} : { body };
    const response = await fetch(`http://${this.#api}${path}`, { method, signal, ...headers, ...sent });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text;
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
