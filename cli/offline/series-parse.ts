/** Series of a CSV file, in either of two shapes, with every bad row named. Pure. */
export interface OfflineSeries {
  id: string;
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
  /** How the file gives times. */
  timesIn: 'seconds' | 'milliseconds' | 'dates';
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
/** Numbers beyond it are milliseconds: as seconds they would be past the year 5000. */
const SECONDS_MAX = 1e11;
const SEPARATORS = [',', ';', '\t'];
/** A first column of such a name holds times, whatever follows. */
const TIME_NAMES = new Set(['time', 'timestamp', 'date', 'datetime', 'ds', 'ts']);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

interface TimedRow {
  line: number;
  seconds: number;
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
 * header may precede; fields may also be parted by semicolons or tabs. Rows of times may come in any order.
 */
export function createSeriesReader(): SeriesReader {
  const faults: RowFault[] = [];
  const timed: TimedRow[] = [];
  const series: OfflineSeries[] = [];
  let shape: 'timed' | 'column' | 'row' | null = null;
  let header: string[] | null = null;
  let separator: string | null = null;
  const column: (number | null)[] = [];
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
    timed.push({ line: number, seconds, value: read, isDate: !NUMBER.test(time) });
  };

  const readCell = (cell: string): void => {
    const value = readValue(cell);
    if (value === undefined) blame(number, 'value', `"${cell}" is no number; write NA for a gap`);
    column.push(value ?? null);
  };

  const readRow = (fields: string[]): void => {
    if (TIME_NAMES.has(header?.[0]?.toLowerCase() ?? '')) {
      blame(number, 'row', `has ${fields.length} fields; expected time and value: leave out the other columns`);
      return;
    }
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
      separator ??= SEPARATORS.find((each) => line.includes(each)) ?? null;
      const fields = line.split(separator ?? ',').map((field) => unquote(field.trim()));
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
      else if (shape === 'column') blame(number, 'row', `has ${fields.length} fields; expected 1, as in the first row`);
      else readRow(fields);
      return faults.length < FAULTS_MAX;
    },
    end: () => {
      if (shape === null && faults.length === 0) {
        blame(Math.max(1, number), 'file', 'has no values; expected rows time,value or id,v1,v2,…');
      }
      if (shape === 'column') series.push({ id: 'series', values: column });
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
  const inMs = given.every(({ seconds, isDate }) => !isDate && Math.abs(seconds) > SECONDS_MAX);
  const all = inMs ? given.map((row) => ({ ...row, seconds: row.seconds / 1_000 })) : given;
  // Of equal times the order of the file is kept.
  const rows = inOrder(all) ? all : all.toSorted((a, b) => a.seconds - b.seconds);
  const [first] = rows;
  if (first === undefined) return [];
  const step = usualStep(rows);
  const stepMonths = monthsApart(rows);
  const values: (number | null)[] = [first.value];
  for (let i = 1; i < rows.length; i++) {
    const row = rows[i] as TimedRow;
    const before = rows[i - 1] as TimedRow;
    const steps =
      stepMonths === null ? (row.seconds - before.seconds) / step : (monthOf(row) - monthOf(before)) / stepMonths;
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
  const timesIn = inMs ? 'milliseconds' : first.isDate ? 'dates' : 'seconds';
  if (stepMonths !== null) {
    const clock = { startSeconds: first.seconds, stepSeconds: step, stepMonths, timesIn } as const;
    return [{ id: 'series', values, clock }];
  }
  const last = rows.at(-1) as TimedRow;
  const startSeconds = last.seconds - (values.length - 1) * step;
  return [{ id: 'series', values, clock: { startSeconds, stepSeconds: step, timesIn } }];
}

/** Months between rows, where all are dates on the same day of a month and at the same time of it; null otherwise. */
function monthsApart(rows: readonly TimedRow[]): number | null {
  const placeOf = ({ seconds }: TimedRow) => new Date(seconds * 1_000).toISOString().slice(7);
  const [first] = rows;
  if (first === undefined || rows.length < 2) return null;
  const place = placeOf(first);
  // Later days are not in every month.
  const isSame = new Date(first.seconds * 1_000).getUTCDate() <= 28 && rows.every((row) => placeOf(row) === place);
  if (!isSame || !rows.every(({ isDate }) => isDate)) return null;
  const distances = rows.slice(1).map((row, i) => monthOf(row) - monthOf(rows[i] as TimedRow));
  const apart = distances.filter((distance) => distance > 0);
  return apart.length === 0 ? null : Math.min(...apart);
}

function monthOf({ seconds }: TimedRow): number {
  const date = new Date(seconds * 1_000);
  return 12 * date.getUTCFullYear() + date.getUTCMonth();
}

function inOrder(rows: readonly TimedRow[]): boolean {
  return rows.every((row, i) => i === 0 || row.seconds >= (rows[i - 1] as TimedRow).seconds);
}

function usualStep(rows: readonly TimedRow[]): number {
  const counts = new Map<number, number>();
  for (let i = 1; i < rows.length; i++) {
    const distance = round((rows[i] as TimedRow).seconds - (rows[i - 1] as TimedRow).seconds);
    if (distance <= 0) continue;
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
  if (rest.length === 0) return readValue(first) === undefined;
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
