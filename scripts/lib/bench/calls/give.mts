/** Hands descriptor 3 to who listens at a path: `give.mjs PATH KIND` */
import { native } from '../../../../native/index.js';

const [path = '', kind = ''] = process.argv.slice(2);
const packets = native.openPackets(
  native.dialPackets(path),
  () => {},
  () => packets.close(),
);
packets.send(Buffer.from(kind), [3]);
