import type { HostView, ShardView } from '../../protocol/http.js';
import { formatBytes } from './units.js';

const WAYS = { rdma: 'RDMA', link: 'the link between the agents' } as const;

/** By what hosts with copies of the state shards send each other hand-overs and writes, and why. */
export function copyWays(shards: readonly ShardView[], hosts: readonly HostView[]): string[] {
  const holders = new Set(
    shards.flatMap(({ copies }) => (copies === null ? [] : [...copies.inSync, ...copies.joining])),
  );
  const ways = new Map<string, { text: string; reason: string; pairs: string[] }>();
  for (const { name, connected, connections = [] } of hosts) {
    // What a host said before it went away is not so any more.
    if (!connected || !holders.has(name)) continue;
    for (const { host, copies } of connections) {
      if (copies === undefined || !holders.has(host)) continue;
      const { by, reason, rdmaBytes } = copies;
      const way = ways.get(`${by} ${reason}`) ?? { text: WAYS[by], reason, pairs: [] };
      way.pairs.push(`${name} to ${host}${rdmaBytes === 0 ? '' : ` (${formatBytes(rdmaBytes)} by RDMA so far)`}`);
      ways.set(`${by} ${reason}`, way);
    }
  }
  return [...ways.values()].map(({ text, reason, pairs }) => `copies go by ${text}: ${pairs.join(', ')}: ${reason}`);
}

/** Whether there is more than one host to ask about. */
export function isCopied(shards: readonly ShardView[]): boolean {
  return shards.some(({ copies }) => copies !== null && copies.inSync.length + copies.joining.length > 1);
}
