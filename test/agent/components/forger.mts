import { createServer } from 'node:http';
import { connect, ShoalError } from 'shoal/sdk';

/**
 * An instance that is up to no good: `GET /?component=…&instance=…` asks the agent for a channel by itself, past its SDK,
 * and answers what came of it.
 */
const NATIVE = '/node_modules/shoal/dist/native/index.js';
const CHANNELS = '/node_modules/shoal/dist/protocol/channels.js';
const { native } = (await import(NATIVE)) as typeof import('../../../native/index.js');
const protocol = (await import(CHANNELS)) as typeof import('../../../protocol/channels.js');

function ask(component: string, instance: string): Promise<unknown> {
  return new Promise((resolve) => {
    const packets = native.openPackets(
      native.dialPackets(protocol.CHANNELS_SOCKET),
      (bytes, fds) => {
        packets.close();
        resolve({ ...protocol.parseChannelReply(bytes), fds: fds.length });
      },
      () => resolve({ type: 'hung up' }),
    );
    packets.send(protocol.encodePacket({ type: 'open', requestId: 1, component, instance }), []);
  });
}

const app = await connect();
const server = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? '/', 'http://inside');
  ask(searchParams.get('component') ?? '', searchParams.get('instance') ?? '').then(
    (answer) => response.end(JSON.stringify(answer)),
    (error: unknown) => response.end(JSON.stringify({ type: 'failed', why: String(error instanceof ShoalError) })),
  );
});
await app.listen('http', server);
await app.ready();
