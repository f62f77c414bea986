import type { Form, Parameters, State } from './holt-winters.js';

/**
 * The recursion of holt-winters.ts (`seasonFrom: 'old-level'`) with all its numbers in one array, for where it runs a million
 * times: every series each step, and a fit's search. It knows one or two seasons; where there are fewer, the place of one
 * holds what changes nothing.
 */
export interface Kernel {
  readonly additive: boolean;
  /** Lengths of the seasons; 1 where there is none. */
  readonly first: number;
  readonly second: number;
  /** State and constants, then the first season and the second one. */
  readonly numbers: Float64Array;
}

export const LEVEL = 0;
export const TREND = 1;
/** Error of the last step before correction; 0 after a gap. */
export const ERROR = 2;
const ALPHA = 3;
const BETA = 4;
/** 0 without trend, which then stays 0. */
export const PHI = 5;
export const RHO = 6;
const GAMMA_FIRST = 7;
const GAMMA_SECOND = 8;
/** For the kernel's owner. */
export const OWN = 9;
/** Where the first season stands, place by place. */
export const SEASONS = 10;

/** Below this a level or factor is taken as this when divided by. */
const TINY = 1e-12;

export function createKernel(form: Form, parameters: Parameters, state: State): Kernel {
  const additive = form.seasonal === 'additive';
  const none = [additive ? 0 : 1];
  const [first = none, second = none] = state.seasons;
  const numbers = new Float64Array(SEASONS + first.length + second.length);
  const kernel = { additive, first: first.length, second: second.length, numbers };
  reset(kernel, form, parameters, state);
  return kernel;
}

/** Puts constants and state, of the same form, into the kernel. */
export function reset(
  { additive, first, second, numbers }: Kernel,
  form: Form,
  parameters: Parameters,
  state: State,
): void {
  const { alpha, beta, gammas, phi, rho } = parameters;
  numbers[LEVEL] = state.level;
  numbers[TREND] = state.trend;
  numbers[ERROR] = state.error;
  numbers[ALPHA] = alpha;
  numbers[BETA] = form.trend === 'none' ? 0 : beta;
  numbers[PHI] = form.trend === 'none' ? 0 : form.trend === 'damped' ? phi : 1;
  numbers[RHO] = rho;
  numbers[GAMMA_FIRST] = gammas[0] ?? 0;
  numbers[GAMMA_SECOND] = gammas[1] ?? 0;
  const none = additive ? 0 : 1;
  for (let i = 0; i < first; i++) numbers[SEASONS + i] = state.seasons[0]?.[i] ?? none;
  for (let i = 0; i < second; i++) numbers[SEASONS + first + i] = state.seasons[1]?.[i] ?? none;
}

/** The state as it is now, at the phases given, which are the owner's to know. */
export function stateOf({ first, second, numbers }: Kernel, seasons: number, phases: readonly number[]): State {
  const all = [
    Array.from(numbers.subarray(SEASONS, SEASONS + first)),
    Array.from(numbers.subarray(SEASONS + first, SEASONS + first + second)),
  ];
  return {
    level: numbers[LEVEL] as number,
    trend: numbers[TREND] as number,
    error: numbers[ERROR] as number,
    seasons: all.slice(0, seasons),
    phases: phases.slice(0, seasons),
  };
}

/** Offset or factor of both seasons at their places. */
export function seasonOf({ additive, first, numbers }: Kernel, i: number, j: number): number {
  const one = numbers[SEASONS + i] as number;
  const other = numbers[SEASONS + first + j] as number;
  return additive ? one + other : one * other;
}

/**
 * Takes in the value of the step whose places in the seasons are `i` and `j`; NaN is a gap. Returns the error of the forecast
 * before correction, NaN for a gap.
 */
export function stepKernel({ additive, first, numbers }: Kernel, i: number, j: number, value: number): number {
  const damped = (numbers[PHI] as number) * (numbers[TREND] as number);
  const base = (numbers[LEVEL] as number) + damped;
  if (Number.isNaN(value)) {
    numbers[LEVEL] = base;
    numbers[TREND] = damped;
    numbers[ERROR] = 0;
    return value;
  }
  const at = SEASONS + i;
  const other = SEASONS + first + j;
  const s = numbers[at] as number;
  const u = numbers[other] as number;
  let error = 0;
  let change = 0;
  if (additive) {
    error = value - base - s - u;
    change = (numbers[ALPHA] as number) * error;
    numbers[at] = s + (numbers[GAMMA_FIRST] as number) * error;
    numbers[other] = u + (numbers[GAMMA_SECOND] as number) * error;
  } else {
    error = value - base * s * u;
    change = (numbers[ALPHA] as number) * (value / nonZero(s * u) - base);
    numbers[at] = s + (numbers[GAMMA_FIRST] as number) * (value / nonZero(base * u) - s);
    numbers[other] = u + (numbers[GAMMA_SECOND] as number) * (value / nonZero(base * s) - u);
  }
  numbers[LEVEL] = base + change;
  numbers[TREND] = damped + (numbers[BETA] as number) * change;
  numbers[ERROR] = error;
  return error;
}

/** Steps without a value, in a time that does not grow with them. */
export function holdKernel({ numbers }: Kernel, steps: number): void {
  if (steps === 0) return;
  const phi = numbers[PHI] as number;
  const trend = numbers[TREND] as number;
  const power = phi ** steps;
  numbers[LEVEL] = (numbers[LEVEL] as number) + (phi === 1 ? steps : (phi * (1 - power)) / (1 - phi)) * trend;
  numbers[TREND] = power * trend;
  numbers[ERROR] = 0;
}

/** Takes in values from the phases 0 on and writes the errors before correction, NaN at gaps, into `errors`. */
export function runKernel(kernel: Kernel, values: Float64Array, errors: Float64Array): void {
  let i = 0;
  let j = 0;
  for (let t = 0; t < values.length; t++) {
    errors[t] = stepKernel(kernel, i, j, values[t] as number);
    i = i + 1 === kernel.first ? 0 : i + 1;
    j = j + 1 === kernel.second ? 0 : j + 1;
  }
}

function nonZero(value: number): number {
  return Math.abs(value) < TINY ? TINY : value;
}
