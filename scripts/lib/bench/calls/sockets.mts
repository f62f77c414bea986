/** Sockets that the benchmark hands into a container, since containers have no network that they share. */
const NATIVE = '/node_modules/shoal/dist/native/index.js';
const { native } = (await import(NATIVE)) as typeof import('../../../../native/index.js');

const PATH = '/run/shoal/bench.packets';

/** `take` is given each socket and what it is for; it is its to close. */
export function takeSockets(take: (kind: string, fd: number) => void): void {
  native.listenPackets(PATH, (socket) => {
    const packets = native.openPackets(
      socket,
      (bytes, [fd]) => {
        packets.close();
        if (fd !== undefined) take(bytes.toString(), fd);
      },
      () => packets.close(),
    );
  });
}
