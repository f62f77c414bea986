import { type MarginTracker, marginShare, newMargin, trackMargin } from './next-demand.js';

/**
 * How far the forecast for the time that a new instance needs is believed: in full while it lately erred no more than
 * the rule "as now", not at all once it erred twice as much, and with a margin for its own misses. Plain data, changed in place.
 */
export interface LeadForecast {
  /** What was said, and what the demand was then, oldest first; as many as there are ticks in the lead. */
  said: { forecast: number; demand: number }[];
  forecastError: number;
  holdError: number;
  margin: MarginTracker;
  seen: number;
}

export function newLead(): LeadForecast {
  return { said: [], forecastError: 0, holdError: 0, margin: newMargin(), seen: 0 };
}

/** Bounds the list whatever the lead. */
export const LEAD_TICKS_MAX = 64;
const ERROR_TICKS = 120;
/** Before so many forecasts have come true or not, none is believed. */
const SEEN_MIN = 20;

/** The model given is changed and returned. */
export function learnLead(
  model: LeadForecast,
  demand: number,
  forecast: number,
  ticks: number,
  level: number,
): LeadForecast {
  const lead = Math.min(LEAD_TICKS_MAX, Math.max(1, ticks));
  const { said, margin } = model;
  const due = said.length >= lead ? said[said.length - lead] : undefined;
  if (due !== undefined) {
    model.forecastError += (Math.abs(demand - due.forecast) - model.forecastError) / ERROR_TICKS;
    model.holdError += (Math.abs(demand - due.demand) - model.holdError) / ERROR_TICKS;
    trackMargin(margin, due.forecast, demand, level);
    model.seen = Math.min(1e9, model.seen + 1);
  }
  while (said.length > lead) said.shift();
  // The oldest is used again: new ones each second would live for just so long that the garbage collector keeps them.
  const free = said.length === lead ? said.shift() : undefined;
  if (free === undefined) {
    said.push({ forecast, demand });
  } else {
    free.forecast = forecast;
    free.demand = demand;
    said.push(free);
  }
  return model;
}

export function trustOf({ forecastError, holdError, seen }: LeadForecast): number {
  if (seen < SEEN_MIN) return 0;
  if (forecastError <= holdError) return 1;
  return Math.max(0, 2 - forecastError / Math.max(holdError, 1e-9));
}

export function leadMargin({ margin }: LeadForecast, foretold: number): number {
  return marginShare(margin, foretold);
}
