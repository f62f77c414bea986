/** Quantities as people write them. Each returns NaN for a text that is none. */

const MEMORY: Record<string, number> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};
const TIME_MS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

function split(text: string): [number, string] {
  const match = /^([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$/.exec(text);
  return match ? [Number(match[1]), match[2] ?? ''] : [Number.NaN, ''];
}

/** Cores: 0.25, "0.25" or "250m". */
export function parseCpu(value: number | string): number {
  if (typeof value === 'number') return value;
  const [amount, unit] = split(value);
  if (unit === '') return amount;
  // Rounded so that 250m and 0.25 are the same number.
  return unit === 'm' ? Number((amount / 1000).toFixed(9)) : Number.NaN;
}

/** Bytes, whole: 67108864 or "64Mi". */
export function parseMemory(value: number | string): number {
  if (typeof value === 'number') return value;
  const [amount, unit] = split(value);
  return Math.round(amount * (MEMORY[unit] ?? Number.NaN));
}

/** Milliseconds: "50ms", "1.5s", "24h", "7d". */
export function parseTimeMs(value: string): number {
  const [amount, unit] = split(value);
  return amount * (TIME_MS[unit] ?? Number.NaN);
}
