import type { ProfileFunction } from '../../protocol/profile.js';
import { type Shown, shownStacks } from './comparison.js';

const MICROSECONDS = 1e6;

/**
 * A line for each stack: its functions from the root on, with semicolons between, and how often it was seen, or for how
 * many microseconds it waited. Compared with a base, that one's number comes first, as differential flame graphs want it.
 */
export function encodeCollapsed(shown: Shown): string {
  const timed = ['off-cpu', 'system-calls'].includes(shown.profile.kind);
  // Stacks that differ only by where a function was inlined have one text.
  const sums = new Map<string, [value: number, baseValue: number]>();
  for (const { frames, count, seconds, baseCount, baseSeconds } of shownStacks(shown)) {
    const [value, baseValue] = timed ? [seconds * MICROSECONDS, baseSeconds * MICROSECONDS] : [count, baseCount];
    const stack = frames.map(frameText).reverse().join(';');
    const [sum, baseSum] = sums.get(stack) ?? [0, 0];
    sums.set(stack, [sum + value, baseSum + baseValue]);
  }
  const lines = Array.from(sums, ([stack, [value, baseValue]]) => {
    const before = shown.base === null ? '' : `${Math.round(baseValue)} `;
    return `${stack === '' ? '[nothing]' : stack} ${before}${Math.round(value)}\n`;
  });
  return lines.sort().join('');
}

/** Kernel functions carry the mark that flame graph programs colour by. */
function frameText({ name, file }: ProfileFunction): string {
  const plain = Array.from(name, (each) => (each === ';' ? ':' : each < ' ' || each === '\x7f' ? '?' : each)).join('');
  return file === '[kernel]' ? `${plain}_[k]` : plain;
}
