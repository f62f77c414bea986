/** A process that sends back what comes over the channel in its descriptors 3 to 5. `node ring-echo.js SPIN_MS` */
import { RingLink } from '../../native/ring-link.js';

const waiting: Uint8Array[] = [];

function flush(): void {
  for (let record = waiting[0]; record !== undefined && link.send(record); record = waiting[0]) waiting.shift();
}

const link = new RingLink(
  { memory: 3, strike: 4, listen: 5 },
  1,
  {
    onRecord(bytes, offset, length) {
      const record = bytes.subarray(offset, offset + length);
      if (waiting.length > 0 || !link.send(record)) waiting.push(record.slice());
    },
    onRoom: flush,
    onClose: (error) => process.exit(error === undefined ? 0 : 1),
  },
  Number(process.argv[2]),
);
