/** What the benchmark hands into a container, since containers have no network that they share: sockets, and ends of rings. */
const SHOAL = '/node_modules/shoal';
const { native } = (await import(`${SHOAL}/dist/native/index.js`)) as typeof import('../../../../native/index.js');
const ring = (await import(`${SHOAL}/dist/native/ring-link.js`)) as typeof import('../../../../native/ring-link.js');

const PATH = '/run/shoal/bench.packets';

export type Link = InstanceType<typeof ring.RingLink>;

export function openRing(
  fds: readonly number[],
  side: 0 | 1,
  onRecord: (link: Link, record: Uint8Array) => void,
): Link {
  const [memory, strike, listen] = fds as [number, number, number];
  const link: Link = new ring.RingLink({ memory, strike, listen }, side, {
    onRecord: (bytes, offset, length) => onRecord(link, bytes.subarray(offset, offset + length)),
    onRoom: () => {},
    onClose: () => {},
  });
  return link;
}

/** `take` is given each socket, or the three descriptors of a ring, and what it is for; they are its to close. */
export function takeSockets(take: (kind: string, fds: number[]) => void): void {
  native.listenPackets(PATH, (socket) => {
    const packets = native.openPackets(
      socket,
      (bytes, fds) => {
        packets.close();
        take(bytes.toString(), fds);
      },
      () => packets.close(),
    );
  });
}
