/**
 * How little memory an instance can live in, found out by taking back a little at a time until somebody waits for what
 * was taken: the manner of Meta's senpai (Weiner et al., TMO, ASPLOS 2022). Where nobody waits, what the instance holds
 * shrinks to its working set, and `memory.current` then tells that. Pure: `probeStep` says what to do after a look.
 */
export interface MemoryLook {
  /** By any clock that does not jump. */
  atMs: number;
  usedBytes: number;
  /** Time in which some task of the cgroup waited for memory, in all (memory.pressure, `some`). */
  stalledUs: number;
}

export interface MemoryProbe {
  last: MemoryLook;
  /** Nothing is taken before. */
  restUntilMs: number;
}

/** What to take back now, and what to remember until the next look. */
export interface ProbeStep {
  probe: MemoryProbe;
  reclaimBytes: number;
}

/** Waiting for memory may take this share of the time: 10 ms in 6 s, as senpai has it. */
const STALLED_SHARE = 10 / 6_000;
/** At most this share of what is held is taken at once, with less the nearer the pressure is to its bound. */
const TAKEN_SHARE = 0.01;
const TAKEN_BYTES_MAX = 64 * 2 ** 20;
/** Less is not worth a look of the kernel through its lists, and an instance so small nothing at all. */
const TAKEN_BYTES_MIN = 64 * 2 ** 10;
/** After pressure what was taken comes back in peace. */
const REST_MS = 60_000;

/** `before`: null at the first look. A counter that went back is of another cgroup of the same name: as at the first. */
export function probeStep(before: MemoryProbe | null, look: MemoryLook): ProbeStep {
  const elapsedMs = before === null ? 0 : look.atMs - before.last.atMs;
  if (before === null || elapsedMs <= 0 || look.stalledUs < before.last.stalledUs) {
    return { probe: { last: look, restUntilMs: look.atMs }, reclaimBytes: 0 };
  }
  const stalled = (look.stalledUs - before.last.stalledUs) / 1_000 / elapsedMs;
  if (stalled >= STALLED_SHARE) {
    return { probe: { last: look, restUntilMs: look.atMs + REST_MS }, reclaimBytes: 0 };
  }
  const probe = { last: look, restUntilMs: before.restUntilMs };
  if (look.atMs < before.restUntilMs) return { probe, reclaimBytes: 0 };
  const most = Math.min(TAKEN_BYTES_MAX, look.usedBytes * TAKEN_SHARE);
  const bytes = Math.floor(most * (1 - stalled / STALLED_SHARE));
  return { probe, reclaimBytes: bytes < TAKEN_BYTES_MIN ? 0 : bytes };
}

/** Microseconds of the line `some` of memory.pressure (Documentation/accounting/psi.rst); null when it has none. */
export function parsePressure(text: string): number | null {
  const match = /^some .*\btotal=(\d+)$/m.exec(text);
  return match === null ? null : Number(match[1]);
}
