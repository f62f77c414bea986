#!/usr/bin/env node
import { CommanderError } from 'commander';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { type Io, reportError } from './io.js';
import { createProgram } from './program.js';
import { choosePaint } from './render/paint.js';

const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;
const SIZE_WITHOUT_TERMINAL = { width: 120, height: 50 };

const interrupted = new AbortController();
let exitBySignal = 0;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // The second time the user means it: no more waiting for a graceful end.
    if (interrupted.signal.aborted) process.exit(EXIT_BY_SIGNAL[signal]);
    exitBySignal = EXIT_BY_SIGNAL[signal];
    interrupted.abort();
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever read has seen enough, as with `shoal logs | head`.
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const terminal = process.stdout.isTTY === true;
const io: Io = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  terminal,
  paint: choosePaint(terminal, process.env),
  size: () =>
    terminal && process.stdout.columns > 0
      ? { width: process.stdout.columns, height: process.stdout.rows }
      : SIZE_WITHOUT_TERMINAL,
};

const words = process.argv.slice(2);
const program = createProgram(io, interrupted.signal);
try {
  await program.parseAsync(words, { from: 'user' });
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  const json = words.includes('--json');
  if (error instanceof CommanderError) {
    // Help and version come as errors too, with exit code 0.
    if (error.exitCode === 0) return 0;
    if (error.code === 'commander.help' && !json) io.err(`${program.helpInformation()}\n`);
    return reportError(io, new ShoalError('SHOAL_E_USAGE', usageText(error)), json);
  }
  // The user knows that he interrupted it. A command that runs until interrupted returns without an error.
  if (exitBySignal !== 0 && toShoalError(error).code === 'SHOAL_E_CANCELLED') return exitBySignal;
  return reportError(io, error, json);
}

function usageText(error: CommanderError): string {
  if (error.code === 'commander.help') return 'say what to do; `shoal help` lists the commands';
  const text = error.message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '');
  return `${text}; see \`shoal help\``;
}
