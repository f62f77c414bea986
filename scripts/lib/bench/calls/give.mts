/** Hands COUNT descriptors from 3 on to who listens at a path: `give.mjs PATH KIND COUNT` */
import { native } from '../../../../native/index.js';

const [path = '', kind = '', count = '1'] = process.argv.slice(2);
const packets = native.openPackets(
  native.dialPackets(path),
  () => {},
  () => packets.close(),
);
packets.send(
  Buffer.from(kind),
  Array.from({ length: Number(count) }, (_, i) => 3 + i),
);
