import { type AnnouncedEvent, judgedAtMs } from './brain/decision.js';
import { readRow } from './brain/explanation-row.js';
import { type ClusterState, componentsOf, own, planModeOf } from './cluster.js';
import type { Told } from './decisions.js';
import { type KnownEventRecord, occurrences } from './known-events.js';
import type { PlannerMemory } from './planner-memory.js';

const NOTHING: readonly AnnouncedEvent[] = [];

/** What the planner last decided of each component, and what becomes of it, for the log of decisions. */
export function tell(state: ClusterState, memory: PlannerMemory): Told[] {
  const told: Told[] = [];
  for (const { app, key, component } of componentsOf(state)) {
    const row = memory.get(key)?.decision;
    if (row === undefined) continue;
    const observed = planModeOf(state, app, key, component) === 'observe';
    const fate = observed ? 'observed' : Object.hasOwn(state.overrides, key) ? 'by-hand' : 'done';
    const events = own(state.knownEvents, key);
    told.push({ key, row, fate, announced: events === undefined ? NOTHING : announcedBy(row, events) });
  }
  return told;
}

/** The known events that a decision looked ahead to. */
function announcedBy(row: Float64Array, events: readonly KnownEventRecord[]): readonly AnnouncedEvent[] {
  const explanation = readRow(row);
  if (explanation === null) return NOTHING;
  return occurrences(events, explanation.atMs, judgedAtMs(explanation)).map(
    ({ event: { id, note, effect }, ...span }) => ({ id, note, effect, ...span }),
  );
}
