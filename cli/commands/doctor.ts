import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import { type Io, printJson, printLines } from '../io.js';
import { type Finding, renderFindings } from '../render/doctor.js';
import { examples, type GlobalOptions } from '../session.js';

export function addDoctor(program: Command, io: Io): void {
  program
    .command('doctor')
    .summary('what this host has and lacks')
    .description('Look at everything Shoal needs on this host: whether it is met, what was found, and the remedy.')
    .addHelpText(
      'after',
      `${examples([
        ['shoal doctor', 'look at this host'],
        ['shoal doctor --json', 'the same, for a program to read'],
      ])}\n\nExit code 6 when something required is missing.`,
    )
    .action(async (_options: unknown, command: Command) => {
      const { json } = command.optsWithGlobals<GlobalOptions>();
      const findings = await probe();
      if (json) printJson(io, findings);
      else printLines(io, renderFindings(findings, io.paint));
      const missing = findings.filter((finding) => finding.required && !finding.met);
      if (missing.length > 0) {
        throw new ShoalError('SHOAL_E_HOST', `this host lacks ${missing.map((finding) => finding.what).join('; ')}`);
      }
    });
}

/** Loaded here only: it brings the native addon with it, which no other command needs. */
async function probe(): Promise<Finding[]> {
  const { probeHost } = await import('../../agent/host-probe.js');
  return probeHost();
}
