/**
 * Two hosts in network namespaces, a real coordinator, a caller on one and what it calls on the other, whose agents are killed
 * in turns: calls-between-hosts FILE, in which it leaves what came of it. Run by runInOwnNetwork.
 */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { HostConnection } from '../../protocol/link.js';
import { NetHosts } from '../../scripts/lib/cluster/net-hosts.js';
import { CALLER_PORT, ledgerApp, type Outcomes, type Streams } from './ledger-app.js';

/** Set within the network namespace of the switch. */
export const IN_NETWORK = 'SHOAL_TEST_NETWORK';
/** For what takes seconds here: a machine for tests may be ten times slower. */
const PATIENCE_MS = 90_000;
/** More than can have been under way. */
const MORE = 100;
const KILLED = ['h1', 'h0'];

export interface CallsBetweenHosts {
  /** As each of the two hosts says, before anything was killed. */
  connections: HostConnection[];
  /** Of a stream from the other host, and of one to it. */
  streams: Streams;
  /** What became of all calls. */
  outcomes: Outcomes;
}

async function callWhileAgentsAreKilled(prefix: string): Promise<CallsBetweenHosts> {
  const all = await NetHosts.start(
    prefix,
    new Map([
      ['h0', []],
      ['h1', []],
    ]),
  );
  try {
    return await callOn(all);
  } finally {
    await all.close();
  }
}

async function callOn(all: NetHosts): Promise<CallsBetweenHosts> {
  const caller = (path: string) => all.get<Outcomes>('h0', CALLER_PORT, path);
  /** From now on: what was answered before says nothing of whether calls are answered still. */
  const untilAnswered = async (when: string): Promise<void> => {
    const before = await all.until(`the caller listens ${when}`, PATIENCE_MS, () => caller('/'));
    await all.until(`calls are answered ${when}`, PATIENCE_MS, async () => {
      const now = await caller('/');
      if (now.answered > before.answered + MORE) return;
      const connections = (await all.view('h0'))?.connections;
      throw new Error(`${before.answered} were: ${JSON.stringify({ ...now, connections })}`);
    });
  };

  await all.until('both hosts are there', PATIENCE_MS, async () => {
    for (const host of all.hosts.keys())
      if (!(await all.view(host))?.connected) throw new Error(`${host} is not connected`);
  });
  await all.ask('PUT', '/v1/apps/t', ledgerApp('h0', 'h1'));
  await all.until('the caller is there', PATIENCE_MS, () => caller('/start'));
  await untilAnswered('at first');
  const connections = [];
  for (const host of all.hosts.keys()) {
    const seen = await all.until(`${host} says by what it is connected`, PATIENCE_MS, async () => {
      const [connection] = (await all.view(host))?.connections ?? [];
      if (connection?.channels !== 1) throw new Error(JSON.stringify(connection));
      return connection;
    });
    connections.push(seen);
  }
  const streams = await all.get<CallsBetweenHosts['streams']>('h0', CALLER_PORT, '/streams');
  for (const killed of KILLED) {
    await all.killAgent(killed);
    all.startAgent(killed);
    await untilAnswered(`after the agent of ${killed} was killed`);
  }

  const outcomes = await all.until('all calls have ended', PATIENCE_MS, () => caller('/stop'));
  return { connections, streams, outcomes };
}

const prefix = process.env[IN_NETWORK];
const [, script = '', file = ''] = process.argv;
if (prefix !== undefined && resolve(script) === import.meta.filename) {
  await writeFile(file, JSON.stringify(await callWhileAgentsAreKilled(prefix)));
}
