import { isDeepStrictEqual } from 'node:util';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { bump, type ClusterState, componentKey, componentOf, own } from './cluster.js';

/** Something that will change a component's demand, as its operator announced it. Times are ms since the epoch. */
export interface KnownEventRecord {
  id: string;
  fromMs: number;
  /** The first moment after it. */
  toMs: number;
  effect: KnownEffect;
  /** For people. */
  note: string;
  /** Null: it happens once. */
  repeat: Repeat | null;
}

/** So many times the demand that there would be without it, or at least so many requests per second. */
export type KnownEffect = { kind: 'factor'; factor: number } | { kind: 'requests'; perSecond: number };

/** Every 24 hours, or every 7 days; no time zone and no change of clocks is known of. */
export type Repeat = 'daily' | 'weekly';

export const REPEAT_MS: { [repeat in Repeat]: number } = { daily: 86_400_000, weekly: 7 * 86_400_000 };

/** One happening of a known event. */
export interface Occurrence {
  event: KnownEventRecord;
  fromMs: number;
  toMs: number;
}

/** How long an event that is over is still shown. */
const OVER_KEPT_MS = 86_400_000;

/** Adds an event. The same event again changes nothing. */
export function addKnownEvent(
  state: ClusterState,
  app: string,
  component: string,
  record: KnownEventRecord,
  nowMs: number,
): ClusterState {
  const key = keyOf(state, app, component);
  const present = (own(state.knownEvents, key) ?? []).filter((each) => !isOver(each, nowMs - OVER_KEPT_MS));
  assertSound(record, nowMs);
  const same = present.find(({ id }) => id === record.id);
  if (same !== undefined) {
    if (isDeepStrictEqual(same, record)) return state;
    throw new ShoalError('SHOAL_E_CONFLICT', `${app}/${component} has another event ${record.id}: remove it first`);
  }
  if (present.length >= LIMITS.knownEventsPerComponentMax) {
    throw new ShoalError(
      'SHOAL_E_CONFLICT',
      `${app}/${component} has ${present.length} known events, which is the most: remove some first`,
    );
  }
  const events = [...present, record].sort((a, b) => a.fromMs - b.fromMs);
  return bump({ ...state, knownEvents: { ...state.knownEvents, [key]: events } });
}

export function removeKnownEvent(state: ClusterState, app: string, component: string, id: string): ClusterState {
  const key = keyOf(state, app, component);
  const present = own(state.knownEvents, key) ?? [];
  const left = present.filter((each) => each.id !== id);
  if (left.length === present.length) {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `${app}/${component} has no known event ${id}`);
  }
  const { [key]: _before, ...others } = state.knownEvents;
  return bump({ ...state, knownEvents: left.length === 0 ? others : { ...others, [key]: left } });
}

export function knownEventsOf(state: ClusterState, app: string, component: string): readonly KnownEventRecord[] {
  return own(state.knownEvents, keyOf(state, app, component)) ?? [];
}

/** An id that no event of the component has. */
export function freeEventId(state: ClusterState, app: string, component: string): string {
  const taken = new Set(knownEventsOf(state, app, component).map(({ id }) => id));
  let number = taken.size + 1;
  while (taken.has(`event-${number}`)) number += 1;
  return `event-${number}`;
}

/** The happenings that are under way at some time from `fromMs` to `toMs`, both included. */
export function occurrences(events: readonly KnownEventRecord[], fromMs: number, toMs: number): Occurrence[] {
  const found: Occurrence[] = [];
  for (const event of events) {
    const next = nextOccurrence(event, fromMs);
    // Later ones of the same event begin a whole period later; nobody asks so far ahead.
    if (next !== null && next.fromMs <= toMs) found.push(next);
  }
  return found;
}

/** The happening that is under way or comes next; null when it is over. */
export function nextOccurrence(event: KnownEventRecord, nowMs: number): Occurrence | null {
  const { fromMs, toMs, repeat } = event;
  if (nowMs < toMs) return { event, fromMs, toMs };
  if (repeat === null) return null;
  const period = REPEAT_MS[repeat];
  const shift = (Math.floor((nowMs - toMs) / period) + 1) * period;
  return { event, fromMs: fromMs + shift, toMs: toMs + shift };
}

function isOver(event: KnownEventRecord, nowMs: number): boolean {
  return nextOccurrence(event, nowMs) === null;
}

function keyOf(state: ClusterState, app: string, component: string): string {
  if (componentOf(state, app, component) === undefined) {
    throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no component ${app}/${component}`);
  }
  return componentKey(app, component);
}

/** What a schema cannot say. */
function assertSound(event: KnownEventRecord, nowMs: number): void {
  const refuse = (detail: string) => new ShoalError('SHOAL_E_USAGE', detail);
  const { fromMs, toMs, repeat } = event;
  if (toMs <= fromMs) throw refuse('to must be later than from');
  if (repeat !== null && toMs - fromMs > REPEAT_MS[repeat])
    throw refuse(`a ${repeat} event must be over before it comes again`);
  if (toMs - fromMs > LIMITS.knownEventMsMax) {
    throw refuse(`an event lasts ${LIMITS.knownEventMsMax / 86_400_000} days at most; announce it in parts`);
  }
  if (isOver(event, nowMs)) throw refuse('the event is over: to must be in the future, or the event repeated');
}
