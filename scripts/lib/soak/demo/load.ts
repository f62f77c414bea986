import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { NetRack } from '../../cluster/net-rack.js';
import { DEMO_PORT } from './app.js';
import type { DemoCounts } from './requests.js';

/** A client of the demo on each host: see client.ts. */
export class DemoLoad {
  readonly #clients: ChildProcess[] = [];
  readonly #counts = new Map<string, DemoCounts>();
  #closing = false;
  #broken: string | null = null;

  /** `dist`: folder of compiled code. */
  constructor(dist: string, rack: NetRack, hosts: readonly string[]) {
    for (const host of hosts) {
      const words = [process.execPath, join(dist, 'scripts/lib/soak/demo/client.js'), String(DEMO_PORT)];
      const [program = '', ...rest] = rack.on(host, ...words);
      const client = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
      this.#clients.push(client);
      createInterface({ input: client.stdout }).on('line', (line) => {
        this.#counts.set(host, JSON.parse(line) as DemoCounts);
      });
      client.once('exit', (code, signal) => {
        if (!this.#closing) this.#broken ??= `the client on ${host} ended: ${signal ?? code}`;
      });
    }
  }

  /** Of all clients: requests that got their answer, that got none, and searches that missed what had been added. */
  get answered(): number {
    return this.#sum('answered');
  }
  get failed(): number {
    return this.#sum('failed');
  }
  get missing(): number {
    return this.#sum('missing');
  }

  /** Throws what is wrong with answers so far. */
  assertRight(): void {
    if (this.#broken !== null) throw new Error(this.#broken);
    for (const [host, { wrong }] of this.#counts) {
      if (wrong[0] !== undefined) throw new Error(`${host} got an answer that is not its own: ${wrong[0]}`);
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(
      this.#clients.map(async (client) => {
        if (client.exitCode !== null || client.signalCode !== null) return;
        const exited = new Promise((resolve) => client.once('exit', resolve));
        client.kill('SIGKILL');
        await exited;
      }),
    );
  }

  #sum(what: 'answered' | 'failed' | 'missing'): number {
    return [...this.#counts.values()].reduce((sum, counts) => sum + counts[what], 0);
  }
}
