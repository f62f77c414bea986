import type { Size } from '../../protocol/link.js';

/** What an instance is allotted. `exclusive`: whole cores, on which no other instance runs. */
export interface Sized {
  size: Size;
  exclusive?: boolean;
}

/** Sizes are upper bounds and CPU gives way, so more than the host's cores may be allotted. Memory does not. */
export const CPU_OVERCOMMIT = 4;

/** What of the host's room it takes: of a core that is its own, all that others could have been allotted of it. */
export function takes({ size, exclusive = false }: Sized): Size {
  return exclusive ? { ...size, cpu: size.cpu * CPU_OVERCOMMIT } : size;
}

/** Cores that are its own. */
export function ownCoresOf({ size, exclusive = false }: Sized): number {
  return exclusive ? size.cpu : 0;
}

/**
 * What all instances of a host are allotted. Whole numbers: sums of them come out the same in whatever order they are made,
 * so that one that is kept and changed equals one that is made anew.
 */
export interface Allotted {
  /** Of the host's room, millionths of a core. */
  cpuMicro: number;
  /** Bytes. */
  memory: number;
  /** Of single instances alone, millionths of a core. */
  ownMicro: number;
}

const MICRO = 1_000_000;
const sums = new WeakMap<readonly Sized[], Allotted>();

/** Added up once for each group: whoever changes one in place tells so by `noteExchanged`. */
export function allottedBy(group: readonly Sized[]): Readonly<Allotted> {
  let sum = sums.get(group);
  if (sum === undefined) {
    sum = { cpuMicro: 0, memory: 0, ownMicro: 0 };
    for (const each of group) count(sum, each, 1);
    sums.set(group, sum);
  }
  return sum;
}

/** Cores and bytes of a sum. */
export function allottedSize({ cpuMicro, memory }: Readonly<Allotted>): Size {
  return { cpu: cpuMicro / MICRO, memory };
}

export function allottedOwnCores({ ownMicro }: Readonly<Allotted>): number {
  return ownMicro / MICRO;
}

/** `copy` has the same instances. */
export function noteCopied(group: readonly Sized[], copy: readonly Sized[]): void {
  const sum = sums.get(group);
  if (sum !== undefined) sums.set(copy, { ...sum });
}

/** The group has been changed: it has `after` in the place of `before`. Undefined: nothing. */
export function noteExchanged(group: readonly Sized[], before: Sized | undefined, after: Sized | undefined): void {
  const sum = sums.get(group);
  if (sum === undefined) return;
  if (before !== undefined) count(sum, before, -1);
  if (after !== undefined) count(sum, after, 1);
}

function count(sum: Allotted, { size, exclusive = false }: Sized, sign: 1 | -1): void {
  const micro = Math.round(size.cpu * MICRO);
  sum.cpuMicro += sign * micro * (exclusive ? CPU_OVERCOMMIT : 1);
  sum.memory += sign * size.memory;
  if (exclusive) sum.ownMicro += sign * micro;
}
