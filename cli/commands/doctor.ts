import type { Command } from 'commander';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import type { ClusterView, HostView } from '../../protocol/http.js';
import { apiPath, type Client } from '../client.js';
import { connectionFindings } from '../fabric-findings.js';
import { type Io, printJson, printLines } from '../io.js';
import { type Finding, renderFindings } from '../render/doctor.js';
import { clientOf, examples, type GlobalOptions } from '../session.js';

const ANSWER_MS_MAX = 2_000;

interface DoctorOptions extends GlobalOptions {
  fabric?: boolean;
}

export function addDoctor(program: Command, io: Io): void {
  program
    .command('doctor')
    .summary('what this host has and lacks')
    .description('Look at everything Shoal needs on this host: whether it is met, what was found, and the remedy.')
    .option('--fabric', 'only what calls between instances need here, and what carries them between hosts, and why')
    .addHelpText(
      'after',
      `${examples([
        ['shoal doctor', 'look at this host'],
        ['shoal doctor --json', 'the same, for a program to read'],
        ['shoal doctor --fabric', 'by TCP or by RDMA, encrypted or not, for each pair of hosts, with the reason'],
      ])}\n\nExit code 6 when something required is missing.`,
    )
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<DoctorOptions>();
      const { json, fabric = false } = options;
      const client = await clientOf(options);
      // Loaded here only: it brings the native addon with it, which no other command needs.
      const { probeFabric, probeHost } = await import('../../agent/host-probe.js');
      const findings = fabric
        ? [...probeFabric(), ...(await connections(client))]
        : [...(await probeHost()), ...(await storeFindings(client))];
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
    view = await client.json<Partial<ClusterView>>('GET', apiPath('cluster'), { timeoutMs: ANSWER_MS_MAX });
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

/** Of the connections between the cluster's hosts. */
async function connections(client: Client): Promise<Finding[]> {
  let hosts: HostView[];
  try {
    hosts = await client.list<HostView>(apiPath('hosts'), { timeoutMs: ANSWER_MS_MAX });
  } catch (error) {
    return [
      {
        id: 'connections',
        what: 'connections between hosts',
        met: false,
        required: false,
        found: `not known: ${toShoalError(error).message}`,
        remedy: 'start the coordinator, or say where it is and who asks: --server, --token-file, --ca',
      },
    ];
  }
  return connectionFindings(hosts);
}
