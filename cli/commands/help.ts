import type { Command } from 'commander';
import { ERRORS, ShoalError } from '../../protocol/errors.js';
import { type Io, printJson, printLines } from '../io.js';
import { renderTable } from '../render/table.js';
import { examples, type GlobalOptions } from '../session.js';

/** What each exit code means. docs/cli.md holds the same list; a test compares the two. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done'],
  [1, 'something unexpected failed, or a deadline passed'],
  [2, 'wrong usage or input'],
  [3, 'no such thing'],
  [4, 'refused: a conflict with the present state, or no valid token'],
  [5, 'the coordinator cannot be reached'],
  [6, 'this host lacks something that is required'],
  [130, 'interrupted by SIGINT (Ctrl-C) before it was done'],
  [143, 'stopped by SIGTERM before it was done'],
];

const TOPIC = 'exit-codes';

export function addHelp(program: Command, io: Io): void {
  program
    .command('help')
    .summary('help for a command, or exit-codes')
    .description(`Print the help of a command, or with ${TOPIC} what each exit code means.`)
    .argument('[topic]', `a command, or ${TOPIC}`)
    .addHelpText(
      'after',
      examples([
        ['shoal help apply', 'options and examples of apply'],
        ['shoal help exit-codes', 'for scripts'],
      ]),
    )
    .action((topic: string | undefined, _options: unknown, command: Command) => {
      const { json } = command.optsWithGlobals<GlobalOptions>();
      if (topic === TOPIC) {
        if (json) printJson(io, exitCodes());
        else printLines(io, renderExitCodes());
        return;
      }
      const about = topic === undefined ? program : program.commands.find((each) => each.name() === topic);
      if (about === undefined) {
        throw new ShoalError('SHOAL_E_USAGE', `no help on "${topic}"; \`shoal help\` lists the commands`);
      }
      about.outputHelp();
    });
}

interface ExitCode {
  code: number;
  meaning: string;
  /** Errors that end with it. */
  errors: string[];
}

export function exitCodes(): ExitCode[] {
  return EXIT_CODES.map(([code, meaning]) => ({
    code,
    meaning,
    errors: Object.entries(ERRORS)
      .filter(([, error]) => error.exitCode === code)
      .map(([name]) => name),
  }));
}

function renderExitCodes(): string[] {
  return renderTable(exitCodes(), [
    { title: 'CODE', value: (each) => String(each.code), align: 'right' },
    { title: 'MEANING', value: (each) => each.meaning },
    { title: 'ERRORS', value: (each) => each.errors.join(' ') },
  ]);
}
