import { type Demand, NO_DEMAND } from './brain/demand.js';
import { LatencyWindow } from './brain/latency-window.js';
import type { ComponentSums } from './component-sums.js';
import { HOST_LOST_MS } from './host-standing.js';
import { forgetReadings, type Observed, silentMs } from './observed.js';

/** A component's instances taken together, as their hosts last told of them. */
export interface Intake {
  demand: Demand;
  /** Cores that they waited for; null where not all tell. */
  cpuWait: number | null;
  /** Null: none that serves has told anything new since the last tick, so that the demand is unknown. */
  ready: Ready | null;
  /** Some instance that serves has been silent for longer than a late report explains. */
  lost: boolean;
}

/** Those that serve, and the cores that they have in all. */
export interface Ready {
  count: number;
  cpu: number;
}

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
 * What the component's instances do, with the calls that ended since the last tick as a step of `latencies`. One whose
 * report is late goes on as it last did.
 */
export function takeIn(
  sums: ComponentSums | undefined,
  latencies: LatencyWindow,
  silent: ReadonlySet<ComponentSums>,
): Intake {
  if (sums === undefined) return { demand: NO_DEMAND, cpuWait: null, ready: null, lost: false };
  const demand = sums.demand();
  const ready = sums.fresh > 0 ? { count: sums.readyCount, cpu: sums.readyCpu } : null;
  if (ready !== null) latencies.advance(sums.latency);
  sums.noticed();
  return { demand, cpuWait: sums.cpuWait, ready, lost: silent.has(sums) };
}
