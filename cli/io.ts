import type { Readable, Writable } from 'node:stream';
import { toShoalError } from '../protocol/errors.js';
import type { Problem } from '../protocol/http.js';
import { ProblemError, problemOfCode } from './problem-error.js';
import type { Paint } from './render/paint.js';
import { clean, cleanLines, safeJson } from './render/text.js';

/** Where a command writes; a seam so that commands run in tests too. */
export interface Io {
  out: (text: string) => void;
  err: (text: string) => void;
  env: Readonly<Record<string, string | undefined>>;
  /** Standard output is a terminal. */
  terminal: boolean;
  paint: Paint;
  /** Columns and rows of the terminal, now. */
  size: () => { width: number; height: number };
  /** For what passes bytes on. */
  streams: { input: Readable; output: Writable; errors: Writable };
}

/** Columns that a table may take: those of the terminal. What another program reads is whole. */
export function tableWidth(io: Io): number {
  return io.terminal ? io.size().width : Number.POSITIVE_INFINITY;
}

export function printLines(io: Io, lines: readonly string[]): void {
  io.out(lines.map((line) => `${line}\n`).join(''));
}

/** One JSON document. */
export function printJson(io: Io, value: unknown): void {
  io.out(`${safeJson(value)}\n`);
}

/** One JSON document on one line, for streams. */
export function printJsonLine(io: Io, value: unknown): void {
  io.out(`${safeJson(value, 0)}\n`);
}

/** The error as the API would say it. */
export function problemOf(error: unknown): Problem {
  const shoal = toShoalError(error);
  return shoal instanceof ProblemError ? shoal.problem : problemOfCode(shoal.code, shoal.message);
}

/** Tells the user what went wrong; returns the exit code. */
export function reportError(io: Io, error: unknown, json: boolean): number {
  const shoal = toShoalError(error);
  const problem = problemOf(shoal);
  if (json) {
    io.err(`${safeJson(problem)}\n`);
    return shoal.exitCode;
  }
  io.err(`${io.paint.red('shoal:')} ${cleanLines(problem.detail)} (${clean(problem.code)})\n`);
  const file = shoal instanceof ProblemError ? shoal.file : undefined;
  for (const each of problem.errors ?? []) io.err(`${clean(faultLine(each, file))}\n`);
  if (shoal.code === 'SHOAL_E_INTERNAL' && shoal.cause instanceof Error && io.env.SHOAL_DEBUG) {
    io.err(`${cleanLines(shoal.cause.stack ?? '')}\n`);
  }
  return shoal.exitCode;
}

/**
 * `file:line:column: path: message`, as compilers print it, so that editors can jump there. Lines of a document that
 * only the server has seen are left out: they would be looked for in the user's file.
 */
function faultLine({ path, line, column, message }: NonNullable<Problem['errors']>[number], file?: string): string {
  const where = file === undefined ? '  ' : `${file}:${line ?? 1}:${column ?? 1}: `;
  return `${where}${path}: ${message}`;
}
