import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { EtcdClient } from '../../coordinator/store/etcd/client.js';

t.test('calls that give up while they connect fail, and nothing else does', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const nothing = { conditions: [], perform: [{ kind: 'read', key: 'x' } as const], otherwise: [] };
  for (let round = 0; round < 150; round += 1) {
    const client = new EtcdClient({ endpoints: [`http://127.0.0.1:${port}`], tls: {} });
    // Some give up before the connection is there, some when it is just about to be.
    await t.rejects(client.transact(nothing, 1 + (round % 4)));
    client.close();
  }
  await new Promise((resolve) => setImmediate(resolve));
});
