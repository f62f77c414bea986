import { createServer, type Server, type Socket } from 'node:net';

const HEADER_BYTES = 4;
/** What may wait for a machine; beyond it frames are dropped, as by any switch. */
const QUEUE_BYTES_MAX = 4 * 2 ** 20;
/** A machine's MAC address is this and its number. */
const MAC_PREFIX = Buffer.from([0x52, 0x54, 0, 0, 0]);

export function macOf(number: number): string {
  return [...MAC_PREFIX, number].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * The network between the machines: an Ethernet switch in this process. Each machine's `-netdev stream` connects to a
 * Unix socket of its own; a frame is a length of 4 bytes, big-endian, and its bytes. Nothing of it is on any interface.
 */
export class Switch {
  readonly #ports = new Map<number, Socket>();
  readonly #servers: Server[] = [];

  /** Opens the port of a machine at the path of a Unix socket. */
  async open(number: number, path: string): Promise<void> {
    const server = createServer((socket) => this.#plugIn(number, socket));
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  }

  close(): void {
    for (const port of this.#ports.values()) port.destroy();
    for (const server of this.#servers) server.close();
  }

  #plugIn(number: number, socket: Socket): void {
    this.#ports.set(number, socket);
    let rest: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      rest = this.#forward(number, rest.length === 0 ? chunk : Buffer.concat([rest, chunk]));
    });
    socket.on('error', () => socket.destroy());
    // A machine that was booted anew may be there already.
    socket.on('close', () => this.#ports.get(number) === socket && this.#ports.delete(number));
  }

  /** Sends on every whole frame; answers what is left over. */
  #forward(from: number, bytes: Buffer): Buffer {
    let start = 0;
    while (bytes.length - start >= HEADER_BYTES) {
      const end = start + HEADER_BYTES + bytes.readUInt32BE(start);
      if (end > bytes.length) break;
      for (const port of this.#receivers(from, bytes.subarray(start + HEADER_BYTES, end))) {
        if (port.writableLength < QUEUE_BYTES_MAX) port.write(bytes.subarray(start, end));
      }
      start = end;
    }
    return bytes.subarray(start);
  }

  #receivers(from: number, frame: Buffer): Socket[] {
    if (frame.subarray(0, MAC_PREFIX.length).equals(MAC_PREFIX)) {
      const port = this.#ports.get(frame[MAC_PREFIX.length] as number);
      return port === undefined ? [] : [port];
    }
    return [...this.#ports].filter(([number]) => number !== from).map(([, port]) => port);
  }
}
