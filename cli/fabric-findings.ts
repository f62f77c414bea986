import type { HostView } from '../protocol/http.js';
import type { HostConnection } from '../protocol/link.js';
import type { Finding } from './render/doctor.js';

const REMEDY =
  'see that the address of --fabric of each of the two is one that the other reaches, and that firewalls let its port and the next one through';

interface Seen {
  by: string;
  connection: HostConnection;
}

/** For each pair of hosts that have to do with each other: what carries their calls, and why. */
export function connectionFindings(hosts: readonly HostView[]): Finding[] {
  const pairs = new Map<string, { ends: string[]; seen: Seen[] }>();
  for (const { name, connected, connections = [] } of hosts) {
    // What a host said before it went away is not so any more.
    if (!connected) continue;
    for (const connection of connections) {
      const ends = [name, connection.host].sort();
      const key = JSON.stringify(ends);
      const pair = pairs.get(key) ?? { ends, seen: [] };
      pair.seen.push({ by: name, connection });
      pairs.set(key, pair);
    }
  }
  return [...pairs.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { ends, seen }]) => ofPair(ends, seen));
}

function ofPair(ends: readonly string[], seen: readonly Seen[]): Finding {
  // The host whose name is smaller chooses; but who says that nothing is carried is the one to hear.
  const sorted = [...seen].sort((a, b) => (a.by < b.by ? -1 : 1));
  const { by, connection } = sorted.find((each) => each.connection.carrier === 'none') ?? (sorted[0] as Seen);
  const { carrier, encrypted = false, channels, reason } = connection;
  const what = `${carrier}, ${encrypted ? 'encrypted' : 'not encrypted'}, channels: ${channels}`;
  const met = carrier !== 'none';
  return {
    id: `connection:${ends.join(':')}`,
    what: `calls between ${ends.join(' and ')}`,
    met,
    required: false,
    found: `${met ? what : 'nothing is carried'}; ${by} says: ${reason}`,
    remedy: REMEDY,
  };
}
