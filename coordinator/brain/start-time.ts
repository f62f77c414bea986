/**
 * How long a new instance takes from the decision until it serves, learned from the starts of its component. A start on a
 * host where the component has not been ready before is cold: its image and its files have to come there first. Whether
 * they had been there for another reason nobody says, so that some cold starts are warm in truth. Plain data.
 */
export interface StartTimes {
  /** What was started: of another image or command the past says little. */
  generation: number;
  /** Seconds of the last starts, the latest last. */
  warm: number[];
  cold: number[];
  /** What an instance made now will hardly exceed: worked out when a start is seen, since it is asked for each second. */
  upper: { warm: number; cold: number };
  /** Where it has been ready, the latest last. */
  hosts: string[];
}

/** A start that went well at the first try. */
export interface SeenStart {
  seconds: number;
  host: string;
  generation: number;
}

export interface StartAhead {
  /** Until an instance made now serves; not more in nine of ten starts. */
  seconds: number;
  /** `assumed`: none has been seen. */
  kind: StartKind;
  /** Starts that this is known by. */
  seen: number;
}

export type StartKind = 'assumed' | 'warm' | 'cold';

/** Before any start was seen. */
export const START_SECONDS = 5;
export const NEW_STARTS: StartTimes = {
  generation: 0,
  warm: [],
  cold: [],
  upper: { warm: START_SECONDS, cold: START_SECONDS },
  hosts: [],
};
const SECONDS = { min: 0.2, max: 120 };
const SHARE = 0.9;
const KEPT_MAX = 32;
/** Of what was learned of another image so much is kept, until there is better. */
const KEPT_OF_ANOTHER = 2;
/** A component on more hosts than that is always taken to start on a new one. */
const HOSTS_MAX = 64;

/** `isThere`: whether a host still exists. */
export function learnStart(known: StartTimes, start: SeenStart, isThere: (host: string) => boolean): StartTimes {
  const { seconds, host, generation } = start;
  if (!(seconds > 0)) return known;
  const before = generation === known.generation ? known : ofAnother(known, generation);
  const kind = before.hosts.includes(host) ? 'warm' : 'cold';
  const hosts = before.hosts.filter((each) => each !== host && isThere(each));
  const list = [...before[kind], Math.min(SECONDS.max, seconds)].slice(-KEPT_MAX);
  // All of one shape, since each of them is read each second.
  const isWarm = kind === 'warm';
  return {
    generation,
    warm: isWarm ? list : before.warm,
    cold: isWarm ? before.cold : list,
    upper: {
      warm: isWarm ? upperOf(list) : before.upper.warm,
      cold: isWarm ? before.upper.cold : upperOf(list),
    },
    hosts: [...hosts, host].slice(-HOSTS_MAX),
  };
}

function ofAnother(known: StartTimes, generation: number): StartTimes {
  const [warm, cold] = [known.warm.slice(-KEPT_OF_ANOTHER), known.cold.slice(-KEPT_OF_ANOTHER)];
  return { generation, warm, cold, upper: { warm: upperOf(warm), cold: upperOf(cold) }, hosts: [] };
}

/** Of an instance made now. Placement spreads a component first, so where there is a host that is new to it, it goes there. */
export function startAhead({ warm, cold, upper, hosts }: StartTimes, hostCount: number): StartAhead {
  const expected = hostCount > hosts.length ? 'cold' : 'warm';
  const kind = expected === 'cold' ? (cold.length > 0 ? 'cold' : 'warm') : warm.length > 0 ? 'warm' : 'cold';
  const seen = kind === 'cold' ? cold.length : warm.length;
  return seen === 0 ? { seconds: START_SECONDS, kind: 'assumed', seen } : { seconds: upper[kind], kind, seen };
}

/** The quantile of the starts, and the more beyond it the fewer there are. From ten on the slowest tenth does not count. */
function upperOf(list: readonly number[]): number {
  if (list.length === 0) return START_SECONDS;
  const sorted = list.toSorted((a, b) => a - b);
  const quantile = sorted[Math.ceil(SHARE * sorted.length - 1e-9) - 1] ?? START_SECONDS;
  return Math.min(SECONDS.max, Math.max(SECONDS.min, quantile * (1 + 1 / sorted.length)));
}
