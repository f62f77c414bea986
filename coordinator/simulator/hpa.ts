/**
 * The Kubernetes HorizontalPodAutoscaler, autoscaling/v2, on CPU utilisation: what one sync of its controller does, as its
 * documentation and its controller define it (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details and
 * configurable scaling behaviour; KEP-853). Pure: what it remembers comes in and goes out as `HpaState`. Seconds.
 */
export interface HpaSpec {
  minReplicas: number;
  maxReplicas: number;
  /** Percent of the CPU that the pods request. 80 where nothing is said. */
  targetPercent: number;
  /** No change while the ratio of use to target is this near to 1. */
  tolerance: number;
  /** After the start of a pod: so long does a use count only once a whole window of it was measured while ready. */
  cpuInitializationSeconds: number;
  /** A pod that got unready for the first time so soon after its start never was ready. */
  initialReadinessSeconds: number;
  up: HpaRules;
  down: HpaRules;
}

export interface HpaRules {
  stabilisationSeconds: number;
  policies: readonly { kind: 'pods' | 'percent'; value: number; periodSeconds: number }[];
  select: 'max' | 'min' | 'disabled';
}

export const HPA_SYNC_SECONDS = 15;

export const HPA_DEFAULTS: Omit<HpaSpec, 'minReplicas' | 'maxReplicas'> = {
  targetPercent: 80,
  tolerance: 0.1,
  cpuInitializationSeconds: 300,
  initialReadinessSeconds: 30,
  up: {
    stabilisationSeconds: 0,
    policies: [
      { kind: 'pods', value: 4, periodSeconds: 15 },
      { kind: 'percent', value: 100, periodSeconds: 15 },
    ],
    select: 'max',
  },
  down: {
    stabilisationSeconds: 300,
    policies: [{ kind: 'percent', value: 100, periodSeconds: 15 }],
    select: 'max',
  },
};

export interface HpaPod {
  startedAt: number;
  ready: boolean;
  /** Of the last change between ready and not; null: has never been either. */
  readyChangedAt: number | null;
  requestCpu: number;
  /** The last that the metrics server knows; null: nothing. */
  metric: { cpu: number; at: number; windowSeconds: number } | null;
}

export interface HpaState {
  /** What was recommended before stabilisation. */
  recommendations: readonly { at: number; replicas: number }[];
  /** Changes that were made. */
  events: readonly { at: number; change: number }[];
}

export const HPA_START: HpaState = { recommendations: [], events: [] };

/** One sync: how many replicas shall be there from now on. */
export function syncHpa(
  spec: HpaSpec,
  state: HpaState,
  pods: readonly HpaPod[],
  current: number,
  now: number,
): { replicas: number; state: HpaState } {
  const recommended = recommendHpa(spec, pods, current, now);
  const longest = Math.max(spec.up.stabilisationSeconds, spec.down.stabilisationSeconds);
  const recommendations = [
    ...state.recommendations.filter(({ at }) => at > now - longest),
    { at: now, replicas: recommended },
  ];
  const stable = stabilise(spec, recommendations, current, now);
  const replicas = limit(spec, state.events, stable, current, now);
  const period = Math.max(...[...spec.up.policies, ...spec.down.policies].map((each) => each.periodSeconds), 0);
  const events = state.events.filter(({ at }) => at > now - period);
  if (replicas !== current) events.push({ at: now, change: replicas - current });
  return { replicas, state: { recommendations, events } };
}

/** The count by the metric alone, before stabilisation and policies. Where nothing can be said, the present one. */
export function recommendHpa(spec: HpaSpec, pods: readonly HpaPod[], current: number, now: number): number {
  const measured: { use: number; request: number }[] = [];
  const missing: HpaPod[] = [];
  const unready: HpaPod[] = [];
  for (const pod of pods) {
    if (pod.metric === null && pod.readyChangedAt === null) unready.push(pod);
    else if (pod.metric === null) missing.push(pod);
    else if (isUnready(spec, pod, pod.metric, now)) unready.push(pod);
    else measured.push({ use: pod.metric.cpu, request: pod.requestCpu });
  }
  if (measured.length === 0) return current;
  const ratio = ratioOf(measured, spec.targetPercent);
  const upWithUnready = unready.length > 0 && ratio > 1;
  if (!upWithUnready && missing.length === 0) {
    return isWithin(ratio, spec.tolerance) ? current : ceil(ratio * measured.length);
  }
  // Those that nothing is known of are counted so that they damp the change.
  const assumed = measured.slice();
  if (ratio !== 1) {
    const share = ratio < 1 ? Math.max(100, spec.targetPercent) / 100 : 0;
    for (const pod of missing) assumed.push({ use: pod.requestCpu * share, request: pod.requestCpu });
  }
  if (upWithUnready) for (const pod of unready) assumed.push({ use: 0, request: pod.requestCpu });
  const damped = ratioOf(assumed, spec.targetPercent);
  const turned = (ratio < 1 && damped > 1) || (ratio > 1 && damped < 1);
  if (isWithin(damped, spec.tolerance) || turned) return current;
  const replicas = ceil(damped * assumed.length);
  const wrongWay = (damped < 1 && replicas > current) || (damped > 1 && replicas < current);
  return wrongWay ? current : replicas;
}

function isUnready(spec: HpaSpec, pod: HpaPod, metric: NonNullable<HpaPod['metric']>, now: number): boolean {
  const { startedAt, ready, readyChangedAt } = pod;
  if (readyChangedAt === null) return true;
  if (now < startedAt + spec.cpuInitializationSeconds) {
    return !ready || metric.at < readyChangedAt + metric.windowSeconds;
  }
  return !ready && startedAt + spec.initialReadinessSeconds > readyChangedAt;
}

/** Utilisation in whole percent over the target, as the controller reckons. */
function ratioOf(pods: readonly { use: number; request: number }[], targetPercent: number): number {
  const use = pods.reduce((sum, each) => sum + each.use, 0);
  const request = pods.reduce((sum, each) => sum + each.request, 0);
  return Math.trunc((use * 100) / request + 1e-9) / targetPercent;
}

function isWithin(ratio: number, tolerance: number): boolean {
  return Math.abs(1 - ratio) <= tolerance + 1e-12;
}

function ceil(value: number): number {
  return Math.ceil(value - 1e-9);
}

/** Up: the lowest recommendation of the up-window; down: the highest of the down-window. */
function stabilise(spec: HpaSpec, recommendations: HpaState['recommendations'], current: number, now: number): number {
  const latest = recommendations.at(-1)?.replicas ?? current;
  const within = (seconds: number) =>
    recommendations.filter(({ at }) => at > now - seconds).map(({ replicas }) => replicas);
  const lowest = Math.min(latest, ...within(spec.up.stabilisationSeconds));
  const highest = Math.max(latest, ...within(spec.down.stabilisationSeconds));
  return Math.min(highest, Math.max(lowest, current));
}

function limit(spec: HpaSpec, events: HpaState['events'], wanted: number, current: number, now: number): number {
  const changed = (seconds: number, sign: 1 | -1) =>
    events.reduce((sum, { at, change }) => (at > now - seconds && change * sign > 0 ? sum + Math.abs(change) : sum), 0);
  let replicas = wanted;
  if (wanted > current) {
    const bounds = spec.up.policies.map(({ kind, value, periodSeconds }) => {
      const start = current - changed(periodSeconds, 1);
      return kind === 'pods' ? start + value : ceil(start * (1 + value / 100));
    });
    replicas = Math.min(wanted, Math.max(current, boundOf(spec.up.select, bounds, current, Math.max, Math.min)));
  } else if (wanted < current) {
    const bounds = spec.down.policies.map(({ kind, value, periodSeconds }) => {
      const start = current + changed(periodSeconds, -1);
      return kind === 'pods' ? start - value : Math.trunc(start * (1 - value / 100));
    });
    // The policy that allows the greatest change is the one with the lowest bound.
    replicas = Math.max(wanted, Math.min(current, boundOf(spec.down.select, bounds, current, Math.min, Math.max)));
  }
  return Math.min(spec.maxReplicas, Math.max(spec.minReplicas, replicas));
}

type Pick = (...values: number[]) => number;

function boundOf(select: HpaRules['select'], bounds: number[], current: number, most: Pick, least: Pick): number {
  if (select === 'disabled' || bounds.length === 0) return current;
  return select === 'max' ? most(...bounds) : least(...bounds);
}
