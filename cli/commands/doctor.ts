import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { ClusterView } from '../../protocol/http.js';
import { apiPath, type Client } from '../client.js';
import { type Io, printJson, printLines } from '../io.js';
import { type Finding, renderFindings } from '../render/doctor.js';
import { clientOf, examples, type GlobalOptions } from '../session.js';

const STORE_MS_MAX = 2_000;

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
      const options = command.optsWithGlobals<GlobalOptions>();
      const { json } = options;
      const findings = [...(await probe()), ...(await storeFindings(await clientOf(options)))];
      if (json) printJson(io, findings);
      else printLines(io, renderFindings(findings, io.paint));
      const missing = findings.filter((finding) => finding.required && !finding.met);
      if (missing.length > 0) {
        throw new ShoalError('SHOAL_E_HOST', `this host lacks ${missing.map((finding) => finding.what).join('; ')}`);
      }
    });
}

/** Of the coordinator's store; nothing where no coordinator answers, or does not answer to us. */
async function storeFindings(client: Client): Promise<Finding[]> {
  let view: Partial<ClusterView>;
  try {
    view = await client.json<Partial<ClusterView>>('GET', apiPath('cluster'), { timeoutMs: STORE_MS_MAX });
  } catch {
    return [];
  }
  const { store, role } = view;
  if (store === undefined) return [];
  return [
    {
      id: 'store',
      what: "the coordinator's store answers",
      met: store.reachable,
      required: false,
      found: `${store.engine}, ${store.detail}; the coordinator ${role}`,
      remedy: 'until it does, nothing is planned or changed: start etcd, or see what keeps this host from reaching it',
    },
  ];
}

/** Loaded here only: it brings the native addon with it, which no other command needs. */
async function probe(): Promise<Finding[]> {
  const { probeHost } = await import('../../agent/host-probe.js');
  return probeHost();
}
