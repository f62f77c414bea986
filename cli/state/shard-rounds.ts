import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, ShoalError, toShoalError } from '../../protocol/errors.js';
import type { ComponentView, ShardView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import type { ComponentName, Session } from '../session.js';
import { StateConnection, type StateTask } from './state-connection.js';

/** Shards may be on their way, hosts away, owners start: given up when nothing came of it for so long. */
const PATIENCE_MS = 60_000;
const PAUSE_MS = 500;

/** What passes by itself. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'SHOAL_E_SHARD_MOVED',
  'SHOAL_E_PEER_DIED',
  'SHOAL_E_UNREACHABLE',
  'SHOAL_E_DEADLINE',
  'SHOAL_E_CONFLICT',
  'SHOAL_E_OVERLOADED',
  'SHOAL_E_NOT_LEADER',
]);

export function componentView({ client, signal }: Session, { app, component }: ComponentName): Promise<ComponentView> {
  return client.json('GET', apiPath('apps', app, 'components', component), { signal });
}

/** Throws SHOAL_E_STATE_MODE for a component without state shards. */
export function shardsIn({ shards }: ComponentView, { app, component }: ComponentName): ShardView[] {
  if (shards !== null) return shards;
  const remedy = 'give it `state: partitioned` in the manifest';
  throw new ShoalError('SHOAL_E_STATE_MODE', `${app}/${component} keeps no state in state shards: ${remedy}`);
}

export async function shardsOf(session: Session, of: ComponentName): Promise<ShardView[]> {
  return shardsIn(await componentView(session, of), of);
}

/**
 * Does something with shards at their owners, wherever these are, and again with those of which nothing came: `work` gets a
 * connection to a host and shards that it owns, and answers for each whether it is done or why it is not. Throws what does
 * not pass by itself.
 */
export async function eachOwner(
  session: Session,
  task: StateTask,
  shards: readonly number[],
  work: (connection: StateConnection, shards: readonly number[]) => Promise<Map<number, ShoalError | null>>,
): Promise<void> {
  let left = [...shards];
  let deadline = performance.now() + PATIENCE_MS;
  while (left.length > 0) {
    const before = left.length;
    let why = 'no host owns it now';
    for (const [host, owned] of byHost(await shardsOf(session, task), left)) {
      const results = await at(session, task, host, owned, work);
      for (const [shard, error] of results) {
        if (error === null) left = left.filter((each) => each !== shard);
        else why = `${host}: ${error.message}`;
        if (error !== null && !PASSING.has(error.code)) throw error;
      }
    }
    if (left.length === 0) return;
    if (left.length < before) deadline = performance.now() + PATIENCE_MS;
    if (performance.now() > deadline) {
      const what = `${left.length} state shards could not be reached, the first of them ${left[0]}: ${why}`;
      throw new ShoalError('SHOAL_E_DEADLINE', `${what}; given up after ${PATIENCE_MS / 1_000} s`);
    }
    if (left.length === before) await sleep(PAUSE_MS, undefined, { signal: session.signal }).catch(interrupted);
  }
}

async function at(
  { client, signal }: Session,
  task: StateTask,
  host: string,
  shards: readonly number[],
  work: (connection: StateConnection, shards: readonly number[]) => Promise<Map<number, ShoalError | null>>,
): Promise<Map<number, ShoalError | null>> {
  try {
    const connection = await StateConnection.open(client, task, host, signal);
    try {
      return await work(connection, shards);
    } finally {
      connection.close();
    }
  } catch (cause) {
    if (signal.aborted) throw interrupted();
    const error = toShoalError(cause);
    if (!PASSING.has(error.code)) throw error;
    return new Map(shards.map((shard) => [shard, error]));
  }
}

function byHost(views: readonly ShardView[], shards: readonly number[]): Map<string, number[]> {
  const hosts = new Map<string, number[]>();
  for (const shard of shards) {
    const view = views[shard];
    const host = view?.copies?.owner ?? view?.holds?.host;
    if (host === undefined) continue;
    hosts.set(host, [...(hosts.get(host) ?? []), shard]);
  }
  return hosts;
}

function interrupted(): never {
  throw new ShoalError('SHOAL_E_CANCELLED', 'interrupted');
}
