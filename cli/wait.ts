import { ShoalError } from '../protocol/errors.js';
import type { ComponentView, InstanceView } from '../protocol/http.js';
import { pause } from '../protocol/pause.js';
import { apiPath } from './client.js';
import { clean } from './render/text.js';
import { exitText } from './render/top.js';
import type { Session } from './session.js';

const POLL_MS = 200;

/** Waits until every component has as many ready instances as it shall have and its host ports listen, `seconds` at most. */
export async function waitUntilReady(session: Session, app: string, seconds: number): Promise<void> {
  const deadlineMs = performance.now() + seconds * 1_000;
  let told = '';
  for (;;) {
    const components = await session.client.list<ComponentView>(apiPath('apps', app, 'components'), {
      signal: session.signal,
    });
    const status = components.flatMap(missingOf).join(', ');
    if (status === '') return;
    if (status !== told && !session.json) session.io.err(`waiting for ${clean(status)}\n`);
    told = status;
    if (performance.now() >= deadlineMs) throw await notReady(session, app, seconds, status);
    await pause(POLL_MS, session.signal);
    if (session.signal.aborted) throw new ShoalError('SHOAL_E_CANCELLED', 'interrupted while waiting');
  }
}

/** What the component still lacks. */
function missingOf({ component, count, ports }: ComponentView): string[] {
  const instances =
    count.ready < Math.max(count.desired, count.min) ? [`${component} ${count.ready}/${count.desired}`] : [];
  const silent = ports.filter(({ missingOn }) => missingOn.length > 0);
  return [
    ...instances,
    ...silent.map(({ host, missingOn }) => `port ${host} of ${component} on ${missingOn.join(', ')}`),
  ];
}

/** Says what the instances that are not ready do, since that is what the user has to look at. */
async function notReady({ client }: Session, app: string, seconds: number, status: string): Promise<ShoalError> {
  const query = new URLSearchParams({ app });
  const instances = await client.list<InstanceView>(`${apiPath('instances')}?${query}`);
  const lines = instances
    .filter((each) => each.phase !== 'ready')
    .map((each) => `  ${each.id}: ${each.phase}, last exit ${exitText(each)}; see \`shoal logs ${each.id}\``);
  return new ShoalError('SHOAL_E_DEADLINE', [`not ready within ${seconds} s: ${status}`, ...lines].join('\n'));
}
