/** The other process of scripts/lib/bench/fabric-js.ts. `ring-peer.js ring SPIN_MS [COUNT]`, or `ring-peer.js socket ADDRESS` */
import { createConnection } from 'node:net';
import { RingLink } from '../../../sdk/ring-link.js';

const [kind, first = '', count] = process.argv.slice(2);

if (kind === 'socket') {
  const socket = createConnection(first.startsWith('/') ? { path: first } : { port: Number(first), host: '127.0.0.1' });
  socket.setNoDelay(true);
  socket.on('data', (chunk) => socket.write(chunk));
} else {
  let left = Number(count ?? 1);
  const onRecord = (bytes: Uint8Array, offset: number, length: number) => {
    // Without a count each record is sent back, with one only the last.
    if (count !== undefined) left -= 1;
    if (count === undefined || left === 0) link.send(bytes.subarray(offset, offset + length));
  };
  const events = { onRecord, onRoom: () => {}, onClose: () => process.exit(0) };
  const link = new RingLink({ memory: 3, strike: 4, listen: 5 }, 1, events, Number(first));
}
