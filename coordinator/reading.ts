import { LATENCY_BUCKETS } from '../protocol/control.js';
import type { InstanceStatus, Sample } from '../protocol/link.js';
import { finite } from './brain/sense.js';

/** Rates are whole millionths: sums of whole numbers come out the same in whatever order they are made. */
export const MICRO = 1_000_000;

/** What an instance did between two of its samples; all rates are in millionths, of a core or of one a second. */
export interface Reading {
  /** When the later sample came, ms. */
  atMs: number;
  sample: Sample;
  /** Without a span before it, and for what the instance did before it served, all rates are 0. */
  measured: boolean;
  cpu: number;
  arrived: number;
  finished: number;
  failed: number;
  ioRead: number;
  ioWrite: number;
  /** Calls that finished in the span: bucket, count, bucket, count … of those with any. */
  latency: readonly number[];
}

/** Samples nearer to each other tell too little: of those in between only the last counts. */
const SPAN_MS_MIN = 500;
const NO_LATENCY: readonly number[] = [];

/** The reading after a report; null without a sample. `before` is the one after the report before. */
export function nextReading(
  before: Reading | null,
  served: boolean,
  { sample }: InstanceStatus,
  nowMs: number,
): Reading | null {
  if (sample === undefined) return null;
  if (before === null || !served) return firstReading(sample, nowMs);
  const elapsedMs = nowMs - before.atMs;
  if (elapsedMs < SPAN_MS_MIN) return before;
  const from = before.sample;
  const perMicro = (MICRO * 1000) / elapsedMs;
  // Counters that went back mean that it started anew in between: all of the later sample fell into the span.
  const anew = sample.cpuSeconds < from.cpuSeconds || sample.arrived < from.arrived || sample.finished < from.finished;
  return {
    atMs: nowMs,
    sample,
    measured: true,
    cpu: Math.round(riseOf(from.cpuSeconds, sample.cpuSeconds, anew) * perMicro),
    arrived: Math.round(riseOf(from.arrived, sample.arrived, anew) * perMicro),
    finished: Math.round(riseOf(from.finished, sample.finished, anew) * perMicro),
    failed: Math.round(riseOf(from.failed, sample.failed, anew) * perMicro),
    ioRead: Math.round(riseOf(from.ioReadBytes, sample.ioReadBytes, anew) * perMicro),
    ioWrite: Math.round(riseOf(from.ioWriteBytes, sample.ioWriteBytes, anew) * perMicro),
    latency: latencyBetween(from, sample, anew),
  };
}

function firstReading(sample: Sample, nowMs: number): Reading {
  return {
    atMs: nowMs,
    sample,
    measured: false,
    cpu: 0,
    arrived: 0,
    finished: 0,
    failed: 0,
    ioRead: 0,
    ioWrite: 0,
    latency: NO_LATENCY,
  };
}

function latencyBetween(before: Sample, after: Sample, anew: boolean): readonly number[] {
  const [from, to] = [before.latencyBuckets, after.latencyBuckets];
  let risen: number[] | null = null;
  for (let i = 0; i < LATENCY_BUCKETS; i += 1) {
    const start = from[i] ?? 0;
    const end = to[i] ?? 0;
    // Most stand still.
    if (start === end && !anew) continue;
    const rise = Math.round(riseOf(start, end, anew));
    if (rise === 0) continue;
    risen ??= [];
    risen.push(i, rise);
  }
  return risen ?? NO_LATENCY;
}

function riseOf(from: number, to: number, anew: boolean): number {
  const start = finite(from);
  const end = finite(to);
  return anew || end < start ? end : end - start;
}
