import {
  createFieldReader,
  lineFault,
  perSecond,
  readTime,
  readValue,
  type TimesIn,
  timesIn,
  valueFault,
} from '../../coordinator/csv.js';

/** Series of a CSV file, in either of two shapes, with every bad row named. Pure. */
export interface OfflineSeries {
  id: string;
  /** Of its row; absent when the whole file is one series. */
  line?: number;
  /** Null for a gap. */
  values: (number | null)[];
  /** Absent when the file gives no times. */
  clock?: Clock;
}

export interface Clock {
  /** Of the first value, since the epoch; counted back from the last one, so that the next ones follow on it. */
  startSeconds: number;
  stepSeconds: number;
  /** Present where rows are so many months apart, which are not equally long; `stepSeconds` is then the usual length. */
  stepMonths?: number;
  /** Of such months: each row is of the last day. */
  atMonthEnd?: boolean;
  /** How the file gives times. */
  timesIn: TimesIn;
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
/** Of the series that is the whole file. */
const LONE_ID = 'series';
const DAYS_OF_EVERY_MONTH = 28;
const DAY_MS = 86_400_000;
/** Of fewer distances the median says no more than the most usual one. */
const MEDIAN_MIN = 10;
/** Times may be this share of a step beside the whole number of steps. */
const JITTER = 0.1;
/** A first column of such a name holds times, whatever follows. */
const TIME_NAMES = new Set(['time', 'timestamp', 'date', 'datetime', 'ds', 'ts']);

interface TimedRow {
  line: number;
  /** As the file gives it, of a date in seconds; then in seconds throughout. */
  at: number;
  value: number | null;
  isDate: boolean;
}

/** Takes lines one after the other; `end` says what they hold. */
export interface SeriesReader {
  /** False once there is no point in reading on. */
  line: (text: string) => boolean;
  end: () => ParsedSeries;
}

/**
 * Rows `time,value` when the first one has two fields, a value a row when it has one, else one series a row: `id,v1,v2,…`. A
 * header may precede, and comments after #; fields may also be parted by semicolons or tabs. Rows of times may come in any order.
 */
export function createSeriesReader(): SeriesReader {
  const faults: RowFault[] = [];
  const timed: TimedRow[] = [];
  const series: OfflineSeries[] = [];
  let shape: 'timed' | 'column' | 'row' | null = null;
  let header: string[] | null = null;
  const fieldsOf = createFieldReader();
  const lineOfId = new Map<string, number>();
  const column: (number | null)[] = [];
  let number = 0;
  let count = 0;
  const blame = (line: number, path: string, message: string): void => {
    if (faults.length < FAULTS_MAX) faults.push({ line, path, message });
  };

  const readTimed = (fields: string[]): void => {
    const [time = '', value = ''] = fields;
    if (fields.length !== 2) {
      blame(number, 'row', `has ${counted(fields)}; expected 2, as in the first row: write time,value`);
      return;
    }
    const read = readTime(time);
    if (read === null) {
      blame(number, 'time', `"${time}" is no time; expected seconds or a date such as 2026-01-31T08:00:00Z`);
      return;
    }
    const known = readValue(value);
    if (known === undefined) {
      blame(number, 'value', `"${value}" ${valueFault(value, 'leave the field empty')}`);
      return;
    }
    timed.push({ line: number, ...read, value: known });
  };

  const readCell = (cell: string): void => {
    const value = readValue(cell);
    if (value === undefined) blame(number, 'value', `"${cell}" ${valueFault(cell, 'write NA')}`);
    column.push(value ?? null);
  };

  const readRow = (fields: string[]): void => {
    if (TIME_NAMES.has(header?.[0]?.toLowerCase() ?? '')) {
      blame(number, 'row', `has ${counted(fields)}; expected time and value: leave out the other columns`);
      return;
    }
    const [id = '', ...cells] = fields;
    if (id === '') blame(number, 'id', 'is empty; expected a name for the series in the first field');
    const before = lineOfId.get(id);
    if (before !== undefined) blame(number, 'id', `"${id}" is that of line ${before} too; name each series otherwise`);
    lineOfId.set(id, number);
    const values = cells.map(readValue);
    while (values.at(-1) === null) values.pop();
    const bad = values.indexOf(undefined);
    const cell = cells[bad] ?? '';
    if (bad >= 0) blame(number, `value ${bad + 1}`, `"${cell}" ${valueFault(cell, 'leave the field empty')}`);
    if (values.length === 0) blame(number, 'row', 'has no values; expected id,v1,v2,…');
    series.push({ id, line: number, values: values.map((value) => value ?? null) });
  };

  return {
    line: (text) => {
      number += 1;
      const fault = lineFault(text);
      if (fault !== null) {
        blame(number, 'row', fault);
        return false;
      }
      const fields = fieldsOf(text);
      if (fields === null) return true;
      if (shape === null) {
        if (header === null && isHeader(fields)) {
          header = fields;
          return true;
        }
        shape = fields.length === 2 ? 'timed' : fields.length === 1 ? 'column' : 'row';
      }
      count += Math.max(1, fields.length - 1);
      if (count > OFFLINE_VALUES_MAX) {
        blame(number, 'row', `is too much: more than ${OFFLINE_VALUES_MAX} values; split the file or use larger steps`);
        return false;
      }
      if (shape === 'timed') readTimed(fields);
      else if (shape === 'column' && fields.length === 1) readCell(fields[0] as string);
      else if (shape === 'column') blame(number, 'row', `has ${counted(fields)}; expected 1, as in the first row`);
      else readRow(fields);
      return faults.length < FAULTS_MAX;
    },
    end: () => {
      if (shape === null && faults.length === 0) {
        blame(Math.max(1, number), 'file', 'has no values; expected rows time,value or id,v1,v2,…');
      }
      if (shape === 'column') series.push({ id: LONE_ID, values: column });
      const joined = shape === 'timed' && faults.length === 0 ? onGrid(timed, blame) : series;
      return faults.length > 0 ? { ok: false, faults } : { ok: true, series: joined };
    },
  };
}

/** Rows of one series put in order and onto even steps, the most usual distance of two rows. */
function onGrid(
  given: readonly TimedRow[],
  blame: (line: number, path: string, message: string) => void,
): OfflineSeries[] {
  const unit = timesIn(given);
  const all = given.map((row) => ({ ...row, at: row.at / perSecond(unit) }));
  // Of equal times the order of the file is kept.
  const rows = inOrder(all) ? all : all.toSorted((a, b) => a.at - b.at);
  const [first] = rows;
  if (first === undefined) return [];
  const step = usualStep(rows);
  const months = monthsApart(rows);
  const values: (number | null)[] = [first.value];
  for (let i = 1; i < rows.length; i++) {
    const row = rows[i] as TimedRow;
    const before = rows[i - 1] as TimedRow;
    const steps = months === null ? (row.at - before.at) / step : (monthOf(row) - monthOf(before)) / months.stepMonths;
    if (steps === 0) {
      if (row.value === before.value) continue;
      blame(row.line, 'time', `is that of line ${before.line} with another value; one row for each time`);
      return [];
    }
    const whole = Math.round(steps);
    if (whole < 1 || Math.abs(steps - whole) > JITTER * Math.max(1, whole)) {
      blame(
        row.line,
        'time',
        `is ${round(steps)} steps of ${round(step)} s after the row before; expected a whole number: use even steps, such as means of minutes`,
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
  const clock = { stepSeconds: step, timesIn: unit };
  if (months !== null) return [{ id: LONE_ID, values, clock: { startSeconds: first.at, ...clock, ...months } }];
  const last = rows.at(-1) as TimedRow;
  return [{ id: LONE_ID, values, clock: { startSeconds: last.at - (values.length - 1) * step, ...clock } }];
}

/**
 * Months between rows, where all are dates of the same time of day and either the same day of a month, one that every month
 * has, or a month's last; null otherwise.
 */
function monthsApart(rows: readonly TimedRow[]): { stepMonths: number; atMonthEnd?: boolean } | null {
  const [first] = rows;
  if (first === undefined || !rows.every(({ isDate }) => isDate)) return null;
  const dates = rows.map(({ at }) => new Date(at * 1_000));
  const timeOfDay = (date: Date) => date.toISOString().slice(10);
  const [start] = dates as [Date];
  if (!dates.every((date) => timeOfDay(date) === timeOfDay(start))) return null;
  const day = start.getUTCDate();
  const sameDay = day <= DAYS_OF_EVERY_MONTH && dates.every((date) => date.getUTCDate() === day);
  if (!sameDay && !dates.every((date) => new Date(date.getTime() + DAY_MS).getUTCDate() === 1)) return null;
  const apart = rows
    .slice(1)
    .map((row, i) => monthOf(row) - monthOf(rows[i] as TimedRow))
    .filter((distance) => distance > 0);
  if (apart.length === 0) return null;
  return { stepMonths: Math.min(...apart), ...(sameDay ? {} : { atMonthEnd: true }) };
}

function monthOf({ at }: TimedRow): number {
  const date = new Date(at * 1_000);
  return 12 * date.getUTCFullYear() + date.getUTCMonth();
}

function counted({ length }: readonly string[]): string {
  return length === 1 ? '1 field' : `${length} fields`;
}

function inOrder(rows: readonly TimedRow[]): boolean {
  return rows.every((row, i) => i === 0 || row.at >= (rows[i - 1] as TimedRow).at);
}

/** The distance that most rows have, else their median: times with noise hardly have one twice. */
function usualStep(rows: readonly TimedRow[]): number {
  const distances: number[] = [];
  const counts = new Map<number, number>();
  for (let i = 1; i < rows.length; i++) {
    const distance = round((rows[i] as TimedRow).at - (rows[i - 1] as TimedRow).at);
    if (distance <= 0) continue;
    distances.push(distance);
    counts.set(distance, (counts.get(distance) ?? 0) + 1);
  }
  if (distances.length === 0) return 1;
  let best = 1;
  let most = 0;
  for (const [distance, count] of counts) {
    if (count > most || (count === most && distance < best)) [best, most] = [distance, count];
  }
  if (2 * most > distances.length || distances.length < MEDIAN_MIN) return best;
  return distances.sort((a, b) => a - b)[Math.floor(distances.length / 2)] as number;
}

/** To the millisecond, where that is fine enough. */
function round(seconds: number): number {
  return Math.abs(seconds) < 0.01 ? Number(seconds.toPrecision(3)) : Math.round(seconds * 1_000) / 1_000;
}

/** No field but the first holds a value, and the first holds no time. */
function isHeader(fields: readonly string[]): boolean {
  const [first = '', ...rest] = fields;
  if (rest.length === 0) return readValue(first) === undefined;
  const words = rest.every((field) => field !== '' && readValue(field) === undefined);
  return words && readTime(first) === null;
}
