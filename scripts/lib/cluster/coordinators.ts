import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterView } from '../../../protocol/http.js';
import { until } from '../until.js';
import { freePorts } from './etcd.js';

const MAIN = fileURLToPath(new URL('../../../coordinator/main.js', import.meta.url));

export interface Seat {
  name: string;
  api: string;
  /** Where agents dial it: a Unix socket, and HOST:PORT. */
  socket: string;
  link: string;
  words: readonly string[];
  child: ChildProcess | null;
}

/** Coordinators of one cluster as processes of this host, on loopback. */
export class CoordinatorsRig {
  private constructor(
    readonly folder: string,
    readonly seats: readonly Seat[],
  ) {}

  /** `etcd`: null for an embedded store, of one coordinator. `wordsOf`: what the coordinator of that name is told besides. */
  static async start(
    count: number,
    etcd: readonly string[] | null,
    words: readonly string[] = [],
    wordsOf: (name: string) => readonly string[] = () => [],
  ): Promise<CoordinatorsRig> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-coordinators-'));
    const ports = await freePorts(2 * count);
    const store = etcd === null ? ['--data', join(folder, 'data')] : ['--etcd', etcd.join(',')];
    const seats = Array.from({ length: count }, (_, index) => {
      const listen = `127.0.0.1:${ports[2 * index]}`;
      const link = `127.0.0.1:${ports[2 * index + 1]}`;
      const name = `c${index}`;
      const socket = join(folder, `${name}.sock`);
      const own = ['--name', name, '--listen', listen, '--link', link, '--socket', socket, '--run', folder];
      return {
        name,
        api: `http://${listen}`,
        socket,
        link,
        child: null,
        words: [...own, ...store, ...words, ...wordsOf(name)],
      };
    });
    const rig = new CoordinatorsRig(folder, seats);
    for (const seat of seats) rig.launch(seat);
    await rig.untilLed();
    return rig;
  }

  /** `main`: of another installation. */
  launch(seat: Seat, main = MAIN): void {
    const env = { ...process.env, SHOAL_LOG: process.env.SHOAL_LOG ?? 'fatal' };
    seat.child = spawn(process.execPath, [main, ...seat.words], { stdio: ['ignore', 'ignore', 'inherit'], env });
  }

  async end(seat: Seat, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { child } = seat;
    if (child === null) return;
    seat.child = null;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await exited;
  }

  /** What the coordinator says; null when it does not answer. */
  async view(seat: Seat): Promise<ClusterView | null> {
    try {
      const response = await fetch(`${seat.api}/v1/cluster`, { signal: AbortSignal.timeout(1_000) });
      return (await response.json()) as ClusterView;
    } catch {
      return null;
    }
  }

  /** The coordinator that leads, once there is one among those that run. */
  async untilLed(): Promise<Seat> {
    let led: Seat | undefined;
    const isLed = async () => {
      for (const seat of this.seats) {
        if (seat.child !== null && (await this.view(seat))?.role === 'leads') led = seat;
      }
      return led !== undefined;
    };
    await until(isLed);
    return led as Seat;
  }

  /** Once the coordinator follows. */
  async untilFollows(seat: Seat): Promise<void> {
    await until(async () => (await this.view(seat))?.role === 'follows');
  }

  async close(): Promise<void> {
    await Promise.all(this.seats.map((seat) => this.end(seat, 'SIGKILL')));
    await rm(this.folder, { recursive: true, force: true });
  }
}
