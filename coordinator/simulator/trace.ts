import { ShoalError } from '../../protocol/errors.js';

/** A load over time. */
export interface Trace {
  /** Seconds since the first row, rising. */
  seconds: Float64Array;
  /** At these times, at least 0; in whatever unit: the simulator scales it. */
  values: Float64Array;
}

const ROWS_MAX = 5_000_000;

/** Reads `time,value` rows with or without a heading. A bad row is refused with its line and what was expected. */
export function parseTrace(text: string, file: string): Trace {
  const seconds: number[] = [];
  const values: number[] = [];
  let first = 0;
  const lines = text.split('\n');
  const refuse = (index: number, message: string): never => {
    throw new ShoalError('SHOAL_E_USAGE', `${file}:${index + 1}: ${message}`);
  };
  for (const [index, line] of lines.entries()) {
    const row = line.trim();
    if (row === '') continue;
    const [time = '', value = '', ...more] = row.split(',').map((cell) => cell.trim());
    // A heading is a first row without any number in it.
    if (index === 0 && !(isNumber(time) || isNumber(value))) continue;
    if (!isNumber(time) || !isNumber(value) || more.length > 0)
      refuse(index, `expected "time,value" with two numbers, found "${row.slice(0, 60)}"; repair or remove the row`);
    if (seconds.length === 0) first = Number(time);
    const at = Number(time) - first;
    const before = seconds.at(-1);
    if (before !== undefined && at <= before)
      refuse(index, `time ${time} is not after the row before it; sort the rows and remove repeated times`);
    if (Number(value) < 0) refuse(index, `value ${value} is below 0, which no load can be`);
    if (seconds.length >= ROWS_MAX) refuse(index, `more than ${ROWS_MAX} rows; cut the trace`);
    seconds.push(at);
    values.push(Number(value));
  }
  if (seconds.length < 2) throw new ShoalError('SHOAL_E_USAGE', `${file}: expected at least two rows "time,value"`);
  if (!values.some((value) => value > 0)) throw new ShoalError('SHOAL_E_USAGE', `${file}: all values are 0`);
  return { seconds: Float64Array.from(seconds), values: Float64Array.from(values) };
}

function isNumber(text: string): boolean {
  return text !== '' && Number.isFinite(Number(text));
}

/** The same rows, `interval` seconds apart whatever their times say. */
export function withInterval(trace: Trace, interval: number): Trace {
  return { ...trace, seconds: trace.seconds.map((_, index) => index * interval) };
}

/** The same load in 1/`speed` of the time. */
export function spedUp(trace: Trace, speed: number): Trace {
  return { ...trace, seconds: trace.seconds.map((each) => each / speed) };
}

/** The part from `from` up to `to`, in seconds since the first row; its own first row is at 0. */
export function partOf(trace: Trace, from: number, to: number): Trace {
  const start = trace.seconds.findIndex((each) => each >= from);
  const behind = trace.seconds.findIndex((each) => each > to);
  const end = behind < 0 ? trace.seconds.length : behind;
  if (start < 0 || end - start < 2)
    throw new ShoalError('SHOAL_E_USAGE', `the trace has fewer than two rows between second ${from} and ${to}`);
  const seconds = trace.seconds.slice(start, end);
  const zero = seconds[0] ?? 0;
  return { seconds: seconds.map((each) => each - zero), values: trace.values.slice(start, end) };
}

export function lengthOf(trace: Trace): number {
  return trace.seconds.at(-1) ?? 0;
}

export function peakOf(trace: Trace): number {
  return trace.values.reduce((most, each) => Math.max(most, each), 0);
}

/** The load in the middle of every second, on straight lines between the rows. */
export function everySecond(trace: Trace): Float64Array {
  const { seconds, values } = trace;
  const load = new Float64Array(Math.floor(lengthOf(trace)));
  let row = 0;
  for (let second = 0; second < load.length; second += 1) {
    const at = second + 0.5;
    while (row + 2 < seconds.length && (seconds[row + 1] as number) <= at) row += 1;
    const [from, to] = [seconds[row] as number, seconds[row + 1] as number];
    const [low, high] = [values[row] as number, values[row + 1] as number];
    load[second] = low + ((high - low) * (at - from)) / (to - from);
  }
  return load;
}
