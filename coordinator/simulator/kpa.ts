/**
 * The Knative pod autoscaler: what one tick of its decider does, as its documentation defines it (knative.dev,
 * "Autoscaling": configuration of targets, scale-to-zero, rate limits and panic mode). Pure. Seconds.
 */
export interface KpaSpec {
  minScale: number;
  maxScale: number;
  /** Of the metric, for one pod, when it is used in full: concurrent requests, or requests per second. */
  targetTotal: number;
  /** Share of the total that is aimed at. */
  targetUtilisation: number;
  stableSeconds: number;
  panicSeconds: number;
  /** Panic begins when the panic window wants so many times the ready pods. */
  panicThreshold: number;
  maxUpRate: number;
  maxDownRate: number;
  /** The highest of so long ago holds. */
  scaleDownDelaySeconds: number;
  /** The last pod stays so long without any traffic. */
  scaleToZeroSeconds: number;
}

export const KPA_TICK_SECONDS = 2;
/** Targets in full where nothing is said. */
export const KPA_TARGETS = { concurrency: 100, rps: 200 } as const;

export const KPA_DEFAULTS: Omit<KpaSpec, 'minScale' | 'maxScale' | 'targetTotal'> = {
  targetUtilisation: 0.7,
  stableSeconds: 60,
  panicSeconds: 6,
  panicThreshold: 2,
  maxUpRate: 1000,
  maxDownRate: 2,
  scaleDownDelaySeconds: 0,
  scaleToZeroSeconds: 30,
};

export interface KpaState {
  /** Of the last time that the panic threshold was reached; null: no panic. */
  panicAt: number | null;
  /** The most that panic has asked for. */
  panicPods: number;
  delayed: readonly { at: number; pods: number }[];
  /** Since when nothing has been wanted; null while something is. */
  idleSince: number | null;
}

export const KPA_START: KpaState = { panicAt: null, panicPods: 0, delayed: [], idleSince: null };

/** After a start of the autoscaler: it goes on in panic with what is there, so that nothing shrinks at once. */
export function startKpa(pods: number, now: number): KpaState {
  return pods > 1 ? { ...KPA_START, panicAt: now, panicPods: pods } : KPA_START;
}

/** Averages over the stable and the panic window, of all pods in all; null while nothing was measured. */
export interface KpaSeen {
  readyPods: number;
  stable: number | null;
  panic: number | null;
}

export function tickKpa(
  spec: KpaSpec,
  state: KpaState,
  seen: KpaSeen,
  current: number,
  now: number,
): { pods: number; state: KpaState } {
  if (seen.stable === null || seen.panic === null) return { pods: current, state };
  const ready = Math.max(1, seen.readyPods);
  const target = spec.targetTotal * spec.targetUtilisation;
  const most = Math.ceil(spec.maxUpRate * ready);
  const least = Math.floor(ready / spec.maxDownRate);
  const bounded = (pods: number) => Math.min(most, Math.max(least, pods));
  const stablePods = Math.ceil(seen.stable / target - 1e-9);
  const panicPods = Math.ceil(seen.panic / target - 1e-9);
  const isOver = panicPods / ready >= spec.panicThreshold;
  let { panicAt, panicPods: highest } = state;
  if (isOver) panicAt = now;
  else if (panicAt !== null && panicAt + spec.stableSeconds < now) {
    panicAt = null;
    highest = 0;
  }
  let pods = bounded(stablePods);
  if (panicAt !== null) {
    highest = Math.max(highest, bounded(stablePods), bounded(panicPods));
    pods = highest;
  }
  const delayed =
    spec.scaleDownDelaySeconds > 0
      ? [...state.delayed.filter(({ at }) => at > now - spec.scaleDownDelaySeconds), { at: now, pods }]
      : [];
  pods = Math.max(pods, ...delayed.map((each) => each.pods));
  const idleSince = pods > 0 ? null : (state.idleSince ?? now);
  // The last pod goes only after the grace time.
  if (idleSince !== null && current > 0 && now - idleSince < spec.scaleToZeroSeconds) pods = 1;
  pods = Math.min(spec.maxScale, Math.max(spec.minScale, pods));
  return { pods, state: { panicAt, panicPods: highest, delayed, idleSince } };
}
