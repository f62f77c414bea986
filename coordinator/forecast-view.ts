import type { ForecastView } from '../protocol/http.js';
import { announcedIn } from './announced.js';
import { demandModelName, type ForecastInterval, forecastDemand, forecastPath } from './brain/forecast/index.js';
import type { HorizonAccuracy } from './brain/forecast-accuracy.js';
import type { KnownEventRecord } from './known-events.js';
import type { ComponentMemory } from './planner-memory.js';

/** `lower` and `upper` of a forecast's points are its quantiles at 5 and 95 %. */
const INTERVAL_LEVEL = 0.9;
const LEVELS = [0.8, 0.95];

/** Points from one step ahead to the horizon, with what is announced by then. */
export function forecastView(
  { stepSeconds, accuracy, forecaster }: ComponentMemory,
  horizonSeconds: number,
  nowMs: number,
  events: readonly KnownEventRecord[] = [],
): ForecastView {
  const { factors } = announcedIn(events, nowMs, nowMs + horizonSeconds * 1000);
  const points = forecastDemand(forecaster, horizonSeconds, { events: factors, nowMs });
  const accuracyOf = ({ steps, compared, errorCpu, demandCpu, covered }: HorizonAccuracy) => {
    return { aheadSeconds: steps * stepSeconds, compared, errorCpu, demandCpu, coverage: covered };
  };
  return {
    horizonSeconds,
    model: demandModelName(forecaster),
    level: INTERVAL_LEVEL,
    points: points.map((point, index) => ({ atMs: nowMs + (index + 1) * stepSeconds * 1000, ...point })),
    accuracy: { step: accuracyOf(accuracy.step), lead: accuracyOf(accuracy.lead) },
  };
}

/** Intervals for people, at these levels. */
export function forecastIntervals(
  { forecaster }: ComponentMemory,
  horizonSeconds: number,
  nowMs: number,
  events: readonly KnownEventRecord[],
): ForecastInterval[] {
  const { factors } = announcedIn(events, nowMs, nowMs + horizonSeconds * 1000);
  return forecastPath(forecaster, horizonSeconds, LEVELS, { events: factors, nowMs }).intervals;
}
