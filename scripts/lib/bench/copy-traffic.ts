import type { HostView } from '../../../protocol/http.js';
import type { StateApp } from '../state/state-app.js';
import type { Traffic } from './handovers.js';

const LOOK_MS = 1_000;

/** What hosts have sent each other of copies of state by RDMA, and how often that was the way of two hosts. */
export class CopyTraffic implements Traffic {
  readonly #app: StateApp;
  /** As they were said last, by the two hosts. */
  readonly #said = new Map<string, number>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Of all looks at how one host sends to another one. */
  looks = 0;
  byRdma = 0;
  /** Why not by RDMA, the last time. */
  reason = '';

  constructor(app: StateApp) {
    this.#app = app;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#bytes = 0;
    this.#timer = setInterval(() => {
      this.#look().catch((error: Error) => console.error('nobody says how copies go:', error.message));
    }, LOOK_MS);
  }

  async stop(): Promise<number> {
    this.end();
    await this.#look();
    return this.#bytes;
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const hosts = await this.#app.get<HostView[]>('/v1/hosts');
    for (const { name, connections } of hosts) {
      for (const { host, copies } of connections ?? []) {
        if (copies === undefined) continue;
        this.looks += 1;
        if (copies.by === 'rdma') this.byRdma += 1;
        else this.reason = copies.reason;
        this.#count(`${name} ${host}`, copies.rdmaBytes);
      }
    }
  }

  /** Two hosts that have had nothing to do with each other for a while count anew. */
  #count(pair: string, bytes: number): void {
    const before = this.#said.get(pair) ?? 0;
    this.#said.set(pair, bytes);
    this.#bytes += bytes >= before ? bytes - before : bytes;
  }
}
