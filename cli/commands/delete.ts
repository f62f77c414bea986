import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import { pause } from '../../protocol/pause.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { clean } from '../render/text.js';
import { examples, type OpenSession, parseWhole, type Session } from '../session.js';
import { fetchHosts, fetchInstances } from './get.js';

const WAIT_SECONDS_DEFAULT = '60';
const WAIT_SECONDS_MAX = 86_400;
const POLL_MS = 200;

export function addDelete(program: Command, open: OpenSession): void {
  program
    .command('delete')
    .summary('remove an app and its instances')
    .description('Remove an app. Its instances are drained, then stopped; their state is gone.')
    .argument('<app>', 'name of the app')
    .option('--wait [seconds]', `wait until its last instance is gone (default ${WAIT_SECONDS_DEFAULT})`)
    .addHelpText(
      'after',
      examples([
        ['shoal delete search', 'remove the app'],
        ['shoal delete search --wait 30', 'and wait 30 seconds at most until nothing of it runs'],
      ]),
    )
    .action(async (app: string, { wait }: { wait?: string | true }, command: Command) => {
      const waitSeconds =
        wait === undefined ? 0 : parseWhole(wait === true ? WAIT_SECONDS_DEFAULT : wait, '--wait', 1, WAIT_SECONDS_MAX);
      const session = await open(command);
      const running = waitSeconds > 0 ? await fetchInstances(session, { app }) : [];
      await session.client.text('DELETE', apiPath('apps', app), { signal: session.signal });
      if (waitSeconds > 0) await waitUntilGone(session, app, new Set(running.map(({ host }) => host)), waitSeconds);
      if (session.json) printJson(session.io, { app, deleted: true, gone: waitSeconds > 0 });
      else printLines(session.io, [clean(waitSeconds > 0 ? `${app} is gone` : `${app} deleted`)]);
    });
}

async function waitUntilGone(
  session: Session,
  app: string,
  hosts: ReadonlySet<string>,
  seconds: number,
): Promise<void> {
  const deadlineMs = performance.now() + seconds * 1_000;
  for (;;) {
    // Before the instances: those of a host that a new leader has not heard of yet are not among them.
    const unheard = hosts.size === 0 ? [] : await unheardOf(session, hosts);
    const left = await fetchInstances(session, { app });
    if (left.length === 0 && unheard.length === 0) return;
    if (performance.now() >= deadlineMs) {
      const names = [
        ...left.map((each) => `${each.id} (${each.phase})`),
        ...unheard.map((host) => `what runs on ${host}, which is not connected and ends it when it is back`),
      ].join(', ');
      throw new ShoalError('SHOAL_E_DEADLINE', `deleted, but within ${seconds} s these did not go: ${names}`);
    }
    await pause(POLL_MS, session.signal);
    if (session.signal.aborted) throw new ShoalError('SHOAL_E_CANCELLED', 'interrupted while waiting');
  }
}

/** Those that are not connected, or have not said yet what runs on them. */
async function unheardOf(session: Session, hosts: ReadonlySet<string>): Promise<string[]> {
  const views = await fetchHosts(session);
  const heard = new Set(views.filter((each) => each.connected && each.reported !== false).map(({ name }) => name));
  return [...hosts].filter((host) => !heard.has(host));
}
