import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ERRORS, type ErrorCode } from '../../protocol/errors.js';
import type {
  ComponentView,
  DecisionView,
  EventView,
  HostStanding,
  HostView,
  InstanceView,
} from '../../protocol/http.js';

export interface SeenRequest {
  method: string;
  /** With the query. */
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export type Handler = (request: SeenRequest, response: ServerResponse) => void;

/** A coordinator's HTTP side that answers what a test tells it, and remembers what it was asked. */
export class FakeCoordinator {
  readonly seen: SeenRequest[] = [];
  readonly #routes = new Map<string, Handler>();
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const seen = { method, url, headers, body: Buffer.concat(chunks).toString('utf8') };
      this.seen.push(seen);
      const handler = this.#routes.get(`${method} ${url}`) ?? this.#routes.get(`${method} ${url.split('?')[0]}`);
      if (handler === undefined) problem(response, 'SHOAL_E_NOT_FOUND', `no ${method} ${url}`);
      else handler(seen, response);
    });
  });

  static async start(): Promise<FakeCoordinator> {
    const fake = new FakeCoordinator();
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** `route` is "METHOD /path", with or without a query. */
  on(route: string, handler: Handler): this {
    this.#routes.set(route, handler);
    return this;
  }

  json(route: string, value: unknown): this {
    return this.on(route, (_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(value));
    });
  }

  problem(route: string, code: ErrorCode, detail: string): this {
    return this.on(route, (_, response) => problem(response, code, detail));
  }

  requests(): string[] {
    return this.seen.map(({ method, url }) => `${method} ${url}`);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function problem(response: ServerResponse, code: ErrorCode, detail: string): void {
  const { status, title } = ERRORS[code];
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ type: `urn:shoal:error:${code}`, title, status, code, detail }));
}

export function hostView(more: Partial<HostView> = {}): HostView {
  const base = { name: 'rack1', connected: true, cores: 2, memoryBytes: 8 * 2 ** 30, kernel: '6.1.0', instances: 2 };
  const connected = more.connected ?? true;
  const standing: HostStanding = connected
    ? { state: 'well', why: '' }
    : { state: 'away', why: 'it has been away for 3 s' };
  return { ...base, standing, degraded: [], use: 'open', ...more };
}

export function componentView(more: Partial<ComponentView> = {}): ComponentView {
  return {
    app: 'search',
    component: 'web',
    count: { desired: 2, ready: 2, min: 1, max: 8 },
    size: { cpu: 0.25, memory: 64 * 2 ** 20 },
    override: null,
    mode: { mode: 'act', by: 'manifest' },
    paused: false,
    wouldBe: null,
    demandCpu: 0.3,
    requestsPerSecond: 42,
    utilisation: 0.6,
    latencyMs: { p50: 1.5, p99: 12 },
    forecast: {
      horizonSeconds: 30,
      model: 'holt-winters',
      level: 0.9,
      accuracy: {
        step: { aheadSeconds: 1, compared: 600, errorCpu: 0.02, demandCpu: 0.3, coverage: 0.91 },
        lead: { aheadSeconds: 5, compared: 0, errorCpu: 0, demandCpu: 0, coverage: 0 },
      },
      points: [
        { atMs: 1_000, mean: 0.3, lower: 0.2, upper: 0.4 },
        { atMs: 31_000, mean: 0.4, lower: 0.3, upper: 0.55 },
      ],
    },
    start: { seconds: 0.2, kind: 'warm', seen: 12 },
    reason: 'forecast 0.55 cores at 70%',
    ports: [],
    warm: { waiting: 0, memoryBytes: 0 },
    shards: null,
    cache: null,
    stateLagMs: null,
    ...more,
  };
}

export function instanceView(more: Partial<InstanceView> = {}): InstanceView {
  return {
    id: 'search-web-1',
    app: 'search',
    component: 'web',
    phase: 'ready',
    size: { cpu: 0.25, memory: 64 * 2 ** 20 },
    restarts: 0,
    pid: 4711,
    startMs: 85,
    shards: [],
    host: 'rack1',
    draining: false,
    weight: 1,
    cpuUsed: 0.15,
    ...more,
  };
}

export function decisionView(atMs: number, more: Partial<DecisionView> = {}): DecisionView {
  const size = { cpu: 0.25, memory: 64 * 2 ** 20 };
  return {
    atMs,
    fate: 'done',
    changed: false,
    before: { count: 2, size },
    after: { count: 2, size },
    summary: 'uses 0.30 cores: stays at 2 × 0.25 cores',
    words: [
      { topic: 'saw', text: 'It used 0.30 of its 0.50 cores.' },
      { topic: 'did', text: 'It stays at 2 × 0.25 cores.' },
    ],
    outcome: null,
    explanation: {},
    ...more,
  };
}

export function eventView(id: number, more: Partial<EventView> = {}): EventView {
  const base = { atMs: id * 1_000, app: 'search', component: 'web', instance: 'search-web-1' };
  return { id, ...base, kind: 'instance-ready', message: `event number ${id}`, ...more };
}
