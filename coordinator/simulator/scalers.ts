import { normalFrom } from '../brain/forecast/random.js';
import type { Allotment, Scaler } from './count-policy.js';
import { HPA_START, HPA_SYNC_SECONDS, type HpaPod, type HpaSpec, type HpaState, syncHpa } from './hpa.js';
import { KPA_TICK_SECONDS, type KpaSpec, startKpa, tickKpa } from './kpa.js';
import { meanOver } from './policy.js';

/** The metrics server scrapes so often, and tells the mean use between two scrapes. */
export const METRICS_SECONDS = 15;

/** Measurement error of a mean over `count` instances. */
export interface Noise {
  /** Standard deviation for one instance, in parts of the value. */
  share: number;
  random: () => number;
}

export function constant(): Scaler {
  return (_now, _view, current) => current;
}

/** Follows a plan made beforehand, one entry for each minute. An instance is started so early that it serves in time. */
export function planned(plan: readonly Allotment[], startSeconds: number): Scaler {
  const early = Math.ceil(startSeconds);
  return (now, _view, current) => {
    const here = plan[Math.floor(now / 60)] ?? current;
    const ahead = plan[Math.floor((now + early) / 60)] ?? here;
    // Towards more a little early, towards less at the very minute.
    return ahead.count > here.count ? { count: ahead.count, cpu: here.cpu } : here;
  };
}

/**
 * HPA with what the metrics server tells it: use in the last window between two scrapes, at the earliest a full window
 * after a pod began to serve.
 */
export function hpaScaler(spec: HpaSpec, noise: Noise, phase = 0, metricsSeconds = METRICS_SECONDS): Scaler {
  let state: HpaState = HPA_START;
  return (now, view, current) => {
    if ((now + phase) % HPA_SYNC_SECONDS !== 0) return current;
    // The scrape before last has surely been worked up.
    const scrapedAt = Math.floor((now - 1) / metricsSeconds) * metricsSeconds;
    const since = scrapedAt - metricsSeconds;
    const { cpuSeconds, serving } = view.totals;
    const pods: HpaPod[] = [];
    let cpu = 0;
    if (since >= 0) {
      const instanceSeconds = (serving[scrapedAt] as number) - (serving[since] as number);
      const used = (cpuSeconds[scrapedAt] as number) - (cpuSeconds[since] as number);
      const error = (noise.share / Math.sqrt(Math.max(1, view.instances.length))) * normalFrom(noise.random);
      cpu = instanceSeconds > 0 ? (used / instanceSeconds) * Math.max(0, 1 + error) : 0;
    }
    for (const { createdAt, readyAt, leaving, cpu: size } of view.instances) {
      if (leaving) continue;
      const ready = readyAt <= now;
      const isMeasured = ready && since >= 0 && readyAt <= since;
      const metric = isMeasured ? { cpu, at: scrapedAt, windowSeconds: metricsSeconds } : null;
      pods.push({ startedAt: createdAt, ready, readyChangedAt: ready ? readyAt : null, requestCpu: size, metric });
    }
    const synced = syncHpa(spec, state, pods, current.count, now);
    state = synced.state;
    return synced.replicas === current.count ? current : { ...current, count: synced.replicas };
  };
}

export type KpaMetric = 'concurrency' | 'rps';

/** KPA with the averages of its two windows. At zero a request brings the first pod back at once, as the activator does. */
export function kpaScaler(spec: KpaSpec, metric: KpaMetric, noise: Noise): Scaler {
  let state = startKpa(0, 0);
  let started = false;
  return (now, view, current) => {
    if (current.count === 0 && view.outstanding > 0) return { ...current, count: Math.max(1, spec.minScale) };
    if (now % KPA_TICK_SECONDS !== 0) return current;
    if (!started) {
      state = startKpa(current.count, now);
      started = true;
    }
    const total = metric === 'rps' ? view.totals.arrived : view.totals.outstanding;
    const error = (noise.share / Math.sqrt(Math.max(1, view.instances.length))) * normalFrom(noise.random);
    const measured = (seconds: number) => {
      const mean = meanOver(total, now, seconds);
      return mean === null ? null : mean * Math.max(0, 1 + error);
    };
    const readyPods = view.instances.filter(({ leaving, readyAt }) => !leaving && readyAt <= now).length;
    const seen = { readyPods, stable: measured(spec.stableSeconds), panic: measured(spec.panicSeconds) };
    const ticked = tickKpa(spec, state, seen, current.count, now);
    state = ticked.state;
    return ticked.pods === current.count ? current : { ...current, count: ticked.pods };
  };
}
