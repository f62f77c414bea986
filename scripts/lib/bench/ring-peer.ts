/**
 * The other process of scripts/lib/bench/fabric-js.ts. `ring-peer.js ring SPIN_MS [COUNT]`, `ring-peer.js call SPIN_MS`, or
 * `ring-peer.js socket ADDRESS`
 */
import { createConnection } from 'node:net';
import { RingLink } from '../../../native/ring-link.js';
import { Meter } from '../../../sdk/meter.js';
import { RingCarrier } from '../../../sdk/ring-carrier.js';
import { CallServer } from '../../../sdk/server.js';
import { ShardStore } from '../../../sdk/shard-store.js';
import { handedOver } from './handed-over.js';

const FDS = { memory: 3, strike: 4, listen: 5 };
const [kind, first = '', count] = process.argv.slice(2);

if (kind === 'socket') {
  const socket = createConnection(first.startsWith('/') ? { path: first } : { port: Number(first), host: '127.0.0.1' });
  socket.setNoDelay(true);
  socket.on('data', (chunk) => socket.write(chunk));
} else if (kind === 'call') {
  const noState = () => {
    throw new Error('this component has no state');
  };
  const server = new CallServer(new ShardStore(null), noState, new Meter());
  server.handle('echo', (body) => body);
  const broker = handedOver(undefined, () => process.exit(0));
  await new RingCarrier(broker, Number(first)).listen((channel) => server.accept(channel));
  broker.onOffer?.({ channel: 1, component: 'caller', instance: 'caller-0', fds: FDS });
} else {
  let left = Number(count ?? 1);
  const onRecord = (bytes: Uint8Array, offset: number, length: number) => {
    // Without a count each record is sent back, with one only the last.
    if (count !== undefined) left -= 1;
    if (count === undefined || left === 0) link.send(bytes.subarray(offset, offset + length));
  };
  const events = { onRecord, onRoom: () => {}, onClose: () => process.exit(0) };
  const link = new RingLink(FDS, 1, events, Number(first));
}
