import type { Paint } from './paint.js';
import { clean, pad } from './text.js';
import { formatClock } from './units.js';

const LEVELS: Record<number, string> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };
/** Fields of every pino line that tell a reader nothing here. */
const DULL = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg']);
const NAME_COLUMNS = 11;

/** A line of a child's log with the child's name before it; pino's JSON made readable, all else as it is. */
export function renderLogLine(name: string, line: string, paint: Paint): string {
  const label = paint.cyan(`${pad(name, NAME_COLUMNS)} | `);
  const record = readRecord(line);
  if (record === null) return `${label}${clean(line)}`;
  const level = LEVELS[Number(record.level)] ?? String(record.level);
  const more = Object.entries(record)
    .filter(([key]) => !DULL.has(key))
    .map(([key, value]) => `${key}=${shortValue(value)}`);
  const shade = level === 'warn' ? paint.yellow : level === 'error' || level === 'fatal' ? paint.red : paint.dim;
  const text = [String(record.msg ?? ''), ...more].filter((part) => part !== '').join('  ');
  return `${label}${formatClock(Number(record.time))} ${shade(pad(clean(level), 5))} ${clean(text)}`;
}

function shortValue(value: unknown): string {
  // pino's form of an error: its stack is for the JSON form.
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function readRecord(line: string): Record<string, unknown> | null {
  if (!line.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'level' in value ? { ...value } : null;
  } catch {
    // A line that only looks like JSON is printed as it is.
    return null;
  }
}
