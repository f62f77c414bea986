import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { StateCluster } from '../state/state-cluster.js';
import type { Traffic } from './handovers.js';

const run = promisify(execFile);
const LOOK_MS = 500;

/** What agents have sent each other over their links, as the kernel counts it for each connection (ss(8)). */
export class LinkBytes implements Traffic {
  readonly #cluster: Pick<StateCluster, 'linkPorts'>;
  readonly #sent = new Map<string, number>();
  readonly #before = new Map<string, number>();
  #ports = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: Pick<StateCluster, 'linkPorts'>) {
    this.#cluster = cluster;
  }

  async start(): Promise<void> {
    this.#ports = new Set([...this.#cluster.linkPorts.values()].map((port) => `:${port}`));
    await this.#look();
    for (const [connection, bytes] of this.#sent) this.#before.set(connection, bytes);
    this.#timer = setInterval(() => {
      this.#look().catch((error: Error) => console.error('bytes are not counted:', error.message));
    }, LOOK_MS);
  }

  async stop(): Promise<number> {
    this.end();
    await this.#look();
    return [...this.#sent].reduce((sum, [connection, bytes]) => sum + bytes - (this.#before.get(connection) ?? 0), 0);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const { stdout } = await run('ss', ['-HtinO', 'state', 'established']);
    for (const line of stdout.split('\n')) {
      const [, , local = '', remote = ''] = line.split(/\s+/);
      const bytes = /bytes_acked:(\d+)/.exec(line)?.[1];
      const isLink = [local, remote].some((end) => this.#ports.has(end.slice(end.lastIndexOf(':'))));
      if (isLink && bytes !== undefined) this.#sent.set(`${local} ${remote}`, Number(bytes));
    }
  }
}
