import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';

/**
 * What is said over the connection of one command that runs in an instance, between who asked for it and the agent, in
 * frames as in frame.ts. The coordinator only carries it: who reads slowly slows the command down, and nobody else.
 */
export const EXEC_PROTOCOL = 'shoal-exec/1';

/** To the command: bytes of its standard input, and that there are no more. */
export type ToCommand = { type: 'input'; bytes: Uint8Array } | { type: 'end' };

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

/** Throws SHOAL_E_FRAME. */
export function readToCommand(message: unknown): ToCommand {
  const { type, bytes } = fieldsOf(message);
  if (type === 'end') return { type };
  if (type === 'input' && bytes instanceof Uint8Array) return { type, bytes };
  throw new ShoalError('SHOAL_E_FRAME', 'to a command there is input, and its end');
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
