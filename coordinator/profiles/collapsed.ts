import type { ProfileFunction } from '../../protocol/profile.js';
import { type Shown, shownStacks } from './comparison.js';

const MICROSECONDS = 1e6;

/**
 * A line for each stack: its functions from the root on, with semicolons between, and how often it was seen, or for how
 * many microseconds it waited. Compared with a base, that one's number comes first, as differential flame graphs want it.
 */
export function encodeCollapsed(shown: Shown): string {
  const timed = ['off-cpu', 'system-calls'].includes(shown.profile.kind);
  const lines = shownStacks(shown).map(({ frames, count, seconds, baseCount, baseSeconds }) => {
    const [value, baseValue] = timed ? [seconds * MICROSECONDS, baseSeconds * MICROSECONDS] : [count, baseCount];
    const stack = frames.map(frameText).reverse().join(';');
    return `${stack === '' ? '[nothing]' : stack} ${shown.base === null ? '' : `${Math.round(baseValue)} `}${Math.round(value)}\n`;
  });
  return lines.sort().join('');
}

/** Kernel functions carry the mark that flame graph programs colour by. */
function frameText({ name, file }: ProfileFunction): string {
  const plain = Array.from(name, (each) => (each === ';' ? ':' : each < ' ' || each === '\x7f' ? '?' : each)).join('');
  return file === '[kernel]' ? `${plain}_[k]` : plain;
}
