import { connect, type Socket } from 'node:net';
import { withChange } from '../../../protocol/desired-change.js';
import { encodeFrame, FrameReader } from '../../../protocol/frame.js';
import { NewsWriter, toWire } from '../../../protocol/instance-news.js';
import { LIMITS } from '../../../protocol/limits.js';
import type { Desired, DesiredInstance, InstanceStatus, ToAgent } from '../../../protocol/link.js';

const BUCKETS = 48;
const CALLS_PER_SECOND = 20;

/** An agent as its coordinator sees it: its instances are ready at once and take calls, reported once a second. */
export class SimulatedAgent {
  readonly #socket: Socket;
  readonly #version: number;
  readonly #news = new NewsWriter();
  readonly #timers: NodeJS.Timeout[] = [];
  #desired: Desired = { revision: 0, apps: {}, instances: [], shards: {} };
  #seconds = 0;
  #isWelcome = false;
  #isLost = false;
  bytesUp = 0;
  bytesDown = 0;
  reports = 0;

  /** `delayMs`: of its first report, so that agents do not all report at once. */
  constructor(path: string, name: string, version: number, delayMs: number) {
    this.#version = version;
    this.#socket = connect(path);
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.#isLost = true;
    });
    const reader = new FrameReader();
    this.#socket.on('data', (chunk: Buffer) => {
      this.bytesDown += chunk.length;
      for (const message of reader.push(chunk) as ToAgent[]) this.#take(message);
    });
    const host = { name, cores: 32, memoryBytes: 2 ** 36, kernel: '6.1', degraded: [] };
    this.#send({ type: 'hello', version, host, revision: 0 });
    const first = setTimeout(() => {
      this.#report();
      this.#timers.push(setInterval(() => this.#report(), LIMITS.heartbeatMs));
    }, delayMs);
    this.#timers.push(first);
  }

  /** The coordinator has taken it. */
  get isWelcome(): boolean {
    return this.#isWelcome;
  }

  /** The leader has ended its connection. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get instances(): number {
    return this.#desired.instances.length;
  }

  end(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#socket.destroy();
  }

  #take(message: ToAgent): void {
    if (message.type === 'welcome' && message.version !== this.#version) throw new Error('an unknown version');
    if (message.type === 'welcome') this.#isWelcome = true;
    if (message.type === 'desired') this.#desired = message.desired;
    else if (message.type === 'change') {
      const changed = withChange(this.#desired, message.change);
      if (changed === null) this.#send({ type: 'resync', revision: this.#desired.revision });
      else this.#desired = changed;
    }
  }

  #report(): void {
    this.#seconds += 1;
    this.reports += 1;
    const { revision } = this.#desired;
    const statuses = this.#desired.instances.map((each) => this.#status(each));
    const news = toWire(this.#news.write(statuses), this.#version);
    this.#send({ type: 'report', atMs: Date.now(), revision, ...news, events: [] });
  }

  #status({ id, app, component, size }: DesiredInstance): InstanceStatus {
    const calls = this.#seconds * CALLS_PER_SECOND;
    const latencyBuckets = Array.from({ length: BUCKETS }, (_, bucket) => (bucket >= 8 && bucket < 12 ? calls / 4 : 0));
    const counted = { arrived: calls, finished: calls, failed: 0, outstanding: 1, latencyBuckets };
    const used = { cpuSeconds: this.#seconds * 0.02, memoryBytes: 5e7, ioReadBytes: 0, ioWriteBytes: 0 };
    return { id, app, component, phase: 'ready', size, restarts: 0, shards: [], sample: { ...used, ...counted } };
  }

  #send(message: object): void {
    const frame = encodeFrame(message);
    this.bytesUp += frame.length;
    this.#socket.write(frame);
  }
}
