import t from 'tap';
import { copyWays, isCopied } from '../../cli/render/copy-ways.js';
import type { CopiesView, ShardView } from '../../protocol/http.js';
import type { CopiesWay, HostConnection } from '../../protocol/link.js';
import { hostView } from './fake-coordinator.js';

function shard(inSync: string[], joining: string[] = []): ShardView {
  const copies: CopiesView = { epoch: 1, phase: 'serving', owner: inSync[0] ?? null, inSync, joining };
  return { shard: 0, owner: null, cpu: 0, callsPerSecond: 0, copies, holds: null, move: null };
}

const to = (host: string, copies?: CopiesWay): HostConnection => ({
  host,
  carrier: 'tcp',
  reason: 'of calls',
  channels: 1,
  ...(copies === undefined ? {} : { copies }),
});
const rdma: CopiesWay = { by: 'rdma', reason: 'both hosts have RDMA', rdmaBytes: 2 ** 21 };
const link: CopiesWay = { by: 'link', reason: 'this host: no RDMA device', rdmaBytes: 0 };

t.test('by what copies go between hosts that have some, and why, with those that are alike together', async (t) => {
  const hosts = [
    hostView({ name: 'h1', connections: [to('h2', rdma), to('h3', link), to('h4', link)] }),
    hostView({ name: 'h2', connections: [to('h1', { ...rdma, rdmaBytes: 0 }), to('h3', link)] }),
    hostView({ name: 'h3', connections: [to('h1')] }),
    hostView({ name: 'h4', connections: [to('h1', link)] }),
    hostView({ name: 'h5', connected: false, connections: [to('h1', link)] }),
  ];
  t.same(copyWays([shard(['h1', 'h2'], ['h3']), shard(['h1', 'h5'])], hosts), [
    'copies go by RDMA: h1 to h2 (2Mi by RDMA so far), h2 to h1: both hosts have RDMA',
    'copies go by the link between the agents: h1 to h3, h2 to h3: this host: no RDMA device',
  ]);
});

t.test('nothing is to be said of state shards that are on one host each', async (t) => {
  t.notOk(isCopied([shard(['h1']), shard([], ['h2']), { ...shard([]), copies: null }]));
  t.ok(isCopied([shard(['h1'], ['h2'])]));
});
