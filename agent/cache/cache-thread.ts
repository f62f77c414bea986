import { isDeepStrictEqual } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { CachesFigures } from '../../protocol/cache-figures.js';
import { LIMITS } from '../../protocol/limits.js';
import type { CacheNews, WantedCaches } from './host-caches.js';

export type FromCacheThread =
  | { type: 'news'; news: CacheNews }
  | { type: 'figures'; figures: CachesFigures }
  /** Something could not be brought about; it is to be asked for again. */
  | { type: 'failed'; why: string };

export interface CacheThreadOptions {
  log: Logger;
  news(news: CacheNews): void;
  /** The module of the thread; another one in tests. */
  module?: URL;
}

/** Of the thread: what waits for servers and instances is bounded by far less. */
const MEMORY_MIB = 1024;
/** A thread that ran for so long begins with the shortest pause again. */
const STEADY_MS = 60_000;

/**
 * The caches of this host in a thread of its own: what goes to and from them passes through the agent, and must not hold up what
 * else the agent does. Runs while a component needs one; started again, after a growing pause, when it ends unasked.
 */
export class CacheThread {
  readonly #options: CacheThreadOptions;
  #wanted: WantedCaches = { caches: {}, listeners: [] };
  #worker: Worker | null = null;
  #startedMs = 0;
  #pause: NodeJS.Timeout | undefined;
  #pauseMs: number = LIMITS.restartBackoffMsMin;
  #again: NodeJS.Timeout | undefined;
  #closed = false;
  /** What was done with the caches of this host, as last heard. */
  figures: CachesFigures = {};

  constructor(options: CacheThreadOptions) {
    this.#options = options;
  }

  /** All that shall be from now on. */
  want(wanted: WantedCaches): void {
    if (this.#closed || isDeepStrictEqual(wanted, this.#wanted)) return;
    this.#wanted = wanted;
    this.#tell();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#pause);
    clearTimeout(this.#again);
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  #tell(): void {
    if (this.#pause !== undefined) return;
    if (this.#worker === null) {
      if (this.#wanted.listeners.length === 0) return;
      this.#start();
    }
    this.#worker?.postMessage(this.#wanted);
  }

  #start(): void {
    const { log, module = new URL('./cache-worker.js', import.meta.url) } = this.#options;
    const worker = new Worker(module, { resourceLimits: { maxOldGenerationSizeMb: MEMORY_MIB } });
    this.#worker = worker;
    this.#startedMs = performance.now();
    worker.on('message', (message: FromCacheThread) => this.#take(message));
    worker.on('error', (error) => log.error({ err: error }, 'the thread of caches failed'));
    worker.on('exit', () => this.#ended(worker));
  }

  #take(message: FromCacheThread): void {
    if (message.type === 'figures') {
      this.figures = message.figures;
      return;
    }
    if (message.type === 'news') {
      this.#options.news(message.news);
      return;
    }
    this.#options.log.warn({ why: message.why }, 'a cache is not as it shall be; trying again');
    this.#again ??= setTimeout(() => {
      this.#again = undefined;
      this.#tell();
    }, LIMITS.heartbeatMs);
  }

  #ended(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    if (performance.now() - this.#startedMs > STEADY_MS) this.#pauseMs = LIMITS.restartBackoffMsMin;
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#tell();
    }, this.#pauseMs);
    this.#pauseMs = Math.min(LIMITS.restartBackoffMsMax, 2 * this.#pauseMs);
  }
}
