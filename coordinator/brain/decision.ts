import type { Explanation } from './explanation.js';

/**
 * What became of a decision: carried out; only shown, in mode observe; or its count gave way to one set by hand, and only
 * its size was carried out.
 */
export type Fate = 'done' | 'observed' | 'by-hand';

/** A decision as it is kept for people: why, whether it was carried out, and whether it turned out right. */
export interface Decision {
  explanation: Explanation;
  fate: Fate;
  /** Known events within the time that it looked ahead. */
  announced: readonly AnnouncedEvent[];
  /** It is another shape than there was before, or than was decided before where decisions are not carried out. */
  changed: boolean;
  /** Null until its time has come, and for ever where nothing was seen of that time. */
  outcome: Outcome | null;
}

/** What an operator announced: so many times the usual demand, or at least so many requests per second. */
export interface AnnouncedEvent {
  id: string;
  note: string;
  fromMs: number;
  toMs: number;
  effect: { kind: 'factor'; factor: number } | { kind: 'requests'; perSecond: number };
}

/** `more`: than the upper bound that was foretold; `less`: than half of it. */
export type Verdict = 'as-foretold' | 'more' | 'less';

export interface Outcome {
  verdict: Verdict;
  /** The highest demand that came, in cores. */
  peakCpu: number;
  foretoldCpu: number;
  seconds: number;
  /** What there was for it, in cores. */
  allottedCpu: number;
}

/** Over so long a decision without a forecast is judged: until the next ones had time to do better. */
const SECONDS_UNFORESEEN = 5;
const LESS = 0.5;

/** Up to when the decision looked ahead, in ms since the epoch. */
export function judgedAtMs({ atMs, ahead }: Explanation): number {
  return atMs + (ahead?.seconds ?? SECONDS_UNFORESEEN) * 1000;
}

/** The verdict on a decision, by the highest demand that came until `judgedAtMs`. */
export function outcomeOf(explanation: Explanation, fate: Fate, peakCpu: number): Outcome {
  const { seen, ahead, demand, before, after } = explanation;
  const foretoldCpu = Math.max(ahead?.cpu ?? 0, demand.nextCpu);
  const count = fate === 'done' ? after.count : before.count;
  const verdict = peakCpu > foretoldCpu + 1e-9 ? 'more' : peakCpu < LESS * foretoldCpu ? 'less' : 'as-foretold';
  return {
    verdict,
    peakCpu,
    foretoldCpu,
    seconds: ahead?.seconds ?? SECONDS_UNFORESEEN,
    allottedCpu: fate === 'observed' ? seen.allottedCpu : count * after.size.cpu,
  };
}
