import { Agent, request } from 'node:http';

export interface Answer {
  /** When the request was due, and how long after that its answer was there, in ms. */
  dueMs: number;
  latencyMs: number;
  ok: boolean;
}

/** This share of requests ends its connection, so that new instances get some of the load. */
const CLOSE_SHARE = 0.05;
const TICK_MS = 5;
const REQUEST_MS_MAX = 10_000;

/**
 * Open-loop load: requests are due by the rate, whether earlier ones were answered or not, and latency counts from when
 * a request was due. A slow server thus cannot hide by slowing the load down (coordinated omission).
 */
export class Load {
  readonly answers: Answer[] = [];
  readonly failures: string[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 512 });
  readonly #url: () => string;
  readonly #rate: (elapsedMs: number) => number;
  #outstanding = 0;
  sent = 0;

  /** `rate`: requests per second at a time since the start. */
  constructor(url: () => string, rate: (elapsedMs: number) => number) {
    this.#url = url;
    this.#rate = rate;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** Resolves when the time is over and all answers are in. */
  async run(durationMs: number): Promise<void> {
    const start = performance.now();
    let due = 0;
    let last = start;
    while (last - start < durationMs) {
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      const now = performance.now();
      due += (this.#rate(now - start) * (now - last)) / 1000;
      last = now;
      for (; due >= 1; due -= 1) void this.#send(now);
    }
    while (this.#outstanding > 0) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    this.#agent.destroy();
  }

  async #send(dueMs: number): Promise<void> {
    this.sent += 1;
    this.#outstanding += 1;
    let ok = false;
    try {
      const { status, body } = await this.#get();
      ok = status === 200;
      if (!ok) this.failures.push(`${status}: ${body}`);
    } catch (error) {
      this.failures.push((error as Error).message);
    }
    this.#outstanding -= 1;
    this.answers.push({ dueMs, latencyMs: performance.now() - dueMs, ok });
  }

  /** As browsers do, asks once more when a kept connection turns out to have been closed meanwhile. */
  async #get(): Promise<{ status: number; body: string }> {
    const headers = Math.random() < CLOSE_SHARE ? { connection: 'close' } : {};
    try {
      return await get(this.#url(), this.#agent, headers);
    } catch (error) {
      if (!(error instanceof ReusedConnection)) throw error;
      return get(this.#url(), this.#agent, { connection: 'close' });
    }
  }
}

class ReusedConnection extends Error {}

function get(url: string, agent: Agent, headers: Record<string, string>): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent, headers, timeout: REQUEST_MS_MAX }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${REQUEST_MS_MAX} ms`)));
    asked.on('error', (error) => reject(asked.reusedSocket ? new ReusedConnection(error.message) : error));
    asked.end();
  });
}
