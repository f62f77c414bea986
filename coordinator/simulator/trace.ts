import { ShoalError } from '../../protocol/errors.js';
import { createFieldReader, lineFault, perSecond, readTime, readValue, timesIn, valueFault } from '../csv.js';

/** A load over time. */
export interface Trace {
  /** Seconds since the first row, rising. */
  seconds: Float64Array;
  /** At these times, at least 0; in whatever unit: the simulator scales it. */
  values: Float64Array;
}

const ROWS_MAX = 5_000_000;

/**
 * Reads `time,value` rows with or without a heading, times in seconds or as `csv.ts` reads them. Rows without a value are left
 * out. A bad row is refused with its line and what was expected.
 */
export function parseTrace(text: string, file: string): Trace {
  const times: { at: number; isDate: boolean }[] = [];
  const values: number[] = [];
  const fieldsOf = createFieldReader();
  const refuse = (index: number, message: string): never => {
    throw new ShoalError('SHOAL_E_USAGE', `${file}:${index + 1}: ${message}`);
  };
  let mayBeHeading = true;
  for (const [index, line] of text.split('\n').entries()) {
    const fault = lineFault(line);
    if (fault !== null) refuse(index, fault);
    const fields = fieldsOf(line);
    if (fields === null) continue;
    const [time = '', value = ''] = fields;
    const when = readTime(time);
    const read = readValue(value);
    const isHeading = mayBeHeading && when === null && typeof read !== 'number';
    mayBeHeading = false;
    if (isHeading) continue;
    if (fields.length !== 2)
      return refuse(index, `expected "time,value", found ${fields.length} fields; leave out what is no time or value`);
    if (when === null)
      return refuse(index, `"${time}" is no time; expected seconds or a date such as 2026-01-31T08:00:00Z`);
    if (read === undefined) return refuse(index, `"${value}" ${valueFault(value, 'leave the field empty')}`);
    const before = times.at(-1);
    if (before !== undefined && when.at <= before.at)
      refuse(index, `time ${time} is not after the row before it; sort the rows and remove repeated times`);
    if (read === null) continue;
    if (read < 0) refuse(index, `value ${value} is below 0, which no load can be`);
    if (times.length >= ROWS_MAX) refuse(index, `more than ${ROWS_MAX} rows; cut the trace`);
    times.push(when);
    values.push(read);
  }
  const [first] = times;
  if (first === undefined || times.length < 2)
    throw new ShoalError('SHOAL_E_USAGE', `${file}: expected at least two rows "time,value"`);
  if (!values.some((value) => value > 0)) throw new ShoalError('SHOAL_E_USAGE', `${file}: all values are 0`);
  const unit = perSecond(timesIn(times));
  return { seconds: Float64Array.from(times, ({ at }) => (at - first.at) / unit), values: Float64Array.from(values) };
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
