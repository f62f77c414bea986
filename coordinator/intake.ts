import type { Demand } from './brain/demand.js';
import { LatencyWindow } from './brain/latency-window.js';
import type { ComponentSums } from './component-sums.js';
import { HOST_LOST_MS } from './host-standing.js';
import { forgetReadings, type Observed, silentMs } from './observed.js';

/** A component's instances taken together, as their hosts last told of them. */
export interface Intake {
  /** Cores that they waited for; null where not all tell. */
  cpuWait: number | null;
  /** Null: nobody serves and has told anything new since the last tick, so that the demand is unknown. */
  ready: Ready | null;
  /** Some instance that serves has been silent for longer than a late report explains. */
  lost: boolean;
}

/** Those that serve, and the cores that they have in all. */
export interface Ready {
  count: number;
  cpu: number;
}

const NOTHING_TOLD: Intake = { cpuWait: null, ready: null, lost: false };

/** Of the calls that ended lately: one second alone may hold a handful. */
const LATENCY_SECONDS = 10;
/** A report that is later than this is lost. */
const LOST_MS = 2_500;

export function createLatencyWindow(stepSeconds: number): LatencyWindow {
  return new LatencyWindow(Math.max(1, Math.round(LATENCY_SECONDS / stepSeconds)));
}

/** Components with an instance on a host that is silent. Hosts that have been silent for too long no longer count. */
export function silentComponents(observed: Observed, nowMs: number): ReadonlySet<ComponentSums> {
  const silent = new Set<ComponentSums>();
  for (const [name, { lastHeardMs }] of observed.hosts) {
    if (nowMs - lastHeardMs <= LOST_MS) continue;
    if (silentMs(observed, name, nowMs) > HOST_LOST_MS) forgetReadings(observed, name);
    for (const { status, samples, row, sums } of observed.hosts.get(name)?.rows ?? []) {
      if (status.phase === 'ready' && samples.isMeasured(row)) silent.add(sums);
    }
  }
  return silent;
}

/**
 * What the component's instances do: their demand, written into what is there as long as any serves and tells something, and
 * the calls that ended since the last tick, as a step of `latencies`. One whose report is late goes on as it last did.
 */
export function takeIn(
  sums: ComponentSums | undefined,
  demand: Demand,
  latencies: LatencyWindow,
  silent: ReadonlySet<ComponentSums>,
): Intake {
  if (sums === undefined) return NOTHING_TOLD;
  const tells = sums.fresh > 0;
  const count = sums.readyCount;
  if (tells && count > 0) sums.demand(demand);
  if (tells) latencies.advance(sums.latency, sums.latencyFrom, sums.latencyTo);
  const ready = tells && count > 0 ? { count, cpu: sums.readyCpu } : null;
  sums.noticed();
  return { cpuWait: sums.cpuWait, ready, lost: silent.size > 0 && silent.has(sums) };
}
