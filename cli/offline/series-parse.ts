/** Series of a CSV file, in either of two shapes, with every bad row named. Pure. */
export interface OfflineSeries {
  id: string;
  /** Null for a gap. */
  values: (number | null)[];
  /** Absent when the file gives no times. */
  clock?: Clock;
}

export interface Clock {
  /** Of the first value, since the epoch. */
  startSeconds: number;
  stepSeconds: number;
  /** Times were given as dates, not in seconds. */
  dates: boolean;
}

export interface RowFault {
  line: number;
  /** Which part of the row, such as "time" or "value 3". */
  path: string;
  /** What is wrong, what was expected, and the remedy. */
  message: string;
}

export type ParsedSeries = { ok: true; series: OfflineSeries[] } | { ok: false; faults: RowFault[] };

/** Values of all series together, gaps included. */
export const OFFLINE_VALUES_MAX = 5_000_000;
/** Rows whose faults are told; the rest would say the same. */
const FAULTS_MAX = 20;
const GAP_WORDS = new Set(['', 'na', 'nan', 'null']);
/** Times may be this share of a step beside the whole number of steps. */
const JITTER = 0.1;
const DATE = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

interface TimedRow {
  line: number;
  seconds: number;
  value: number | null;
  dates: boolean;
}

/** Takes lines one after the other; `end` says what they hold. */
export interface SeriesReader {
  /** False once there is no point in reading on. */
  line: (text: string) => boolean;
  end: () => ParsedSeries;
}

/** Rows `time,value` when the first one has two fields, else one series a row: `id,v1,v2,…`. A header may precede. */
export function createSeriesReader(): SeriesReader {
  const faults: RowFault[] = [];
  const timed: TimedRow[] = [];
  const series: OfflineSeries[] = [];
  let shape: 'timed' | 'row' | null = null;
  let headed = false;
  let number = 0;
  let count = 0;
  const blame = (line: number, path: string, message: string): void => {
    if (faults.length < FAULTS_MAX) faults.push({ line, path, message });
  };

  const readTimed = (fields: string[]): void => {
    const [time = '', value = ''] = fields;
    if (fields.length !== 2) {
      blame(number, 'row', `has ${fields.length} fields; expected 2, as in the first row: write time,value`);
      return;
    }
    const seconds = secondsOf(time);
    if (seconds === null) {
      blame(number, 'time', `"${time}" is no time; expected seconds or a date such as 2026-01-31T08:00:00Z`);
      return;
    }
    const read = readValue(value);
    if (read === undefined) {
      blame(number, 'value', `"${value}" is no number; leave the field empty for a gap`);
      return;
    }
    const before = timed.at(-1);
    if (before !== undefined && seconds <= before.seconds) {
      blame(number, 'time', `"${time}" is not after the row before; sort the rows by time, one row for each time`);
      return;
    }
    timed.push({ line: number, seconds, value: read, dates: !NUMBER.test(time) });
  };

  const readRow = (fields: string[]): void => {
    const [id = '', ...cells] = fields;
    if (id === '') blame(number, 'id', 'is empty; expected a name for the series in the first field');
    while (cells.length > 0 && GAP_WORDS.has((cells.at(-1) as string).toLowerCase())) cells.pop();
    const values = cells.map(readValue);
    const bad = values.indexOf(undefined);
    if (bad >= 0) blame(number, `value ${bad + 1}`, `"${cells[bad]}" is no number; leave the field empty for a gap`);
    if (cells.length === 0) blame(number, 'row', 'has no values; expected id,v1,v2,…');
    series.push({ id, values: values.map((value) => value ?? null) });
  };

  return {
    line: (text) => {
      number += 1;
      const line = number === 1 ? text.replace(/^\uFEFF/, '') : text;
      if (line.trim() === '') return true;
      const fields = line.split(',').map((field) => unquote(field.trim()));
      if (shape === null) {
        if (!headed && isHeader(fields)) {
          headed = true;
          return true;
        }
        shape = fields.length === 2 ? 'timed' : 'row';
      }
      count += fields.length - 1;
      if (count > OFFLINE_VALUES_MAX) {
        blame(number, 'row', `is too much: more than ${OFFLINE_VALUES_MAX} values; split the file or use larger steps`);
        return false;
      }
      if (shape === 'timed') readTimed(fields);
      else readRow(fields);
      return faults.length < FAULTS_MAX;
    },
    end: () => {
      if (shape === null && faults.length === 0) {
        blame(Math.max(1, number), 'file', 'has no values; expected rows time,value or id,v1,v2,…');
      }
      const joined = shape === 'timed' && faults.length === 0 ? onGrid(timed, blame) : series;
      return faults.length > 0 ? { ok: false, faults } : { ok: true, series: joined };
    },
  };
}

/** Rows of one series put onto even steps, the most usual distance of two rows. */
function onGrid(
  rows: readonly TimedRow[],
  blame: (line: number, path: string, message: string) => void,
): OfflineSeries[] {
  const [first] = rows;
  if (first === undefined) return [];
  const step = usualStep(rows);
  const values: (number | null)[] = [first.value];
  for (let i = 1; i < rows.length; i++) {
    const row = rows[i] as TimedRow;
    const steps = (row.seconds - (rows[i - 1] as TimedRow).seconds) / step;
    const whole = Math.round(steps);
    if (whole < 1 || Math.abs(steps - whole) > JITTER * Math.max(1, whole)) {
      blame(
        row.line,
        'time',
        `is ${round(steps)} steps of ${round(step)} s after the row before; expected a whole number`,
      );
      return [];
    }
    if (values.length + whole > OFFLINE_VALUES_MAX) {
      blame(
        row.line,
        'time',
        `leaves a gap of ${whole} steps of ${round(step)} s; more than can be filled: check the time`,
      );
      return [];
    }
    for (let gap = 1; gap < whole; gap++) values.push(null);
    values.push(row.value);
  }
  return [{ id: 'series', values, clock: { startSeconds: first.seconds, stepSeconds: step, dates: first.dates } }];
}

function usualStep(rows: readonly TimedRow[]): number {
  const counts = new Map<number, number>();
  for (let i = 1; i < rows.length; i++) {
    const distance = round((rows[i] as TimedRow).seconds - (rows[i - 1] as TimedRow).seconds);
    counts.set(distance, (counts.get(distance) ?? 0) + 1);
  }
  let best = 1;
  let most = 0;
  for (const [distance, count] of counts) {
    if (count > most || (count === most && distance < best)) [best, most] = [distance, count];
  }
  return best;
}

/** To the millisecond. */
function round(seconds: number): number {
  return Math.round(seconds * 1_000) / 1_000;
}

/** No field but the first holds a value, and the first holds no time. */
function isHeader(fields: readonly string[]): boolean {
  const [first = '', ...rest] = fields;
  if (rest.length === 0) return !NUMBER.test(first);
  const words = rest.every((field) => field !== '' && readValue(field) === undefined);
  return words && secondsOf(first) === null;
}

/** Undefined when it is no value. */
function readValue(text: string): number | null | undefined {
  if (GAP_WORDS.has(text.toLowerCase())) return null;
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : undefined;
}

/** Dates without a zone are UTC. */
function secondsOf(text: string): number | null {
  if (NUMBER.test(text)) return Number(text);
  if (!DATE.test(text)) return null;
  const iso = text.replace(' ', 'T');
  const zoned = /(Z|[+-]\d{2}:?\d{2})$/.test(iso) || !iso.includes('T') ? iso : `${iso}Z`;
  const ms = Date.parse(zoned);
  return Number.isNaN(ms) ? null : ms / 1_000;
}

function unquote(field: string): string {
  return field.length >= 2 && field.startsWith('"') && field.endsWith('"') ? field.slice(1, -1) : field;
}
