import { Agent as HttpAgent, request } from 'node:http';
import { join } from 'node:path';
import { Paths } from '../../../agent/paths.js';
import type { ComponentView, InstanceView } from '../../../protocol/http.js';
import type { AgentEvent } from '../../../protocol/link.js';
import { type StateAppOptions, stateManifest } from './state-manifest.js';

export const UP_MS_MAX = 60_000;
const LOOK_MS = 50;
const ANSWER_MS_MAX = 5_000;

/** Where the app runs. */
export interface StateAppPlace {
  /** HOST:PORT of the coordinator's API. */
  api: string;
  /** Holds the state folder of each agent that is on this machine, under the name of its host. */
  folder: string;
  /** The host of the caller, on this machine. */
  caller: string;
  /** What an answer of the API may take; 5,000 unless said. */
  answerMs?: number;
  /** Between two looks at what is waited for, which hold others up; 50 unless said. */
  lookMs?: number;
}

export interface Reply {
  answer?: unknown;
  code?: string;
  message?: string;
}

/** The component with state and its caller, as who operates and calls them has them, wherever their hosts are. */
export class StateApp {
  readonly #options: StateAppOptions;
  readonly #place: StateAppPlace;
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: 64 });

  constructor(options: StateAppOptions, place: StateAppPlace) {
    this.#options = options;
    this.#place = place;
  }

  /** Puts the app there, and waits until a call is answered. */
  async apply(count: number, ms = UP_MS_MAX): Promise<void> {
    await this.#ask('PUT', '/v1/apps/t', 'application/json', JSON.stringify(stateManifest(this.#options)));
    await this.setCount(count);
    await this.settled(ms);
    await this.until('a call is answered', async () => (await this.call('get', 'first')).code === undefined, ms);
  }

  /** Resolves when so many hosts are connected. */
  async connected(hosts: number, ms = UP_MS_MAX): Promise<void> {
    await this.until(
      'all hosts are there',
      async () => {
        const known = await this.get<{ connected: boolean }[]>('/v1/hosts');
        return known.filter(({ connected }) => connected).length === hosts;
      },
      ms,
    );
  }

  async setCount(count: number): Promise<void> {
    await this.#ask('PUT', '/v1/apps/t/components/store/scale', 'application/json', JSON.stringify({ count }));
  }

  async instances(): Promise<InstanceView[]> {
    const all = await this.get<InstanceView[]>('/v1/instances');
    return all.filter(({ component }) => component === 'store');
  }

  component(): Promise<ComponentView> {
    return this.get<ComponentView>('/v1/apps/t/components/store');
  }

  /** All instances that are wanted are there, and every shard is owned by the one that shall own it. */
  async settled(ms = UP_MS_MAX): Promise<void> {
    let seen: unknown;
    const isSettled = async () => {
      const { count, shards } = await this.component();
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
      const { shards } = await this.component();
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
    return this.askInstance({ host: this.#place.caller, id: 't-caller-0' }, path, ms);
  }

  /** A socket of the instance's own folder. */
  socketOf({ host, id }: Pick<InstanceView, 'host' | 'id'>, name: string): string {
    return join(new Paths(join(this.#place.folder, host)).instance(id).socket, name);
  }

  /** Asks an instance on this machine that listens on its port `http`. */
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
        throw new Error(`waited ${ms} ms in vain until ${what}. ${last}\n${this.said()}`);
      await new Promise((resolve) => setTimeout(resolve, this.#place.lookMs ?? LOOK_MS));
    }
  }

  /** Ends what it has open. */
  hangUp(): void {
    this.#http.destroy();
  }

  /** What the processes of the cluster have said, for people who wait in vain. */
  protected said(): string {
    return '';
  }

  async #ask<T>(method: string, path: string, type?: string, body?: string): Promise<T> {
    return JSON.parse(await this.#askText(method, path, type, body)) as T;
  }

  async #askText(method: string, path: string, type?: string, body?: string): Promise<string> {
    const headers = type === undefined ? {} : { headers: { 'content-type': type } };
    const signal = AbortSignal.timeout(this.#place.answerMs ?? ANSWER_MS_MAX);
    const sent = body === undefined ? {} : { body };
    const response = await fetch(`http://${this.#place.api}${path}`, { method, signal, ...headers, ...sent });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text;
  }
}
