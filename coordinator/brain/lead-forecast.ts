import { type MarginTracker, marginShare, NEW_MARGIN, trackMargin } from './next-demand.js';

/**
 * How far the forecast for the time that a new instance needs is believed: in full while it lately erred no more than
 * the rule "as now", not at all once it erred twice as much, and with a margin for its own misses. Plain data.
 */
export interface LeadForecast {
  /** What was said, and what the demand was then, oldest first; as many as there are ticks in the lead. */
  said: { forecast: number; demand: number }[];
  forecastError: number;
  holdError: number;
  margin: MarginTracker;
  seen: number;
}

export const NEW_LEAD: LeadForecast = { said: [], forecastError: 0, holdError: 0, margin: NEW_MARGIN, seen: 0 };

/** Bounds the list whatever the lead. */
export const LEAD_TICKS_MAX = 64;
const ERROR_TICKS = 120;
/** Before so many forecasts have come true or not, none is believed. */
const SEEN_MIN = 20;

export function learnLead(
  model: LeadForecast,
  demand: number,
  forecast: number,
  ticks: number,
  level: number,
): LeadForecast {
  const lead = Math.min(LEAD_TICKS_MAX, Math.max(1, ticks));
  let { said, forecastError, holdError, margin, seen } = model;
  const due = said.length >= lead ? said[said.length - lead] : undefined;
  if (due !== undefined) {
    forecastError += (Math.abs(demand - due.forecast) - forecastError) / ERROR_TICKS;
    holdError += (Math.abs(demand - due.demand) - holdError) / ERROR_TICKS;
    margin = trackMargin(margin, due.forecast, demand, level);
    seen = Math.min(1e9, seen + 1);
  }
  said = [...said.slice(1 - lead), { forecast, demand }];
  if (lead === 1) said = said.slice(-1);
  return { said, forecastError, holdError, margin, seen };
}

export function trustOf({ forecastError, holdError, seen }: LeadForecast): number {
  if (seen < SEEN_MIN) return 0;
  if (forecastError <= holdError) return 1;
  return Math.max(0, 2 - forecastError / Math.max(holdError, 1e-9));
}

export function leadMargin({ margin }: LeadForecast): number {
  return marginShare(margin);
}
