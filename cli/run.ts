import { CommanderError } from 'commander';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { EndedWith } from './ended-with.js';
import { type Io, reportError } from './io.js';
import { createProgram } from './program.js';

/** How a run can be interrupted: the signal that aborts it, and the exit code that this then has. */
export interface Interruption {
  signal: AbortSignal;
  exitCode: () => number;
}

/** Runs the command that the words say; answers its exit code. What goes wrong is told through `io`. */
export async function runCommand(words: readonly string[], io: Io, interruption: Interruption): Promise<number> {
  const program = createProgram(io, interruption.signal);
  try {
    await program.parseAsync(words, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof EndedWith) return error.exitCode;
    const json = words.includes('--json');
    if (error instanceof CommanderError) {
      // Help and version come as errors too, with exit code 0.
      if (error.exitCode === 0) return 0;
      if (error.code === 'commander.help' && !json) io.err(`${program.helpInformation()}\n`);
      return reportError(io, new ShoalError('SHOAL_E_USAGE', usageText(error)), json);
    }
    // The user knows that he interrupted it. A command that runs until interrupted returns without an error.
    if (interruption.signal.aborted && toShoalError(error).code === 'SHOAL_E_CANCELLED') return interruption.exitCode();
    return reportError(io, error, json);
  }
}

function usageText(error: CommanderError): string {
  if (error.code === 'commander.help') return 'say what to do; `shoal help` lists the commands';
  const text = error.message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '');
  return `${text}; see \`shoal help\``;
}
