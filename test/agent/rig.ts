import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Paths } from '../../agent/paths.js';
import { hostConnected, startObserving, statusOf, takeNews } from '../../coordinator/observed.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { readSamples } from '../../protocol/instance-news.js';
import {
  type AgentEvent,
  type BuildStatus,
  type Built,
  type Desired,
  type DesiredInstance,
  type ImageFigures,
  type InstanceStatus,
  isBuildReference,
  LINK_VERSION,
  type ListeningPort,
  type Seed,
  type ToCoordinator,
  type WarmProcesses,
} from '../../protocol/link.js';
import { type Component, PARTITION_DEFAULT, REPLICATED_DEFAULT } from '../../protocol/manifest.js';
import type { ProfileRequest } from '../../protocol/profile.js';

const AGENT = fileURLToPath(new URL('../../agent/main.js', import.meta.url));
/** The components that the tests run, compiled beside them. */
export const COMPONENTS = fileURLToPath(new URL('./components', import.meta.url));
const MIB = 2 ** 20;

/** A real agent with real containers, and the coordinator's end of its link in the hands of the test. */
export class AgentRig {
  readonly events: AgentEvent[] = [];
  statuses: InstanceStatus[] = [];
  ports: ListeningPort[] = [];
  warm: WarmProcesses[] = [];
  builds: BuildStatus[] = [];
  images: ImageFigures | undefined;
  hello: Extract<ToCoordinator, { type: 'hello' }> | undefined;
  applied = -1;
  /** How many came, of all agents. */
  reports = 0;
  /** To requests for profiles. */
  answers: Extract<ToCoordinator, { type: 'profile' | 'no-profile' }>[] = [];
  /** Why commands could not be run. */
  refusals: string[] = [];
  agent: ChildProcess | undefined;
  output = '';
  readonly #observed = startObserving(0);
  #server: Server | undefined;
  #socket: Socket | undefined;
  #desired: Desired = { revision: 0, apps: {}, instances: [], shards: {} };
  #wake: (() => void)[] = [];
  #closed = false;

  private constructor(readonly folder: string) {}

  static async make(...words: string[]): Promise<AgentRig> {
    // Not under /tmp: instances get a /tmp of their own, and the agent's folder must be reachable by any user.
    const rig = new AgentRig(await mkdtemp('/run/shoal-test-'));
    await chmod(rig.folder, 0o711);
    await rig.#listen();
    rig.startAgent(...words);
    t.teardown(() => rig.#abandon());
    return rig;
  }

  get run(): string {
    return join(this.folder, 'run');
  }

  startAgent(...words: string[]): void {
    const args = ['--socket', join(this.folder, 'c.sock'), '--run', this.run, '--name', 'h1', ...words];
    const agent = spawn(process.execPath, [AGENT, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    agent.stderr?.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    agent.once('exit', () => this.#changed());
    this.agent = agent;
  }

  /** The process that was started only waits for the agent proper, in its own mount namespace. */
  agentPids(): Promise<number[]> {
    return childrenOf(this.agent?.pid as number);
  }

  get #hostName(): string {
    return this.hello?.host.name ?? '';
  }

  /** Kills the agent, not its instances. */
  async killAgent(signal: NodeJS.Signals): Promise<void> {
    const agent = this.agent as ChildProcess;
    const exited = new Promise((resolve) => agent.once('exit', resolve));
    for (const pid of signal === 'SIGKILL' ? await this.agentPids() : []) process.kill(pid, signal);
    agent.kill(signal);
    await exited;
  }

  /** Asks the agent for a profile; its answer comes to `answers`. */
  askProfile(request: number, of: ProfileRequest): void {
    this.#socket?.write(encodeFrame({ type: 'profile', request, of }));
  }

  /** What is answered when the agent asks for hosts that have an image, and for which images it has. */
  seeds: Seed[] = [];
  /** Of builds; absent: nobody else has one or makes one. */
  built: (reference: string) => Built = () => ({ hosts: [] });
  readonly askedFor: string[] = [];

  /** Whether it is answered that singletons may go on. */
  prolongsLeases = true;

  /** Sends a changed desired state. */
  desire(change: (desired: Desired) => Partial<Desired>): void {
    this.#desired = { ...this.#desired, ...change(this.#desired), revision: this.#desired.revision + 1 };
    this.#send();
  }

  /** Waits until the condition holds, looking at each report. */
  async until(what: string, condition: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!(await condition())) {
      if (performance.now() > deadline) {
        const seen = JSON.stringify({ statuses: this.statuses, events: this.events.slice(-10) }, null, 1);
        throw new Error(`waited in vain until ${what}\n${seen}\n${this.output.slice(-4000)}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve);
        setTimeout(resolve, 100);
      });
    }
  }

  status(id: string): InstanceStatus | undefined {
    return this.statuses.find((each) => each.id === id);
  }

  /** Ends instances, agent and server, and says what was left behind. */
  async close(): Promise<string[]> {
    if (this.agent?.exitCode !== null || this.agent.signalCode !== null) this.startAgent();
    this.desire(() => ({ instances: [], shards: {} }));
    await this.until(
      'all instances are gone',
      () => this.applied === this.#desired.revision && this.statuses.length === 0,
    );
    await this.killAgent('SIGTERM');
    await this.#stopListening();
    const folders = [join(this.run, 'instances'), join(this.run, 'crun'), new Paths(this.run).shared];
    const left = (await Promise.all(folders.map(namesIn))).flat();
    await rm(this.folder, { recursive: true, force: true });
    this.#closed = true;
    return left;
  }

  /** After a test that failed before it closed the rig: nothing of it goes on, whatever state the agent is in. */
  async #abandon(): Promise<void> {
    if (this.#closed) return;
    if (this.agent?.exitCode === null && this.agent.signalCode === null) await this.killAgent('SIGKILL');
    await this.#stopListening();
    this.output = '';
    this.startAgent('--stop-instances');
    await this.until('a new agent is up', () => this.output.includes('the agent is up'));
    await this.killAgent('SIGTERM');
    await rm(this.folder, { recursive: true, force: true });
  }

  async #stopListening(): Promise<void> {
    this.#socket?.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #listen(): Promise<void> {
    const server = createServer((socket) => {
      this.#socket?.destroy();
      this.#socket = socket;
      const reader = new FrameReader();
      socket.on('data', (chunk: Buffer) => {
        for (const message of reader.push(chunk)) this.#take(message as ToCoordinator);
      });
      socket.on('error', () => socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(join(this.folder, 'c.sock'), resolve));
    this.#server = server;
  }

  #take(message: ToCoordinator): void {
    if (message.type === 'hello') {
      this.hello = message;
      hostConnected(this.#observed, message.host, Date.now());
      this.#socket?.write(encodeFrame({ type: 'welcome', version: LINK_VERSION }));
      this.#send();
    } else if (message.type === 'resync') {
      this.#send();
    } else if (message.type === 'seeds-wanted') {
      this.askedFor.push(message.image);
      const answer = isBuildReference(message.image) ? this.built(message.image) : { hosts: this.seeds };
      this.#socket?.write(encodeFrame({ type: 'seeds', request: message.request, ...answer }));
    } else if (message.type === 'no-exec') {
      this.refusals.push(message.why);
    } else if (message.type === 'profile' || message.type === 'no-profile') {
      this.answers.push(message);
    } else if (message.type === 'report') {
      this.reports += 1;
      this.applied = message.revision;
      const { lease } = message;
      const answer = lease === undefined || !this.prolongsLeases ? {} : { lease };
      this.#socket?.write(encodeFrame({ type: 'heard', term: 0, ...answer }));
      const samples = readSamples(message.samples);
      takeNews(this.#observed, this.#hostName, { ...message, samples }, Date.now());
      this.statuses = (this.#observed.hosts.get(this.#hostName)?.rows ?? []).map(statusOf);
      this.ports = message.ports ?? [];
      this.warm = message.warm ?? [];
      this.builds = message.builds ?? [];
      this.images = message.images ?? this.images;
      this.events.push(...message.events);
    }
    this.#changed();
  }

  #send(): void {
    this.#socket?.write(encodeFrame({ type: 'desired', desired: this.#desired }));
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** A manifest entry for one of the components beside this file. */
export function component(name: string, change: Partial<Component> = {}): Component {
  return {
    source: { kind: 'rootfs', rootfs: 'host', directory: COMPONENTS },
    command: ['node', `/app/${name}.mjs`],
    env: {},
    count: { min: 0, max: 10 },
    size: { cpu: { min: 0.1, max: 1 }, memory: { min: 64 * MIB, max: 256 * MIB } },
    objective: { kind: 'utilisation', target: 0.6 },
    state: 'none',
    calls: [],
    ports: [],
    ...(change.state === 'partitioned' ? { partition: { ...PARTITION_DEFAULT, shards: SHARDS } } : {}),
    ...(change.state === 'replicated' ? { partition: REPLICATED_DEFAULT, calls: [name] } : {}),
    ...change,
  };
}

export function instance(component: string, number: number, change: Partial<DesiredInstance> = {}): DesiredInstance {
  const size = { cpu: 0.5, memory: 128 * MIB };
  return { id: `t-${component}-${number}`, app: 't', component, size, draining: false, ...change };
}

const SHARDS = 64;

/** A shard map that gives the shards to the ids in turn. */
export function shardMap(epoch: number, ids: string[]): Desired['shards'][string] {
  return { epoch, owners: Array.from({ length: SHARDS }, (_, i) => ids[i % ids.length] ?? null) };
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).map(Number);
}

/** Whether the process runs: one that is dead but not yet waited for by its parent does not. */
export async function runs(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
}
