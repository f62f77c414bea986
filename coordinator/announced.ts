import { type ForecastPoint, factorAt, type KnownEvent } from './brain/forecast/index.js';
import { type KnownEventRecord, occurrences } from './known-events.js';

/** What known events do to a component's demand in a span of time. */
export interface Announced {
  /** Of those that multiply it, by the forecaster's own clock. */
  factors: KnownEvent[];
  /** Requests per second that are to be ready for. */
  rates: { fromMs: number; toMs: number; perSecond: number }[];
}

const NOTHING: Announced = { factors: [], rates: [] };

export function announcedIn(events: readonly KnownEventRecord[] | undefined, fromMs: number, toMs: number): Announced {
  if (events === undefined) return NOTHING;
  const announced: Announced = { factors: [], rates: [] };
  for (const { event, ...span } of occurrences(events, fromMs, toMs)) {
    if (event.effect.kind === 'factor') announced.factors.push({ ...span, factor: event.effect.factor });
    else announced.rates.push({ ...span, perSecond: event.effect.perSecond });
  }
  return announced;
}

/**
 * Whether nothing may be learned of the demand: a rate is announced, of which the usual demand is no known share. Else it is
 * learned without what the factors bring.
 */
export function isBlurred({ rates }: Announced, nowMs: number): boolean {
  for (const { fromMs, toMs } of rates) if (fromMs <= nowMs && nowMs < toMs) return true;
  return false;
}

/**
 * Cores that known events will take at some time of the forecast, whatever else is believed of it; 0 without any.
 * `points` are made with `factors`, the first one a step from now; `costCpu` is that of one request, null if unknown.
 */
export function announcedCpu(
  { factors, rates }: Announced,
  points: readonly ForecastPoint[],
  nowMs: number,
  stepSeconds: number,
  costCpu: number | null,
): number {
  if (factors.length === 0 && rates.length === 0) return 0;
  let most = 0;
  for (const [i, { mean }] of points.entries()) {
    const atMs = nowMs + (i + 1) * stepSeconds * 1000;
    if (factorAt(factors, atMs) > 1) most = Math.max(most, mean);
    for (const { fromMs, toMs, perSecond } of rates) {
      if (atMs >= fromMs && atMs < toMs) most = Math.max(most, perSecond * (costCpu ?? 0));
    }
  }
  return most;
}
