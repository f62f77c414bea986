import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';

/**
 * What is said over the connection of one command that runs in an instance, between who asked for it and the agent, in
 * frames as in frame.ts. The coordinator only carries it: who reads slowly slows the command down, and nobody else.
 */
export const EXEC_PROTOCOL = 'shoal-exec/1';

/** Of a terminal, in characters. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** To the command: bytes of its standard input, that there are no more, and the size that its terminal has now. */
export type ToCommand = { type: 'input'; bytes: Uint8Array } | { type: 'end' } | ({ type: 'size' } & TerminalSize);

/** How a command has ended: by itself with a code, or by a signal such as SIGKILL. */
export interface CommandEnd {
  type: 'ended';
  code: number | null;
  signal: string | null;
}

export type FromCommand = { type: 'output'; stream: 'stdout' | 'stderr'; bytes: Uint8Array } | CommandEnd;

/** Of a command: its words, and the bytes of them all. */
export function isCommand(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > LIMITS.execWordsMax) return false;
  if (!value.every((word) => typeof word === 'string' && !word.includes('\0'))) return false;
  return value[0] !== '' && value.reduce((sum, word) => sum + Buffer.byteLength(word), 0) <= LIMITS.execCommandBytesMax;
}

/** As the kernel can hold it (ioctl_tty(2), struct winsize). */
export function isTerminalSize(value: unknown): value is TerminalSize {
  const { columns, rows } = fieldsOf(value);
  return [columns, rows].every((side) => Number.isInteger(side) && Number(side) >= 1 && Number(side) <= 65_535);
}

/** COLUMNSxROWS, such as 80x24. */
export function formatTerminalSize({ columns, rows }: TerminalSize): string {
  return `${columns}x${rows}`;
}

/** Null: it is no size of a terminal. */
export function parseTerminalSize(text: string): TerminalSize | null {
  const [, columns, rows] = /^(\d{1,5})x(\d{1,5})$/.exec(text) ?? [];
  const size = { columns: Number(columns), rows: Number(rows) };
  return isTerminalSize(size) ? size : null;
}

/** Throws SHOAL_E_FRAME. */
export function readToCommand(message: unknown): ToCommand {
  const { type, bytes } = fieldsOf(message);
  if (type === 'size' && isTerminalSize(message)) return { type, columns: message.columns, rows: message.rows };
  if (type === 'end') return { type };
  if (type === 'input' && bytes instanceof Uint8Array) return { type, bytes };
  throw new ShoalError('SHOAL_E_FRAME', 'to a command there is input, its end, and the size of its terminal');
}

/** Throws SHOAL_E_FRAME. */
export function readFromCommand(message: unknown): FromCommand {
  const { type, bytes, stream, code, signal } = fieldsOf(message);
  if (type === 'output' && (stream === 'stdout' || stream === 'stderr') && bytes instanceof Uint8Array) {
    return { type, stream, bytes };
  }
  const isCode = code === null || (typeof code === 'number' && Number.isInteger(code) && code >= 0 && code <= 255);
  const isSignal = signal === null || (typeof signal === 'string' && /^SIG[A-Z0-9]{1,10}$/.test(signal));
  if (type === 'ended' && isCode && isSignal) return { type, code, signal };
  throw new ShoalError('SHOAL_E_FRAME', 'from a command there is output, and how it has ended');
}

function fieldsOf(message: unknown): Partial<Record<string, unknown>> {
  return typeof message === 'object' && message !== null ? { ...message } : {};
}
