import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { LIMITS } from '../protocol/limits.js';
import {
  applyRefit,
  type DemandForecaster,
  type RefitJob,
  type RefitResult,
  refitJob,
} from './brain/forecast/index.js';

export interface RefitOptions {
  log: Logger;
  /** The component's forecaster of this moment, if it still exists. */
  forecasterOf: (key: string) => DemandForecaster | undefined;
  /** The worker's module; another one in tests. */
  module?: URL;
}

export interface RefitCounts {
  done: number;
  failed: number;
}

/** At most so many components wait; the others are asked again later. */
const WAITING_MAX = 8;
/** A job that takes longer never ends. */
const JOB_MS_MAX = 120_000;
const WORKER_MEMORY_MIB = 512;

/**
 * Works out in a thread of its own what takes too long for the loop: constants fitted anew, seasons looked for. One job at a
 * time. A job whose thread dies is given up, and the next thread is started after a growing pause.
 */
export class Refits {
  readonly counts: RefitCounts = { done: 0, failed: 0 };
  readonly #options: RefitOptions;
  readonly #waiting: { key: string; job: RefitJob }[] = [];
  #worker: Worker | null = null;
  #running: string | null = null;
  #timeout: NodeJS.Timeout | undefined;
  #pause: NodeJS.Timeout | undefined;
  #pauseMs: number = LIMITS.restartBackoffMsMin;
  #stopped = false;

  constructor(options: RefitOptions) {
    this.#options = options;
  }

  /** Asks the components, in turns, whether something is due; cheap where nothing is. */
  ask(keys: readonly string[]): void {
    const from = this.#next % Math.max(1, keys.length);
    for (let i = 0; i < keys.length && this.#waiting.length < WAITING_MAX; i += 1) {
      this.#next = from + i + 1;
      const key = keys[(from + i) % keys.length] as string;
      const forecaster = this.#options.forecasterOf(key);
      const job = forecaster === undefined ? null : refitJob(forecaster);
      if (job !== null) this.#waiting.push({ key, job });
    }
    this.#runNext();
  }
  /** Where to go on asking. */
  #next = 0;

  /** Ends the thread, whatever it does. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#pause);
    clearTimeout(this.#timeout);
    this.#waiting.length = 0;
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  #runNext(): void {
    if (this.#stopped || this.#running !== null || this.#pause !== undefined) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#running = next.key;
    this.#worker ??= this.#start();
    this.#timeout = setTimeout(() => this.#died(`a job took more than ${JOB_MS_MAX / 1000} s`), JOB_MS_MAX).unref();
    this.#worker.postMessage(next.job);
  }

  #start(): Worker {
    const module = this.#options.module ?? new URL('./refit-worker.js', import.meta.url);
    const worker = new Worker(module, { resourceLimits: { maxOldGenerationSizeMb: WORKER_MEMORY_MIB } });
    // It keeps no process alive that has nothing else to do.
    worker.unref();
    worker.on('message', (result: RefitResult) => {
      if (worker === this.#worker) this.#take(result);
    });
    worker.on('error', (error) => {
      if (worker === this.#worker) this.#died(error.message);
    });
    worker.on('exit', (code) => {
      if (worker === this.#worker) this.#died(`it ended with code ${code}`);
    });
    return worker;
  }

  #take(result: RefitResult): void {
    const key = this.#running;
    this.#running = null;
    clearTimeout(this.#timeout);
    this.#pauseMs = LIMITS.restartBackoffMsMin;
    const forecaster = key === null ? undefined : this.#options.forecasterOf(key);
    // A component that is gone, or has another forecaster by now, wants it no more.
    if (forecaster !== undefined && applyRefit(forecaster, result)) this.counts.done += 1;
    this.#runNext();
  }

  #died(why: string): void {
    const { log } = this.#options;
    log.warn({ component: this.#running, why, pauseMs: this.#pauseMs }, 'the refit of a forecast failed');
    this.counts.failed += 1;
    clearTimeout(this.#timeout);
    this.#running = null;
    const worker = this.#worker;
    this.#worker = null;
    worker?.terminate().catch((error: unknown) => log.error({ err: error }, 'a refit thread could not be ended'));
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#runNext();
    }, this.#pauseMs).unref();
    this.#pauseMs = Math.min(LIMITS.restartBackoffMsMax, 2 * this.#pauseMs);
  }
}
