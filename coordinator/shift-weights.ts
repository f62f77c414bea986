import { nextWeights, type Pace } from './brain/weights.js';
import { bump, type ClusterState, componentOf, type InstanceRecord, modeOf } from './cluster.js';
import { InstanceDraft } from './instance-table.js';
import type { Step } from './reconcile.js';

/** What is known of how fast instances are. */
export interface PaceSource {
  /** Whether it is known that the component's instances are so alike that no weight changes. */
  areEven(key: string, instances: readonly InstanceRecord[]): boolean;
  pacesOf(key: string, instances: readonly InstanceRecord[], nowMs: number): Pace[];
}

/**
 * Gives instances of the components with these keys the weights that they deserve by how fast they are. Not those of
 * partitioned components, whose calls go to the owner of the state.
 */
export function shiftWeights(
  state: ClusterState,
  keys: readonly string[],
  source: PaceSource,
  nowMs: number,
): { state: ClusterState; steps: Step[] } {
  const draft = new InstanceDraft(state.instances);
  const steps: Step[] = [];
  for (const key of keys) {
    const instances = draft.ofComponent(key);
    const [first] = instances;
    if (first === undefined || source.areEven(key, instances) || !mayShift(state, first)) continue;
    const paces = source.pacesOf(key, instances, nowMs);
    const changes = nextWeights(paces);
    if (changes.size === 0) continue;
    for (const instance of [...instances]) {
      const weight = changes.get(instance.id);
      if (weight === undefined) continue;
      const { weight: before = 1, ...rest } = instance;
      draft.put(weight === 1 ? rest : { ...rest, weight });
      steps.push(stepOf(instance, before, weight, paces));
    }
  }
  const instances = draft.finish();
  return { state: instances === state.instances ? state : bump({ ...state, instances }), steps };
}

function mayShift(state: ClusterState, { app, component }: InstanceRecord): boolean {
  return componentOf(state, app, component)?.state !== 'partitioned' && modeOf(state, app, component).mode === 'act';
}

function stepOf({ app, component, id }: InstanceRecord, before: number, weight: number, paces: readonly Pace[]): Step {
  const others = paces.flatMap((each) => (each.id === id || each.latencyMs === null ? [] : [each.latencyMs]));
  const mean = others.reduce((sum, each) => sum + each, 0) / Math.max(1, others.length);
  const own = paces.find((each) => each.id === id);
  const cpu = `${Math.round(100 * (own?.utilisation ?? 0))} % of its CPU in use`;
  const pace = `${(own?.latencyMs ?? 0).toFixed(1)} ms a call, the others ${mean.toFixed(1)} ms, ${cpu}`;
  return { app, component, instance: id, kind: 'weight-shifted', message: `from ${before} to ${weight}: ${pace}` };
}
