/** Rows of numbers as people's tools write them: their fields, times and values. Pure. */

/** How numbers of time are to be read; `dates` are ISO 8601. */
export type TimesIn = 'seconds' | 'milliseconds' | 'microseconds' | 'nanoseconds' | 'dates';

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const DATE = /^\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?$/;
const GAP_WORDS = new Set(['', 'na', 'nan', 'null']);
const SEPARATORS = [',', ';', '\t'];
const QUOTED = /^\s*"((?:[^"]|"")*)"\s*$/;
/** Times above each are in that unit: in the one before they would be past the year 5000. */
const UNITS: readonly [above: number, timesIn: TimesIn][] = [
  [1e17, 'nanoseconds'],
  [1e14, 'microseconds'],
  [1e11, 'milliseconds'],
];
const PER_SECOND: Record<TimesIn, number> = {
  seconds: 1,
  dates: 1,
  milliseconds: 1e3,
  microseconds: 1e6,
  nanoseconds: 1e9,
};

/**
 * Takes a file's lines in order and gives the fields of each; null for lines that hold no row: empty ones, and comments
 * after `#`. The separator is that of the first row: comma, semicolon or tab. Empty fields at the end beyond the second are
 * left out, since many tools end each line with a separator.
 */
export function createFieldReader(): (line: string) => string[] | null {
  let separator: string | null = null;
  let isFirst = true;
  return (given) => {
    const line = isFirst ? given.replace(/^\uFEFF/, '') : given;
    isFirst = false;
    const text = line.trim();
    if (text === '' || text.startsWith('#')) return null;
    separator ??= SEPARATORS.find((each) => line.includes(each)) ?? ',';
    const fields = split(line, separator);
    while (fields.length > 2 && fields.at(-1) === '') fields.pop();
    return fields;
  };
}

/** Separators between quotes part nothing. */
function split(line: string, separator: string): string[] {
  const parts = line.split(separator);
  if (!line.includes('"')) return parts.map((part) => part.trim());
  const fields: string[] = [];
  let open: string | null = null;
  for (const part of parts) {
    const field: string = open === null ? part : `${open}${separator}${part}`;
    // Quotes within quotes are doubled, so that a whole field has an even number of them.
    const isWhole = (field.split('"').length - 1) % 2 === 0;
    open = isWhole ? null : field;
    if (isWhole) fields.push(unquote(field));
  }
  if (open !== null) fields.push(open.trim());
  return fields;
}

function unquote(field: string): string {
  const inside = QUOTED.exec(field)?.[1];
  return inside === undefined ? field.trim() : inside.replaceAll('""', '"').trim();
}

/** Null for a gap, undefined when it is no value. */
export function readValue(text: string): number | null | undefined {
  if (GAP_WORDS.has(text.toLowerCase())) return null;
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : undefined;
}

/** Why a line can be no row, with the remedy; null when it may be one. */
export function lineFault(line: string): string | null {
  if (line.includes('\0')) return 'is no text in UTF-8; save the file as such';
  if (line.trimEnd().includes('\r'))
    return 'has a carriage return in the middle; save the file with line ends of Unix or Windows';
  return null;
}

/** Why it is no value and what to write instead, for a message after the text itself. `gap` is how a gap is written. */
export function valueFault(text: string, gap: string): string {
  if (/^[+-]?[\d.]+,[\d,]*$/.test(text)) return 'has a comma in the number; write it as 1234.5';
  return `is no number; ${gap} for a gap`;
}

/** Null when it is no time. Seconds of a date, in UTC where it has no zone; a number as it stands (`timesIn` says its unit). */
export function readTime(text: string): { at: number; isDate: boolean } | null {
  if (NUMBER.test(text)) return Number.isFinite(Number(text)) ? { at: Number(text), isDate: false } : null;
  if (!DATE.test(text)) return null;
  const iso = text.replace(' ', 'T');
  const zoned = /(Z|[+-]\d{2}:?\d{2})$/.test(iso) || !iso.includes('T') ? iso : `${iso}Z`;
  const ms = Date.parse(zoned);
  return Number.isNaN(ms) ? null : { at: ms / 1_000, isDate: true };
}

/** The unit of a file's times, by the least of them. */
export function timesIn(times: readonly { at: number; isDate: boolean }[]): TimesIn {
  let least = Number.POSITIVE_INFINITY;
  for (const { at, isDate } of times) {
    if (isDate) return 'dates';
    least = Math.min(least, Math.abs(at));
  }
  return UNITS.find(([above]) => least > above && least < Number.POSITIVE_INFINITY)?.[1] ?? 'seconds';
}

export function perSecond(unit: TimesIn): number {
  return PER_SECOND[unit];
}
