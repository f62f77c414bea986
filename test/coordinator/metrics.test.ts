import t from 'tap';
import { newsOf } from '../../protocol/instance-news.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

t.test('metrics tell how right forecasts were, what was decided and moved, and how long a tick takes', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  await rig.addHost('h1');
  const headers = { 'content-type': 'application/yaml' };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: MANIFEST });
  for (let i = 0; i < 12; i += 1) await rig.second('h1', { 'shop/web': 0.5, 'shop/cart': i < 6 ? 0.2 : 0.9 });
  const { body } = await rig.api.inject('/metrics');
  const values = new Map(
    body
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
  const of = '{app="shop",component="cart"';
  for (const ahead of ['step', 'lead']) {
    t.ok((values.get(`shoal_component_forecast_error_cores${of},ahead="${ahead}"}`) ?? -1) > 0, `error ${ahead}`);
    const covered = values.get(`shoal_component_forecast_coverage${of},ahead="${ahead}"}`) ?? -1;
    t.ok(covered >= 0 && covered < 1, `coverage ${ahead}: the rise was not foreseen`);
  }
  const decisions = values.get(`shoal_component_decisions_total${of}}`) ?? 0;
  const changes = values.get(`shoal_component_decisions_changed_total${of}}`) ?? 0;
  t.ok(decisions >= changes && changes > 0, `${changes} of ${decisions}`);
  t.ok((values.get('shoal_moves_total{kind="created"}') ?? 0) >= 2);
  t.ok((values.get('shoal_moves_total{kind="resized"}') ?? 0) >= 1);
  t.equal(values.get('shoal_preemptions_total'), 0);
  t.equal(values.get('shoal_tick_seconds_count'), 12);
  const again = (await rig.api.inject('/metrics')).body;
  t.match(again, `shoal_component_decisions_total${of}} ${decisions}`, 'asking counts nothing');
});

t.test('metrics and the view of a host tell where blobs of its images came from and went', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const host = { cores: 64, memoryBytes: 2 ** 38, kernel: '6.1', degraded: [] };
  for (const name of ['h1', 'h2']) await rig.coordinator.connect({ ...host, name }, 0);
  const images = {
    fromHosts: { blobs: 3, bytes: 3_000 },
    fromSources: { blobs: 2, bytes: 200 },
    given: { blobs: 5, bytes: 50_000 },
    refused: 1,
    failed: 4,
  };
  const report = { ...newsOf([]), revision: 0, events: [] };
  rig.coordinator.report('h1', { ...report, images });
  rig.coordinator.report('h1', report);
  const { body } = await rig.api.inject('/metrics');
  t.match(body, 'shoal_host_image_blobs_total{host="h1",way="from hosts"} 3');
  t.match(body, 'shoal_host_image_bytes_total{host="h1",way="from sources"} 200');
  t.match(body, 'shoal_host_image_bytes_total{host="h1",way="to hosts"} 50000');
  t.match(body, 'shoal_host_image_failures_total{host="h1",of="fetching from a host"} 4');
  t.match(body, 'shoal_host_image_failures_total{host="h1",of="giving"} 1');
  t.notMatch(body, /image\w*\{host="h2"/, 'nothing is made up');
  const hosts = (await rig.api.inject('/v1/hosts')).json<{ name: string; images?: object }[]>();
  t.same(hosts.find(({ name }) => name === 'h1')?.images, images);
  t.notOk('images' in (hosts.find(({ name }) => name === 'h2') ?? {}));
});

t.test('metrics tell what a host lacks and what its profiler goes without', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const part = 'page faults by mapping';
  const degraded = [{ what: `not measured: ${part}: Invalid argument`, remedy: 'Linux 5.17', part }];
  const host = { cores: 64, memoryBytes: 2 ** 38, kernel: '6.1', degraded: [] };
  await rig.coordinator.connect({ ...host, name: 'h1', degraded }, 0);
  await rig.coordinator.connect({ ...host, name: 'h2', degraded: [{ what: 'as an older agent says', remedy: '' }] }, 0);
  const profiler = { samplesLost: 7, countsLost: 5, tablesLeftOut: 2, inlinesLeftOut: 1, inlinesSeconds: 0.5 };
  rig.coordinator.report('h1', { ...newsOf([]), revision: 0, events: [], profiler });
  const { body } = await rig.api.inject('/metrics');
  t.match(body, `shoal_host_lacks{host="h1",part="${part}"} 1`);
  t.match(body, 'shoal_host_profiler_lost_total{host="h1",of="samples"} 7');
  t.match(body, 'shoal_host_profiler_lost_total{host="h1",of="counts"} 5');
  t.match(body, 'shoal_host_profiler_files_left_out{host="h1",of="unwind table"} 2');
  t.match(body, 'shoal_host_profiler_files_left_out{host="h1",of="debug information"} 1');
  t.match(body, 'shoal_host_profiler_inlines_cpu_seconds_total{host="h1"} 0.5');
  t.notMatch(body, /(lacks|profiler)\w*\{host="h2"/, 'nothing is made up');
});

t.test('metrics tell what carries calls between two hosts, and copies of state', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const host = { cores: 64, memoryBytes: 2 ** 38, kernel: '6.1', degraded: [] };
  for (const name of ['h1', 'h2']) await rig.coordinator.connect({ ...host, name }, 0);
  const copies = { by: 'rdma' as const, reason: 'both hosts have RDMA', rdmaBytes: 12_345 };
  const connections = [
    { host: 'h2', carrier: 'verbs' as const, encrypted: false, reason: 'both hosts have RDMA', channels: 3, copies },
    { host: 'h3', carrier: 'tcp' as const, encrypted: true, reason: 'this host has no RDMA', channels: 1 },
  ];
  rig.coordinator.report('h1', { ...newsOf([]), revision: 0, events: [], connections });
  const { body } = await rig.api.inject('/metrics');
  const channels = 'shoal_host_connection_channels{host="h1"';
  t.match(body, `${channels},other="h2",carrier="verbs",encrypted="no"} 3`);
  t.match(body, `${channels},other="h3",carrier="tcp",encrypted="yes"} 1`);
  t.match(body, 'shoal_state_copies_by_rdma{host="h1",other="h2"} 1');
  t.match(body, 'shoal_state_rdma_bytes_total{host="h1",other="h2"} 12345');
  t.notMatch(body, /(connection_channels|copies_by_rdma|rdma_bytes_total)\{host="h2"/, 'nothing is made up');
  t.notMatch(body, /(copies_by_rdma|rdma_bytes_total)\{host="h1",other="h3"/);
});
