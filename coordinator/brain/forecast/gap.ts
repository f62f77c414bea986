import { type DemandForecaster, observeDemand } from './demand-forecast.js';
import { skip, tell } from './history.js';
import { holdLevels, LEVELS_STATE } from './levels.js';
import { holdSlots } from './seasonal.js';
import { lastDue } from './track-record.js';

/**
 * So many steps without a value, as by as many calls of observeDemand with null, in a time that does not grow with them:
 * between the steps that leave a trace of their own nothing happens but that trends fade and time goes on. The forecaster
 * given is changed and returned.
 */
export function skipDemand(forecaster: DemandForecaster, steps: number): DemandForecaster {
  if (!Number.isInteger(steps) || steps < 0) throw new RangeError(`steps must be a whole number, not ${steps}`);
  // The series begins with its first value.
  if (forecaster.ticks === 0) return forecaster;
  const end = forecaster.ticks + steps;
  for (const tick of eventful(forecaster, end)) {
    jump(forecaster, tick - forecaster.ticks);
    observeDemand(forecaster, null);
  }
  jump(forecaster, end - forecaster.ticks);
  return forecaster;
}

/**
 * The steps until `end` whose forecasts are still pending then, those that complete what a longer ring knew of, and the one
 * at which a named season is tried. In order.
 */
function eventful(forecaster: DemandForecaster, end: number): number[] {
  const { ticks, history, record, named } = forecaster;
  tell(history);
  const completing = history.rings.flatMap((ring) => (ring.known > 0 ? [(ring.count + 1) * ring.ticks - 1] : []));
  const ring = history.rings[named?.ring ?? -1];
  const starting = named === null || ring === undefined ? [] : [2 * named.length * ring.ticks - 1];
  const all = new Set([...lastDue(record, end), ...completing, ...starting]);
  return [...all].filter((tick) => tick >= ticks && tick < end).toSorted((a, b) => a - b);
}

function jump(forecaster: DemandForecaster, steps: number): void {
  if (steps === 0) return;
  const { views, levels, constants, history } = forecaster;
  for (const [v, { seasonal }] of views.entries()) {
    holdLevels(levels, v * LEVELS_STATE, steps, constants);
    const ring = seasonal === null ? undefined : history.rings[seasonal.ring];
    if (seasonal === null || ring === undefined) continue;
    tell(history);
    holdSlots(seasonal, Math.floor((ring.passed + steps) / ring.ticks));
  }
  skip(history, steps);
  forecaster.ticks += steps;
}
