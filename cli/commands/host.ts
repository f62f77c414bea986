import type { Command } from 'commander';
import type { HostView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession } from '../session.js';

interface Verb {
  name: string;
  summary: string;
  /** Null: takes the cordon away. */
  body: { drain: boolean } | null;
  done: string;
}

const VERBS: readonly Verb[] = [
  {
    name: 'drain',
    summary: 'bring the instances of a host elsewhere, as for its maintenance',
    body: { drain: true },
    done: 'is drained: its instances leave as soon as others are ready elsewhere',
  },
  {
    name: 'cordon',
    summary: 'keep new instances off a host',
    body: { drain: false },
    done: 'keeps what it has and gets no new instances',
  },
  { name: 'uncordon', summary: 'open a host again', body: null, done: 'is open again' },
];

export function addHost(program: Command, open: OpenSession): void {
  const host = program
    .command('host')
    .summary('drain, cordon, uncordon or forget a host')
    .description('Say what a host may be used for. `shoal get hosts` shows it.')
    .addHelpText(
      'after',
      examples([
        ['shoal host drain rack1-7', 'before its maintenance'],
        ['shoal host uncordon rack1-7', 'afterwards'],
      ]),
    );
  host
    .command('forget')
    .summary('make the certificates of a host void')
    .description(
      'Make all certificates of a host void, as when its key was stolen. Its name may join again by a token.',
    )
    .argument('<host>', 'name of the host')
    .action(async (given: string, _options: unknown, command: Command) => {
      const { client, signal, json, io } = await open(command);
      await client.text('DELETE', apiPath('hosts', given, 'certificate'), { signal });
      if (json) printJson(io, { host: given, forgotten: true });
      else printLines(io, [clean(`the certificates of ${given} are void`)]);
    });
  for (const { name, summary, body, done } of VERBS) {
    host
      .command(name)
      .summary(summary)
      .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
      .argument('<host>', 'name of the host')
      .action(async (given: string, _options: unknown, command: Command) => {
        const { client, signal, json, io } = await open(command);
        const path = apiPath('hosts', given);
        if (body === null) await client.text('DELETE', `${path}/cordon`, { signal });
        else await client.text('PUT', `${path}/cordon`, { signal, body });
        if (json) printJson(io, await client.json<HostView>('GET', path, { signal }));
        else printLines(io, [clean(`${given} ${done}`)]);
      });
  }
}
