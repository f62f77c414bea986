#!/usr/bin/env node
import type { Io } from './io.js';
import { choosePaint } from './render/paint.js';
import { runCommand } from './run.js';

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
  // Opened only when it is read.
  streams: {
    get input() {
      return process.stdin;
    },
    output: process.stdout,
    errors: process.stderr,
  },
};

process.exitCode = await runCommand(process.argv.slice(2), io, {
  signal: interrupted.signal,
  exitCode: () => exitBySignal,
});
