import { LATENCY_BUCKETS } from '../protocol/control.js';
import type { InstanceFacts } from '../protocol/instance-news.js';
import type { Demand } from './brain/demand.js';
import { finite } from './brain/sense.js';
import { type HostSamples, type LatencySink, MICRO, RATES } from './host-samples.js';

/** An instance that has got ready, as its host said. */
export interface Started {
  id: string;
  host: string;
  /** When that was heard, and since when its host has been connected. Ms since the epoch. */
  heardMs: number;
  connectedMs: number;
  /** What its agent took from the order until then; null if it does not say. */
  startMs: number | null;
}

/** So many tell enough of one tick. */
const STARTED_MAX = 32;

/** Where in the sums each of them is; the rates in the order of RATES. */
const READY_COUNT = RATES.length;
const READY_CPU = READY_COUNT + 1;
const OUTSTANDING = READY_CPU + 1;
/** Instances with rates, and those of them that tell how long they wait for a CPU. */
const MEASURED = OUTSTANDING + 1;
const TELLING = MEASURED + 1;
const LENGTH = TELLING + 1;

/**
 * What the instances of one component do, added up as their hosts report, so that the planning tick need not look at
 * each. Rates are whole millionths, which makes adding and taking away exact. Changed in place.
 */
export class ComponentSums implements LatencySink {
  readonly #numbers = new Float64Array(LENGTH);
  /** Instances with a status. */
  instances = 0;
  /** Rises with every instance that comes, goes or changes its phase. */
  news = 0;
  /** Readings of serving instances that came since the last tick. */
  fresh = 0;
  /** Largest since the last tick. */
  memoryBytes = 0;
  /** Calls that ended since the last tick, by bucket, all of them in the range given; null until a component has any. */
  latency: Float64Array | null = null;
  latencyFrom = LATENCY_BUCKETS;
  latencyTo = 0;
  /** Instances that got ready since the last tick, at the first try; null without any. */
  started: Started[] | null = null;

  /** Counts an instance as it now is. */
  add(facts: InstanceFacts, samples: HostSamples, row: number): void {
    this.instances += 1;
    this.#count(facts, samples, row, 1);
  }

  /** Takes away what was added, save what happened since the last tick, which remains true. */
  remove(facts: InstanceFacts, samples: HostSamples, row: number): void {
    this.instances -= 1;
    this.#count(facts, samples, row, -1);
  }

  /** What came with a sample. */
  note({ phase }: InstanceFacts, samples: HostSamples, row: number, isNew: boolean): void {
    const memoryBytes = samples.memory(row);
    if (memoryBytes > this.memoryBytes) this.memoryBytes = memoryBytes;
    if (isNew && phase === 'ready') this.fresh += 1;
  }

  addLatency(bucket: number, calls: number): void {
    this.latency ??= new Float64Array(LATENCY_BUCKETS);
    this.latency[bucket] = (this.latency[bucket] as number) + calls;
    if (bucket < this.latencyFrom) this.latencyFrom = bucket;
    if (bucket >= this.latencyTo) this.latencyTo = bucket + 1;
  }

  noteStarted(started: Started): void {
    this.started ??= [];
    if (this.started.length < STARTED_MAX) this.started.push(started);
  }

  /** In millionths a second. */
  rate(rate: number): number {
    return this.#numbers[rate] as number;
  }

  get readyCount(): number {
    return this.#numbers[READY_COUNT] as number;
  }

  /** Cores that the ready ones have. */
  get readyCpu(): number {
    return (this.#numbers[READY_CPU] as number) / MICRO;
  }

  /** Cores that they could have used and waited for; null where some do not tell. */
  get cpuWait(): number | null {
    const measured = this.#numbers[MEASURED] as number;
    return measured > 0 && this.#numbers[TELLING] === measured ? this.rate(6) / MICRO : null;
  }

  /** Written into what is there. In the order of RATES. */
  demand(into: Demand): void {
    into.cpu = this.rate(0) / MICRO;
    into.requestsPerSecond = this.rate(1) / MICRO;
    into.finishedPerSecond = this.rate(2) / MICRO;
    into.failedPerSecond = this.rate(3) / MICRO;
    into.ioReadBytesPerSecond = this.rate(4) / MICRO;
    into.ioWriteBytesPerSecond = this.rate(5) / MICRO;
    into.outstanding = this.#numbers[OUTSTANDING] as number;
    into.memoryBytes = this.memoryBytes;
  }

  /** A tick has taken notice: from here on only what comes is new. */
  noticed(): void {
    this.fresh = 0;
    this.memoryBytes = 0;
    if (this.latency !== null) {
      for (let bucket = this.latencyFrom; bucket < this.latencyTo; bucket += 1) this.latency[bucket] = 0;
      this.latencyFrom = LATENCY_BUCKETS;
      this.latencyTo = 0;
    }
    this.started = null;
  }

  #count({ phase, size }: InstanceFacts, samples: HostSamples, row: number, sign: 1 | -1): void {
    if (!samples.has(row)) return;
    this.#add(OUTSTANDING, sign * Math.round(finite(samples.outstanding(row))));
    if (!samples.isMeasured(row)) return;
    this.#add(MEASURED, sign);
    if (samples.tellsRunDelay(row)) this.#add(TELLING, sign);
    if (phase === 'ready') {
      this.#add(READY_COUNT, sign);
      this.#add(READY_CPU, sign * Math.round(finite(size.cpu) * MICRO));
    }
    for (let i = 0; i < RATES.length; i += 1) this.#add(i, sign * samples.rate(row, i));
  }

  #add(at: number, value: number): void {
    this.#numbers[at] = (this.#numbers[at] as number) + value;
  }
}
