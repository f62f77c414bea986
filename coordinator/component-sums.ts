import { LATENCY_BUCKETS } from '../protocol/control.js';
import type { InstanceStatus } from '../protocol/link.js';
import type { Demand } from './brain/demand.js';
import { finite } from './brain/sense.js';
import { MICRO, type Reading } from './reading.js';

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

/**
 * What the instances of one component do, added up as their hosts report, so that the planning tick need not look at
 * each. Rates are whole millionths like a reading's, which makes adding and taking away exact. Changed in place.
 */
export class ComponentSums {
  /** Instances with a status. */
  instances = 0;
  /** Readings of serving instances that came since the last tick. */
  fresh = 0;
  readyCount = 0;
  readyCpu = 0;
  cpu = 0;
  arrived = 0;
  finished = 0;
  failed = 0;
  ioRead = 0;
  ioWrite = 0;
  outstanding = 0;
  /** Largest since the last tick. */
  memoryBytes = 0;
  /** Calls that ended since the last tick, by bucket; null until a component has any. */
  latency: Float64Array | null = null;
  /** Instances that got ready since the last tick, at the first try; null without any. */
  started: Started[] | null = null;

  add(status: InstanceStatus, reading: Reading | null, before: Reading | null): void {
    this.instances += 1;
    if (reading === null) return;
    this.#count(status, reading, 1);
    this.memoryBytes = Math.max(this.memoryBytes, finite(reading.sample.memoryBytes));
    // Said again, as by a report soon after another one, it is nothing new.
    if (reading === before || !reading.measured) return;
    if (status.phase === 'ready') this.fresh += 1;
    const { latency } = reading;
    if (latency.length === 0) return;
    this.latency ??= new Float64Array(LATENCY_BUCKETS);
    for (let i = 0; i + 1 < latency.length; i += 2) {
      const bucket = latency[i] as number;
      this.latency[bucket] = (this.latency[bucket] as number) + (latency[i + 1] as number);
    }
  }

  noteStarted(started: Started): void {
    this.started ??= [];
    if (this.started.length < STARTED_MAX) this.started.push(started);
  }

  /** Takes away what was added, save what happened since the last tick, which remains true. */
  remove(status: InstanceStatus, reading: Reading | null): void {
    this.instances -= 1;
    if (reading !== null) this.#count(status, reading, -1);
  }

  demand(): Demand {
    return {
      cpu: this.cpu / MICRO,
      requestsPerSecond: this.arrived / MICRO,
      finishedPerSecond: this.finished / MICRO,
      failedPerSecond: this.failed / MICRO,
      ioReadBytesPerSecond: this.ioRead / MICRO,
      ioWriteBytesPerSecond: this.ioWrite / MICRO,
      outstanding: this.outstanding,
      memoryBytes: this.memoryBytes,
    };
  }

  /** A tick has taken notice: from here on only what comes is new. */
  noticed(): void {
    this.fresh = 0;
    this.memoryBytes = 0;
    this.latency?.fill(0);
    this.started = null;
  }

  #count({ phase, size }: InstanceStatus, reading: Reading, sign: 1 | -1): void {
    this.outstanding += sign * Math.round(finite(reading.sample.outstanding));
    if (!reading.measured) return;
    if (phase === 'ready') {
      this.readyCount += sign;
      this.readyCpu += sign * Math.round(finite(size.cpu) * MICRO);
    }
    this.cpu += sign * reading.cpu;
    this.arrived += sign * reading.arrived;
    this.finished += sign * reading.finished;
    this.failed += sign * reading.failed;
    this.ioRead += sign * reading.ioRead;
    this.ioWrite += sign * reading.ioWrite;
  }
}
