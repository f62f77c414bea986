import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { encodeFrame, FrameReader } from '../../../protocol/frame.js';
import { type Desired, LINK_VERSION, type ToAgent, type ToCoordinator } from '../../../protocol/link.js';
import { within } from '../until.js';

const CONNECT_MS_MAX = 60_000;

/** One agent, told by the benchmark itself what its host shall be: no placement bounds how much that is. */
export class AgentAlone {
  /** Ids of instances that have been ready. */
  readonly ready = new Set<string>();
  /** How often a process ended by itself. */
  ends = 0;
  #socket: Socket | undefined;

  private constructor(
    readonly folder: string,
    private readonly server: Server,
    private readonly outer: ChildProcess,
  ) {}

  static async start(dist: string): Promise<AgentAlone> {
    const folder = await mkdtemp('/run/shoal-bench-');
    await chmod(folder, 0o711);
    const socket = join(folder, 'c.sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const words = [join(dist, 'agent/main.js'), '--socket', socket, '--run', join(folder, 'run')];
    const outer = spawn(process.execPath, [...words, '--stop-instances', '--name', 'bench'], { stdio: 'ignore' });
    const alone = new AgentAlone(folder, server, outer);
    const connected = new Promise<void>((resolve) => {
      server.on('connection', (dialled) => alone.#converse(dialled, resolve));
    });
    await within('the agent dials', CONNECT_MS_MAX, connected);
    return alone;
  }

  get run(): string {
    return join(this.folder, 'run');
  }

  /** The agent proper: what was started waits for the one in a mount namespace of its own. */
  async pid(): Promise<number> {
    const children = await readFile(`/proc/${this.outer.pid}/task/${this.outer.pid}/children`, 'utf8');
    return Number(children.split(' ')[0]);
  }

  desire(desired: Desired): void {
    this.#send({ type: 'desired', desired });
  }

  /** Ends the instances, the agent and all that is left. */
  async close(): Promise<void> {
    if (this.outer.exitCode === null && this.outer.signalCode === null) {
      const exited = new Promise((resolve) => this.outer.once('exit', resolve));
      this.outer.kill('SIGTERM');
      await exited;
    }
    this.#socket?.destroy();
    this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  #converse(socket: Socket, welcomed: () => void): void {
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk) as ToCoordinator[]) {
        if (message.type === 'hello') {
          this.#send({ type: 'welcome', version: LINK_VERSION, term: 0 });
          welcomed();
        } else if (message.type === 'report') {
          this.#send({ type: 'heard', term: 0 });
          for (const { kind, instance } of message.events) {
            if (kind === 'ready') this.ready.add(instance);
            if (kind === 'exited') this.ends += 1;
          }
        }
      }
    });
  }

  #send(message: ToAgent): void {
    this.#socket?.write(encodeFrame(message));
  }
}
